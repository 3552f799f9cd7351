"""Classifiers in files: what was saved comes back; what is none is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from classifier_case import blobs, everyone
from safetensors.numpy import load_file, save_file

from kzoo.adaptation import EmbeddingClassifier, LinearProbe, TipAdapter, ZeroShot

pytestmark = pytest.mark.once
TEST, ANSWERS, _ = blobs(5, seed=2)


@pytest.mark.parametrize("name", everyone())
def test_what_was_saved_comes_back(tmp_path, name):
    made, path = everyone()[name], tmp_path / "made.safetensors"
    made.save(path)
    again = EmbeddingClassifier.load(path)
    assert type(again) is type(made) and again.classes == made.classes and repr(again) == repr(made)
    assert np.array_equal(again.logits(TEST), made.logits(TEST))
    assert [each.name for each in tmp_path.iterdir()] == ["made.safetensors"] and path.stat().st_size < 10_000


def test_what_could_not_be_opened_again_replaces_nothing(tmp_path):
    made, path = ZeroShot(np.eye(2), ("wren", "robin")), tmp_path / "made.safetensors"
    made.save(path)
    before = path.read_bytes()
    made.zero_shot = made.zero_shot * np.nan
    with pytest.raises(ValueError, match="zero_shot of the classifier holds nan at "):
        made.save(path)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["made.safetensors"]


def test_a_file_needs_no_keras(tmp_path):
    everyone()["TipAdapter"].save(tmp_path / "made.safetensors")
    script = (
        "import sys\nfrom kzoo.adaptation import EmbeddingClassifier\n"
        f"made = EmbeddingClassifier.load({str(tmp_path / 'made.safetensors')!r})\n"
        "print(made.predict([[0, 0, 1, 0, 0, 0]]), 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[2] False"


def changed(path, tensors=None, **kept):
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        said = json.loads(file.metadata()["kzoo_classifier"])
    arrays = load_file(path) | (tensors or {})
    save_file(arrays, path, {"kzoo_classifier": json.dumps(said | kept)})


BROKEN = {
    "another kind": ({"kind": "Pickle"}, {}, "of a kind that is not known, 'Pickle'"),
    "a number too few": (
        {"numbers": {"alpha": 1.0, "beta": 1.0}},
        {},
        "no TipAdapter of this version .* scale is amiss",
    ),
    "a wrong number": ({"numbers": {"alpha": -1.0, "beta": 1.0, "scale": 1.0}}, {}, "alpha is -1.0; give a number of"),
    "a word for a number": (
        {"numbers": {"alpha": "1", "beta": 1.0, "scale": 1.0}},
        {},
        "no classifier .* alpha is '1'",
    ),
    "labels that are no places": ({}, {"labels": np.full(24, 0.5)}, "no classifier that `save` wrote: labels in"),
    "a class too few": ({"classes": ["a", "b"]}, {}, "does not go together: zero_shot has shape"),
    "a class twice": ({"classes": ["a", "b", "a"]}, {}, "classes has 'a' twice"),
    "labels out of range": ({}, {"labels": np.full(24, 9)}, "label 0 is 9; give whole numbers from 0 to 2"),
    "keys of another width": ({}, {"keys": np.ones((24, 5), "float32")}, "keys has shape"),
    "not finite": ({}, {"keys": np.full((24, 6), np.nan, "float32")}, "keys in .* holds nan"),
    "a number beyond float32": ({"numbers": {"alpha": 1.0, "beta": 1.0, "scale": 1e300}}, {}, "scale is 1e\\+300"),
    "a number beyond all": ({"numbers": {"alpha": 1.0, "beta": 1e30, "scale": 1.0}}, {}, "beta in .* holds 1e\\+30"),
    "keys beyond all": ({}, {"keys": np.full((24, 6), 1e30, "float32")}, "keys in .* holds 1e\\+30, more than any"),
    "keys of another kind": ({}, {"keys": np.ones((24, 6), "int64")}, "keys in .* is of int64, but floats"),
    "a key that is not known": ({"weights": 3}, {}, "have a key 'weights' that is not known"),
    "a name over lines": ({"numbers": {"a\n\x1b[2J": 1.0}}, {}, r"a \\x1b\[2J is amiss"),
    "a base of kinds": ({"kind": "TextClassifier"}, {}, "of a kind that is not known, 'TextClassifier'"),
    "no classes": ({"classes": 3}, {}, "its metadata lack kind, classes or numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_does_not_go_together(tmp_path, name):
    kept, tensors, sentence = BROKEN[name]
    path = tmp_path / "made.safetensors"
    everyone()["TipAdapter"].save(path)
    changed(path, tensors, **kept)
    with pytest.raises(ValueError, match=sentence):
        EmbeddingClassifier.load(path)


def test_what_is_no_classifier(tmp_path):
    path = tmp_path / "made.safetensors"
    save_file({"a": np.ones(3)}, path)
    with pytest.raises(ValueError, match="holds no classifier of kzoo; give a file that its `save` wrote"):
        EmbeddingClassifier.load(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        EmbeddingClassifier.load(path)
    with pytest.raises(FileNotFoundError):
        EmbeddingClassifier.load(tmp_path / "nothing.safetensors")
    everyone()["ZeroShot"].save(path)
    with pytest.raises(ValueError, match="holds a ZeroShot, not a TipAdapter"):
        TipAdapter.load(path)
    assert isinstance(ZeroShot.load(path), ZeroShot)
    with pytest.raises(ValueError, match=r"path is '.*made.npz'; give a name that ends in .safetensors"):
        everyone()["ZeroShot"].save(tmp_path / "made.npz")


def test_a_probe_from_a_file_is_not_fitted_anew(tmp_path):
    everyone()["LinearProbe"].save(tmp_path / "probe.safetensors")
    with pytest.raises(ValueError, match="this probe was opened from a file"):
        LinearProbe.load(tmp_path / "probe.safetensors").tuned(TEST, ANSWERS)


def test_scores_beyond_float32_are_no_scores():
    with pytest.raises(ValueError, match="the score of class 'wren' for row 0 is inf: numbers of <ZeroShot of 3"):
        ZeroShot(10 * np.eye(3), ("wren", "robin", "crow"), 1e38)._with(scale=1e39).predict(np.eye(3))
