"""Files of a stranger: opened with equal numbers, or refused with one sentence; nothing hangs, grows or gets out."""

import gzip
import io
import json
import os
import shutil
import socket
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from breaking import ended, in_fork
from PIL import Image
from reading import change_config, grown, mutations, outcome, refused, within
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.data.lines import read_lines
from kzoo.files import limits
from kzoo.preprocessing import ImageSteps, PatchSteps, Preprocessor, Tokenizer
from kzoo.weights import TensorFiles
from kzoo.weights.hdf5 import Hdf5

pytestmark = pytest.mark.once
MIB = 2**20
PREPROCESSOR = Preprocessor(ImageSteps(8))
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


# -- opening --
def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("make", [make_pipe, make_socket], ids=["pipe", "socket"])
def test_what_is_no_file_is_not_opened(folder, clip, tmp_path, make):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        kept = (folder / name).rename(tmp_path / "kept")
        make(folder / name)
        refused(lambda: kzoo.from_preset(folder))
        (folder / name).unlink()
        kept.rename(folder / name)
    (clip / "model.safetensors").unlink()
    make(clip / "model.safetensors")
    refused(lambda: kzoo.from_preset(clip))
    for name in ("cat.jpg", "texts.txt", "pairs.csv", "pairs.jsonl", "vocab.txt", "spiece.model", "manifest.json"):
        make(tmp_path / name)
    assert "a pipe" in refused(lambda: ImageSteps(8)(tmp_path / "cat.jpg")) or make is make_socket
    refused(lambda: list(read_lines(tmp_path / "texts.txt")))
    refused(lambda: kzoo.data.pairs(tmp_path / "pairs.csv", PREPROCESSOR, 2))
    refused(lambda: kzoo.data.pairs(tmp_path / "pairs.jsonl", PREPROCESSOR, 2))
    refused(lambda: Tokenizer.from_file(tmp_path / "vocab.txt", 8))
    refused(lambda: Tokenizer.from_file(tmp_path / "spiece.model", 8))
    refused(lambda: kzoo.export.runtime.load(tmp_path))
    assert "a device" in refused(lambda: ImageSteps(8)("/dev/zero"))


def test_pictures_are_of_the_formats_that_are_asked_for(tmp_path):
    (tmp_path / "cat.jpg").write_bytes(POSTSCRIPT)
    assert "cannot identify" in refused(lambda: ImageSteps(8)(tmp_path / "cat.jpg"))
    picture = Image.fromarray(np.arange(192, dtype="uint8").reshape(8, 8, 3))
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        picture.save(tmp_path / "cat", kind)
        assert np.array_equal(ImageSteps(8)(tmp_path / "cat"), np.asarray(picture))
    for kind in ("PCX", "TGA", "SGI"):
        picture.save(tmp_path / "cat", kind)
        refused(lambda: ImageSteps(8)(tmp_path / "cat"))


def test_pictures_of_many_pixels(monkeypatch):
    file = io.BytesIO()
    Image.new("1", (300, 200)).save(file, "PNG")
    monkeypatch.setattr(limits, "PIXELS", 59_999)
    assert "300 x 200, more than the 59,999 pixels" in refused(lambda: ImageSteps(8)(file.getvalue()))
    monkeypatch.setattr(limits, "PIXELS", 60_000)
    assert ImageSteps(8)(file.getvalue()).shape == (8, 8, 3)


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_thin_pictures_take_no_memory(size):
    picture = Image.new("RGB", size)
    for steps in (ImageSteps(224), ImageSteps((224, 112)), ImageSteps(224, "longest"), PatchSteps(16, 256)):
        assert grown(lambda steps=steps: steps(picture)) < 200 * MIB


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_large_pictures_take_twice_their_pixels_at_most(tmp_path, mode):
    picture = Image.new(mode, (4000, 3000), 77)
    picture.save(tmp_path / "it.png", compress_level=1, **({"transparency": 77} if mode == "P" else {}))
    del picture

    def work():  # in a process whose peak of memory is its own
        assert grown(lambda: ImageSteps(8)(tmp_path / "it.png")) < (65 if mode == "RGB" else 130) * MIB

    assert ended(in_fork(work)) == 0


