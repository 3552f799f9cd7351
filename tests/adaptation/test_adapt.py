"""The one door: pictures of each class in, an adapted model and its numbers out."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image
from shared_case import spread, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import AdaptedClassifier, GaussianDiscriminant, few_shot
from kzoo.files import disk

NAMES = ("red", "green", "blue", "grey")
IMAGES, LABELS = toy_pairs(24)["images"], np.arange(24) % 4
FREE = ("zero_shot", "gda", "tip_adapter", "class_mean", "knn", "linear_probe")


@pytest.fixture(scope="module")
def model():
    model = tiny_model(depth=1)
    spread(model.image_encoder)
    return model


@pytest.fixture
def folder(tmp_path):
    """The toy pictures in folders of their colours."""
    for number, (image, label) in enumerate(zip(IMAGES, LABELS)):
        place = tmp_path / "photos" / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    return tmp_path / "photos"


@pytest.mark.once
@pytest.mark.parametrize("method", FREE)
def test_a_classifier_of_embeddings_is_what_its_class_makes(model, method):
    adapted = kzoo.adapt(model, (IMAGES, LABELS), method, classes=NAMES, shots=4, templates="a {}", seed=3)
    report = adapted.report
    assert (report.method, report.classes, report.shots, report.pictures, report.held_out) == (method, 4, 4, 16, 8)
    assert report.trained == (4 * 12 + 4 if method == "linear_probe" else 0)
    rest = np.setdiff1d(np.arange(24), few_shot(LABELS, 4, seed=3))
    assert report.after == adapted.model.accuracy(IMAGES[rest], LABELS[rest])
    zero_shot = np.mean(model.classify(IMAGES[rest], NAMES, templates="a {}").argmax(axis=1) == LABELS[rest])
    assert report.before == pytest.approx(zero_shot) and report.seconds > 0
    assert method != "zero_shot" or report.after == report.before
    rows = adapted.model.classify(IMAGES[:3])
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-6)
    assert np.array_equal(rows.argmax(axis=1), adapted.model.predict(IMAGES[:3]))


@pytest.mark.once
def test_a_folder_and_arrays_are_the_same_pictures(model, folder):
    order = sorted(range(4), key=NAMES.__getitem__)
    arrays = kzoo.adapt(
        model, {"images": IMAGES, "labels": [NAMES[each] for each in LABELS]}, templates="a {}", alpha=1
    )
    read = kzoo.adapt(model, folder, templates="a {}", alpha=1.0)
    assert read.model.classes == arrays.model.classes == tuple(NAMES[each] for each in order)
    np.testing.assert_allclose(read.model.logits(IMAGES), arrays.model.logits(IMAGES), atol=1e-4)
    assert (read.report.pictures, read.report.held_out, read.report.shots) == (20, 4, None)
    given = {"templates": "a {}", "held_out": (IMAGES[:6], LABELS[:6]), "alpha": 1.0}
    own = kzoo.adapt(model, folder, classes=NAMES, **given)
    assert own.model.classes == NAMES and (own.report.pictures, own.report.held_out) == (24, 6)
    texts = model.encode_text([f"a {name}" for name in NAMES])
    scale = model.scale_and_bias()[0]
    wanted = GaussianDiscriminant(model.encode_image(IMAGES), LABELS, texts, NAMES, scale=scale)
    np.testing.assert_allclose(own.model.logits(IMAGES), wanted.logits(model.encode_image(IMAGES)), atol=1e-3)


@pytest.mark.once
def test_it_is_kept_in_a_folder_and_runs_on_an_export(model, tmp_path, monkeypatch):
    adapted = kzoo.adapt(model, (IMAGES, LABELS), "class_mean", classes=NAMES, shots=3, templates="a {}").model
    adapted.save(tmp_path / "colours")
    again = AdaptedClassifier.load(tmp_path / "colours")
    assert again.classes == NAMES and isinstance(again.encoder, kzoo.DualEncoder)
    np.testing.assert_allclose(again.logits(IMAGES), adapted.logits(IMAGES), atol=1e-5)
    again.encoder.save_to_preset(tmp_path / "colours")  # another model, whose classifier the old one would not be
    with pytest.raises(ValueError, match=r"has no classifier\.safetensors"):
        AdaptedClassifier.load(tmp_path / "colours")
    rename, whole = disk.rename, []

    def looked_at(old, new):  # a folder is renamed when all is written, and then has the place of the old one
        whole.extend(os.listdir(old) if old.is_dir() else [])
        rename(old, new)

    monkeypatch.setattr(disk, "rename", looked_at)
    adapted.export(tmp_path / "onnx")
    assert {"manifest.json", "classifier.safetensors"} < {*whole} and set(os.listdir(tmp_path / "onnx")) < {*whole}
    export = AdaptedClassifier.load(tmp_path / "onnx")
    np.testing.assert_allclose(export.logits(IMAGES), adapted.logits(IMAGES), rtol=1e-3, atol=1e-2)
    own = kzoo.adapt(export.encoder, (IMAGES, LABELS), "class_mean", classes=NAMES, shots=3, templates="a {}")
    np.testing.assert_allclose(own.model.logits(IMAGES), adapted.logits(IMAGES), rtol=1e-3, atol=1e-2)
    with pytest.raises(TypeError, match="an export with a folder of its own"):
        own.model.save(tmp_path / "again")


@pytest.mark.once
def test_the_report_is_a_table(model):
    report = kzoo.adapt(model, (IMAGES, LABELS), "knn", shots=6, templates=None).report
    assert (report.before, report.after, report.held_out) == (None, None, 0)
    lines = repr(report).splitlines()
    assert lines[0].split() == ["method", "knn"] and lines[6].split() == ["accuracy", "after", "not", "measured"]
    assert "<td>pictures shown</td><td>24</td>" in report._repr_html_()
    assert json.loads(json.dumps(report.as_dict()))["pictures"] == 24
    assert report.memory is None or report.memory >= 0
    assert sys.platform != "linux" or report.memory is not None


@pytest.mark.once
def test_what_cannot_be(model, folder):
    def call(data=(IMAGES, LABELS), method="gda", classes=NAMES, templates="a {}", **options):
        return lambda: kzoo.adapt(model, data, method, classes=classes, templates=templates, **options)

    (folder / "empty").mkdir()
    alone = folder.parent / "alone"
    (alone / "red").mkdir(parents=True)
    (alone.parent / "split" / "train").mkdir(parents=True)
    few = (IMAGES[:5], LABELS[:5])
    for called, error, sentence in (
        (call(method="lorra"), ValueError, r"method 'lorra' is unknown; choose one of zero_shot"),
        (call(method="gd"), ValueError, r"is 'gda' meant\?"),
        (call(alpah=1.0), TypeError, r"'gda' has no setting 'alpah'; it has alpha, covariance \(is 'alpha' meant\?\)"),
        (call(alpha=-1.0), ValueError, "alpha is -1.0"),
        (call(method="zero_shot", alpha=1.0), TypeError, "'zero_shot' has no setting 'alpha'; it has none"),
        (call(shots=7), ValueError, "class 'red' has 6 pictures, fewer than the 7 shots"),
        (call(shots=0), ValueError, "shots is 0"),
        (call(few), ValueError, "class 'green' has one picture, and none would be left"),
        (call((IMAGES[:3], LABELS[:3]), shots=1), ValueError, "class 'grey' has no picture"),
        (call(classes=("red",)), ValueError, "there is 1 class"),
        (call(classes=None), ValueError, "are numbers, and a text tower reads names"),
        (call({"images": IMAGES}), ValueError, "labels"),
        (call(folder, classes=None), ValueError, "class 'empty' has no picture"),
        (call(alone, classes=None), ValueError, "has one folder in it; give a folder with one for each class"),
        (call(alone.parent / "split"), ValueError, "are the parts of a data set"),
        (call("nowhere"), ValueError, "data is 'nowhere', and no such folder is there"),
        (call(templates="a " * 20 + "{}"), ValueError, "is longer than the 10 ids"),
        (call(templates=None), ValueError, "'gda' reads texts of the classes, but templates is None"),
        (call(method="knn", k=90), ValueError, "k is 90, but the bank has 20 pictures"),
        (lambda: kzoo.adapt("clip_base", few), TypeError, "model is 'clip_base'"),
    ):
        with pytest.raises(error, match=sentence):
            called()
