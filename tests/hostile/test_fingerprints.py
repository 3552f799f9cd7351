"""Fingerprints: what is mixed up or damaged is found, wherever it is, in folders of earlier versions too."""

import hashlib
import json
import zlib

import numpy as np
import pytest
from reading import refused
from safetensors.numpy import load_file, save_file
from shared_case import tiny_model

import kzoo
from kzoo.files.fingerprint import BLOCK, COLUMNS, ROWS, TensorFingerprint, fingerprint_of, sums_of
from kzoo.presets import checking

pytestmark = pytest.mark.once
LENGTHS = (0, 1, 7, 8, 8 * COLUMNS - 1, 8 * COLUMNS, 8 * COLUMNS * 3 + 5, 8 * COLUMNS * (ROWS + 2) + 3)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_wrong_byte_is_found(length):
    random = np.random.default_rng(length)
    content = random.integers(0, 256, length).astype("uint8")
    right = sums_of(content)
    for at in {0, length // 2, length - 1, *random.integers(0, max(length, 1), 20)} if length else ():
        wrong = content.copy()
        wrong[at] ^= 1 << random.integers(8)
        assert sums_of(wrong) != right
    assert sums_of(np.append(content, np.uint8(0))) != right


def test_numbers_in_another_order_are_found():
    """Sums alone would not see them: words, rows of the tables that are summed, tables, a matrix and its transpose."""
    words = np.random.default_rng(0).integers(0, 2**63, (2 * ROWS, COLUMNS)).astype("uint64")
    right, changed = sums_of(words.reshape(-1).view("uint8")), []
    for swap in ([(0, 0), (0, 1)], [(0, 0), (1, 0)], [(3, 5), (ROWS + 3, 5)], [3, 4], [3, ROWS + 3]):
        other = words.copy()
        one, two = swap
        other[one], other[two] = words[two], words[one]
        changed.append(other)
    changed += [np.roll(words, ROWS, axis=0), words[::-1], words[:, ::-1]]
    assert right not in [sums_of(np.ascontiguousarray(other).reshape(-1).view("uint8")) for other in changed]
    square = np.random.default_rng(0).normal(size=(512, 512)).astype("float32")
    assert len({sums_of(np.array(each, order="C").reshape(-1).view("uint8")) for each in (square, square.T)}) == 2


def test_header_names_and_tensors_make_it():
    def made(header, **tensors):
        found = TensorFingerprint(header)
        for name, array in tensors.items():
            found.add(name, array)
        return found.text()

    one, two = np.arange(12.0).reshape(3, 4), np.ones(3, "float16")
    assert made(b"{}", a=one, b=two) == made(b"{}", b=two, a=np.array(one, order="F"))
    others = {made(b"[]", a=one, b=two), made(b"{}", a=two, b=one), made(b"{}", a=one), made(b"{}", a=one, b=2 * two)}
    assert made(b"{}", a=one, b=two) not in others and len(others) == 4


def test_folders_with_the_fingerprint_of_the_whole_file(tmp_path):
    """As the versions before wrote them."""
    tiny_model(depth=1).save_to_preset(tmp_path)
    path, config = tmp_path / "model.safetensors", json.loads((tmp_path / "config.json").read_text())
    assert config["fingerprints"]["model.safetensors"].startswith("tensors:")
    content = path.read_bytes()
    sums = [zlib.crc32(content[at : at + BLOCK]).to_bytes(4, "big") for at in range(0, len(content), BLOCK)]
    config["fingerprints"] = {"model.safetensors": hashlib.sha256(b"".join(sums)).hexdigest()}
    assert fingerprint_of(path) == config["fingerprints"]["model.safetensors"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert kzoo.from_preset(tmp_path) is not None and checking.problems(tmp_path) == ("kzoo", [])
    tensors = load_file(path)
    save_file(tensors | {"image_encoder/projection/vars/0": tensors["image_encoder/projection/vars/0"] * 2}, path)
    for said in (refused(lambda: kzoo.from_preset(tmp_path)), *checking.problems(tmp_path)[1]):
        assert "is not the file that config.json was saved with" in said


def test_one_number_or_one_name_that_is_another(tmp_path):
    tiny_model(depth=1).save_to_preset(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    for at in (9, len(content) // 2, len(content) - 4):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert "model.safetensors" in refused(lambda: kzoo.from_preset(tmp_path)), at
        assert checking.problems(tmp_path)[1]
    path.write_bytes(content)
    kzoo.from_preset(tmp_path)


def test_the_state_of_a_training_that_is_not_wanted_is_verified_too(tmp_path):
    model = tiny_model(depth=1)
    model.compile("adamw", loss="InfoNCE")
    model.optimizer.build(model.trainable_variables)
    model.save_to_preset(tmp_path, optimizer=True)
    assert kzoo.from_preset(tmp_path, context_length=6) is not None
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("optimizer") and tensors[name].ndim)
    content, wanted = path.read_bytes(), np.array(tensors[name] + 1, order="C")
    save_file(tensors | {name: wanted}, path)
    assert "is not the file" in refused(lambda: kzoo.from_preset(tmp_path, context_length=6))
    path.write_bytes(content)
    kzoo.from_preset(tmp_path, context_length=6)