# -- JSON --
BAD_JSON = {
    "deep": '{"kzoo": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep enough": '{"kzoo": ' + '{"a": ' * 500 + "1" + "}" * 501,
    "twice": '{"kzoo": "1", "kzoo": "2"}',
    "huge": '{"kzoo": ' + "9" * 10_000 + "}",
    "NaN": '{"kzoo": NaN, "model": -Infinity}',
    "latin": b'{"kzoo": "\xe9"}',
    "utf-16": '{"kzoo": "1"}'.encode("utf-16"),
    "list": "[1, 2]",
    "number": "7",
    "empty": "",
    "zero": b"\0" * 100,
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_is_none(folder, clip, tmp_path, what):
    content = BAD_JSON[what] if isinstance(BAD_JSON[what], bytes) else BAD_JSON[what].encode()
    for place, name in ((folder, "config.json"), (folder, "tokenizer.json"), (clip, "config.json")):
        shutil.copy(place / name, tmp_path / "kept")
        (place / name).write_bytes(content)
        assert name.split(".")[0] in refused(lambda place=place: kzoo.from_preset(place)) or what in ("list", "number")
        shutil.copy(tmp_path / "kept", place / name)
    (tmp_path / "manifest.json").write_bytes(content)
    refused(lambda: kzoo.export.runtime.load(tmp_path))
    (clip / "model.safetensors").rename(tmp_path / "elsewhere")
    (clip / "model.safetensors.index.json").write_bytes(content)
    refused(lambda: kzoo.from_preset(clip))


# -- numbers --
BAD_NUMBERS = {
    "nan": lambda tensor: np.where(np.arange(tensor.size).reshape(tensor.shape) == 0, np.nan, tensor),
    "inf": lambda tensor: np.where(np.arange(tensor.size).reshape(tensor.shape) == 0, -np.inf, tensor),
    "int": lambda tensor: np.ones(tensor.shape, "int64"),
    "bool": lambda tensor: np.ones(tensor.shape, "bool"),
    "too large": lambda tensor: np.full(tensor.shape, 1e300),
}


@pytest.mark.parametrize("what", BAD_NUMBERS)
def test_numbers_that_no_weight_can_be(folder, clip, what):
    for place, name in ((clip, "visual_projection.weight"), (folder, "image_encoder/projection/vars/0")):
        tensors = load_file(place / "model.safetensors")
        changed = BAD_NUMBERS[what](tensors[name])
        changed = changed if what in ("int", "bool", "too large") else changed.astype("float32")
        save_file(tensors | {name: changed}, place / "model.safetensors")
        assert "projection" in refused(lambda place=place: kzoo.from_preset(place))


@pytest.mark.parametrize("value", [1000.0, np.nan, np.inf])
def test_a_scale_that_has_no_power(folder, clip, value):
    for place, name in ((clip, "logit_scale"), (folder, "similarity/vars/0")):
        tensors = load_file(place / "model.safetensors")
        save_file(tensors | {name: np.array(value, "float32")}, place / "model.safetensors")
        assert "scale" in refused(lambda place=place: kzoo.from_preset(place))


# -- h5, which folders of the first version hold --
@pytest.fixture
def earlier(tmp_path):
    return shutil.copytree(TESTS / "presets" / "saved_by_0_1", tmp_path / "earlier")


PLACE = "image_encoder/projection/vars/0"


def spoil(kind, file, folder):
    values = file[PLACE][()]
    if kind == "external link":
        file.copy(PLACE, file, "kept")
        shutil.copy(folder / "model.weights.h5", folder / "other.h5")
        del file[PLACE]
        file[PLACE] = h5py.ExternalLink("other.h5", "/kept")
        return
    if kind == "soft link":
        del file[PLACE]
        file[PLACE] = h5py.SoftLink("/image_encoder/post_norm/vars/0")
        return
    del file[PLACE]
    if kind == "empty giant":
        file.create_dataset(PLACE, shape=(2**15, 2**15), dtype="float32", chunks=(2**10, 2**10))
    elif kind == "packed giant":
        file.create_dataset(PLACE, data=np.zeros((2**12, 2**13), "float32"), chunks=True, compression="gzip")
    elif kind == "raw file":
        file.create_dataset(PLACE, shape=values.shape, dtype="float32", external=[("/etc/passwd", 0, values.nbytes)])
    elif kind == "strings":
        file[PLACE] = np.full(values.shape, "a").astype("S1")
    elif kind == "complex":
        file[PLACE] = values.astype("complex64")
    elif kind == "integers":
        file[PLACE] = values.astype("int32")
    elif kind == "nan":
        file[PLACE] = np.full(values.shape, np.nan, "float32")
    elif kind == "shape":
        file[PLACE] = values[:-1]


@pytest.mark.parametrize(
    "kind",
    [
        *("external link", "soft link", "empty giant", "packed giant", "raw file", "strings", "complex", "integers"),
        *("nan", "shape"),
    ],
)
def test_hdf5_that_is_not_what_it_says(earlier, kind):
    with h5py.File(earlier / "model.weights.h5", "a") as file:
        spoil(kind, file, earlier)
    before = grown(lambda: refused(lambda: kzoo.from_preset(earlier)))
    assert before < 300 * MIB


# -- damage --
def weights_of(model):
    return [numpy(weight) for weight in model.weights]


def test_damaged_weights(clip):
    """A flipped bit among the numbers is a number, too; everything else is found."""
    path, random = clip / "model.safetensors", np.random.default_rng(0)
    content = path.read_bytes()
    for damaged in mutations(content, random, 60):
        path.write_bytes(damaged)
        outcome(lambda: [tensors.read(name) for tensors in [TensorFiles(clip, "model")] for name in tensors])


def test_damaged_npz(tmp_path):
    path, random = tmp_path / "model.npz", np.random.default_rng(0)
    content = (TESTS / "fixtures" / "bv_siglip_plain" / "model.npz").read_bytes()
    for damaged in mutations(content, random, 80):
        path.write_bytes(damaged)
        outcome(lambda: [t.read(n) for t in [TensorFiles(tmp_path, "model", endings=("npz",))] for n in t])


def test_a_member_twice_and_a_bomb(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros(3, "float32"))
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("a.npy", array.getvalue())
    assert "holds a.npy twice" in refused(lambda: TensorFiles(tmp_path, "model", endings=("npz",)))
    np.savez_compressed(tmp_path / "model.npz", a=np.zeros(2**25, "float32"))
    assert "unpacks to" in refused(lambda: TensorFiles(tmp_path, "model", endings=("npz",)))


def test_many_small_bombs_are_a_large_one(tmp_path):
    np.savez_compressed(tmp_path / "model.npz", **{name: np.zeros(5 * MIB, "float32") for name in "abcd"})
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for number in range(100):
            file.create_dataset(str(number), shape=(15 * MIB,), dtype="float32", chunks=(MIB,))
    for read in (lambda: TensorFiles(tmp_path, "model", endings=("npz",)), lambda: Hdf5(tmp_path / "weights.h5")):
        assert grown(read) < 40 * MIB
        assert "unpacks to" in refused(read)


def test_a_header_that_says_two_things(tmp_path):
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    other = json.dumps(entry | {"shape": [3, 2]})
    for header, said in (
        (f'{{"a": {json.dumps(entry)}, "a": {other}}}', "has the key 'a' twice"),
        (json.dumps({"a\n\x1b[2J": entry}), "which is no name of one"),
    ):
        content = header.encode()
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + bytes(24))
        assert said in refused(lambda: TensorFiles(tmp_path, "model"))


def test_a_header_of_very_many_tensors(clip, monkeypatch):
    size = int.from_bytes((clip / "model.safetensors").read_bytes()[:8], "little")
    monkeypatch.setattr(limits, "HEADER", size)
    kzoo.from_preset(clip)
    monkeypatch.setattr(limits, "HEADER", size - 1)
    assert f"has a header of {size:,} bytes, more than the {size - 1:,}" in refused(lambda: kzoo.from_preset(clip))


def test_damaged_hdf5(earlier):
    path, random = earlier / "model.weights.h5", np.random.default_rng(0)
    content = path.read_bytes()
    for damaged in mutations(content, random, 80):
        path.write_bytes(damaged)
        outcome(lambda: [file.read(name) for file in [Hdf5(path)] for name in file.shapes])


def test_damaged_models_end_in_a_sentence(earlier, folder):
    for place, name, count in ((earlier, "model.weights.h5", 10), (folder, "model.safetensors", 10)):
        content, random = (place / name).read_bytes(), np.random.default_rng(1)
        for damaged in mutations(content, random, count):
            (place / name).write_bytes(damaged)
            outcome(lambda place=place: kzoo.from_preset(place))


def test_damaged_pictures():
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 255, (16, 16, 3), "uint8"))
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        file = io.BytesIO()
        picture.save(file, kind)
        for damaged in mutations(file.getvalue(), random, 60):
            outcome(lambda damaged=damaged: ImageSteps(8)(damaged))


