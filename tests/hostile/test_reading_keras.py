"""Files of Keras, `.keras` and `.weights.h5`, of a stranger: what was saved, or one sentence."""

import io
import json
import os
import warnings
import zipfile

import h5py
import numpy as np
import pytest
from reading import grown, mutations, outcome, refused
from shared_case import numpy, tiny_model

import kzoo
from kzoo.files import limits

pytestmark = pytest.mark.once
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


@pytest.fixture(scope="module")
def model():
    return tiny_model(depth=1, width=8, num_heads=1, embed_dim=4, image_size=8)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "it.keras"
    model.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def members(whole):
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members, *more, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate name")
        for name, each in [*members.items(), *more]:
            archive.writestr(name, each)
    return content.getvalue()


def matrix_in(file):
    """Name of the first matrix of weights."""
    found = []
    file.visititems(lambda name, item: found.append(name) if getattr(item, "ndim", 0) == 2 else None)
    return found[0]


def weights(change):
    """A change of the weights, by a function of the open file and the name of a matrix in it."""

    def changed(content):
        file = io.BytesIO(content)
        with h5py.File(file, "a") as opened:
            change(opened, matrix_in(opened))
        return file.getvalue()

    return changed


def replaced(make):
    def change(file, name):
        old = file[name][()]
        del file[name]
        file[name] = make(old)

    return weights(change)


def huge(file, name):
    del file[name]
    file.create_dataset(name, shape=(2**20, 2**20), dtype="float32", chunks=(1024, 1024))