# -- memory --
def test_a_vocabulary_that_unpacks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "VOCABULARY", 4 * MIB)
    with gzip.open(tmp_path / "bpe_simple_vocab_16e6.txt.gz", "wb", 1) as file:
        file.write(b"#version\n" + b"a b\n" * (16 * MIB))
    read = lambda: Tokenizer.from_file(tmp_path / "bpe_simple_vocab_16e6.txt.gz", 8)  # noqa: E731
    assert grown(read) < 40 * MIB
    assert "holds more than the 4,194,304 bytes" in refused(read)


def test_a_config_that_is_a_book(folder, monkeypatch):
    monkeypatch.setattr(limits, "CONFIG", 1000)
    assert "holds more than the 1,000 bytes" in refused(lambda: kzoo.from_preset(folder))


def test_a_line_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LINE", 1000)
    (tmp_path / "pairs.csv").write_text("image,caption\n" + "a" * 1001)
    assert "more than 1,000 characters in line 2" in refused(
        lambda: kzoo.data.pairs(tmp_path / "pairs.csv", PREPROCESSOR, 2)
    )


def test_heads_are_bounded_by_what_the_file_holds(folder):
    head = keras.saving.serialize_keras_object(kzoo.layers.Projector([2**16, 2**17]))
    change_config(folder, ("projector",), head)
    assert grown(lambda: refused(lambda: kzoo.from_preset(folder))) < 300 * MIB


# -- texts --
def test_long_texts_have_the_ids_that_they_had(saved, monkeypatch):
    tokenizer = kzoo.from_preset(saved).preprocessor.tokenizer
    words = "a red cat, two &amp; dogs   beneath the café "
    texts = [words * 4000, "x" * 200_000, " " * 150_000 + words, words]
    monkeypatch.setattr(limits, "TEXT", 10**9)
    whole, cut = tokenizer.encode(texts)
    monkeypatch.setattr(limits, "TEXT", 2**12)
    some, count = tokenizer.encode(texts)
    assert count == cut
    assert all(np.array_equal(whole[name], some[name]) for name in whole)


def test_a_text_of_ten_million_signs(saved):
    tokenizer = kzoo.from_preset(saved).preprocessor.tokenizer
    with within(10):
        assert grown(lambda: tokenizer.encode(["a cat " * 2_000_000])) < 200 * MIB


# -- links --
def test_nothing_outside_is_opened(folder, clip, tmp_path):
    for place in (folder, clip):
        name = "model.safetensors"
        (place / name).rename(tmp_path / "outside")
        (place / name).symlink_to(tmp_path / "outside")
        assert "outside of the folder" in refused(lambda place=place: kzoo.from_preset(place))
        (place / name).unlink()
        (tmp_path / "outside").rename(place / name)
    (folder / "tokenizer.json").rename(tmp_path / "outside")
    (folder / "tokenizer.json").symlink_to(tmp_path / "outside")
    assert "outside of the folder" in refused(lambda: kzoo.from_preset(folder))


def test_a_varint_without_an_end(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"\x0a" + b"\xff" * 2**20)
    assert "more than ten bytes" in refused(lambda: Tokenizer.from_file(tmp_path / "spiece.model", 8))
    (tmp_path / "spiece.model").write_bytes(b"\x0a\x07\x0a\x01a\x15" + struct.pack("<f", np.nan))
    refused(lambda: Tokenizer.from_file(tmp_path / "spiece.model", 8))