OF_WEIGHTS = {
    "nan": (replaced(lambda old: old * np.nan), "holds nan at"),
    "infinity": (replaced(lambda old: old * np.inf), "holds "),
    "whole numbers": (replaced(lambda old: old.astype("int64")), "is of int64, but the model has floats there"),
    "booleans": (replaced(lambda old: old > 0), "is of bool, but the model has floats there"),
    "complex numbers": (replaced(lambda old: old.astype("complex64")), "of complex64, but weights are numbers"),
    "strings": (replaced(lambda old: np.full(old.shape, b"x")), "but weights are numbers"),
    "another shape": (replaced(lambda old: np.zeros((3, 3), "float32")), "could not be loaded"),
    "a dataset elsewhere": (replaced(lambda old: h5py.ExternalLink("/etc/passwd", "/a")), "holds a ExternalLink at"),
    "more than it holds": (weights(huge), "bytes, but holds 0 bytes of it"),
    "a matrix that lacks": (weights(lambda file, name: file.__delitem__(name)), ""),
    "no HDF5": (lambda content: b"none" * 100, "cannot be read as HDF5, is it whole?"),
    "half of it": (lambda content: content[: len(content) // 2], "cannot be read as HDF5, is it whole?"),
    "nothing": (lambda content: b"", "cannot be read as HDF5, is it whole?"),
}


@pytest.mark.parametrize("what", OF_WEIGHTS)
def test_weights_of_a_stranger(tmp_path, members, model, what):
    change, sentence = OF_WEIGHTS[what]
    content, before = change(members[WEIGHTS]), [numpy(each) for each in model.weights]
    (tmp_path / "it.keras").write_bytes(packed(members | {WEIGHTS: content}))
    said = refused(lambda: kzoo.load_model(tmp_path / "it.keras"))
    assert "it.keras" in said and sentence in said
    (tmp_path / "it.weights.h5").write_bytes(content)
    said = refused(lambda: model.load_weights(tmp_path / "it.weights.h5"))
    assert "it.weights.h5" in said and sentence in said
    for weight, old in zip(model.weights, before, strict=True):
        weight.assign(old)


def config(**changes):
    return lambda members: packed(members | {CONFIG: json.dumps(json.loads(members[CONFIG]) | changes).encode()})


def part(**changes):
    """A change of the config of the image encoder."""

    def changed(members):
        content = json.loads(members[CONFIG])
        content["config"]["image_encoder"]["config"] |= changes
        return packed(members | {CONFIG: json.dumps(content).encode()})

    return changed


def command(members):
    called = {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}, "registered_name": None}
    return packed(members | {CONFIG: json.dumps(called).encode()})


OF_FILES = {
    "no config": (lambda members: packed({WEIGHTS: members[WEIGHTS]}), "lacks config.json, so it is no file that"),
    "no weights": (lambda members: packed({CONFIG: members[CONFIG]}), "lacks model.weights.h5, so it is no file"),
    "nothing in it": (lambda members: packed({}), "lacks config.json and model.weights.h5"),
    "a config twice": (lambda members: packed(members, (CONFIG, b"{}")), "holds config.json 2 times"),
    "a way out": (lambda members: packed(members, ("../pwned", b"")), "member called '../pwned', which lies outside"),
    "an absolute name": (lambda members: packed(members, ("/pwned", b"")), "which lies outside of it"),
    "no JSON": (lambda members: packed(members | {CONFIG: b"{"}), "config.json in .* is not JSON"),
    "a list": (lambda members: packed(members | {CONFIG: b"[]"}), "describes no model"),
    "an object without a class": (lambda members: packed(members | {CONFIG: b"{}"}), "describes no model"),
    "deep JSON": (lambda members: packed(members | {CONFIG: b"[" * 100_000}), "config.json in"),
    "UTF-16": (lambda members: packed(members | {CONFIG: members[CONFIG].decode().encode("utf-16")}), "not UTF-8"),
    "a command": (command, "cannot be opened: Could not locate class 'system'"),
    "an unknown class": (config(class_name="None", registered_name="kzoo>None"), "Could not locate class 'None'"),
    "no number of blocks": (part(depth=-1), "cannot be opened: "),
    "very many blocks": (part(depth=10**9), "says depth=1000000000, but the file holds"),
    "many blocks": (part(depth=10**4), "says depth=10000, but the file holds"),
    "very wide": (part(mlp_dim=10**8), "it.keras holds "),
    "an unknown key": (part(nonsense=1), "cannot be opened: "),
}


@pytest.mark.parametrize("what", OF_FILES)
def test_files_of_a_stranger(tmp_path, members, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    change, sentence = OF_FILES[what]
    (tmp_path / "it.keras").write_bytes(change(members))
    said = refused(lambda: kzoo.load_model(tmp_path / "it.keras"))
    assert sentence.partition(".*")[0] in said and len(said) < 1000 and said.isprintable()
    assert os.listdir(tmp_path) == ["it.keras"] and not (tmp_path.parent / "pwned").exists()


def test_what_unpacks_without_end(tmp_path, members, monkeypatch):
    path = tmp_path / "it.keras"
    path.write_bytes(packed(members | {CONFIG: b" " * 2**28}, compression=zipfile.ZIP_DEFLATED))
    assert grown(lambda: kzoo.load_model(path)) < 2**26
    assert "unpacks to 26" in refused(lambda: kzoo.load_model(path))
    monkeypatch.setattr(limits, "UNPACKED", 2**30)
    monkeypatch.setattr(limits, "VOCABULARY", 2**20)
    assert "holds more than the 1,048,576 bytes" in refused(lambda: kzoo.load_model(path))


def test_damage_anywhere(tmp_path, whole):
    path, taken = tmp_path / "it.keras", 0
    for content in mutations(whole, np.random.default_rng(0), 60):
        path.write_bytes(content)
        taken += outcome(lambda: kzoo.load_model(path))[0] is not None
    assert taken < 30


@pytest.mark.parametrize("name", ["it.keras", "it.weights.h5"])
def test_what_is_no_file(tmp_path, model, name):
    path = tmp_path / name
    read = kzoo.load_model if name == "it.keras" else model.load_weights
    assert f"there is no file {path}; give one that" in refused(lambda: read(path))
    os.mkfifo(path)
    assert "is a pipe, but a file is expected" in refused(lambda: read(path))
    path.unlink()
    path.mkdir()
    assert "is a folder, but a file" in refused(lambda: read(path))
    path.rmdir()
    path.symlink_to("/dev/zero")
    assert "is a device, but a file is expected" in refused(lambda: read(path))


def test_tensors_that_nothing_reads(tmp_path, members):
    extra = weights(lambda file, name: file.__setitem__("backdoor/vars/0", np.zeros(3)))(members[WEIGHTS])
    (tmp_path / "it.keras").write_bytes(packed(members | {WEIGHTS: extra}))
    said = refused(lambda: kzoo.load_model(tmp_path / "it.keras"))
    assert "has 1 tensors for which its model has no place, such as backdoor/vars/0" in said


def test_a_model_that_diverged_replaces_no_file(tmp_path, model, whole):
    kernel = model.image_encoder.projection.kernel
    old = numpy(kernel)
    for name, write in (("it.keras", model.save), ("it.weights.h5", model.save_weights)):
        (tmp_path / name).write_bytes(whole)
        kernel.assign(old * np.nan)
        assert "holds nan at" in refused(lambda write=write, name=name: write(tmp_path / name))
        assert (tmp_path / name).read_bytes() == whole
        kernel.assign(old)
