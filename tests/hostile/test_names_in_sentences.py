"""A name, a path or a cell that would steer a terminal, or begin a new line, is spelt out wherever kzoo says it."""

import io
import json
import shutil
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from reading import refused
from shared_case import TESTS, tiny_model

import kzoo
from kzoo import cli
from kzoo.adaptation import AdaptedClassifier, EmbeddingClassifier, ZeroShot, load_adapter, save_adapter
from kzoo.data import write_index, write_shards
from kzoo.export import runtime
from kzoo.preprocessing import Tokenizer
from kzoo.presets import checking

pytestmark = pytest.mark.once
ODD, SPELT = "a\n\x1b[2J\x9b2J\u202eb", r"\x1b[2J\x9b2J\u202eb"  # ends of lines become spaces


@pytest.fixture(scope="module")
def model():
    return tiny_model(depth=1)


@pytest.fixture
def odd(tmp_path):
    """A folder of such a name, with a few files that are none of what their names say."""
    folder = tmp_path / ODD
    (folder / "empty").mkdir(parents=True)
    for name in ("bad.png", "bad.safetensors", "tokenizer.json", "spiece.model", "it.keras", "it.tar", "it.parquet"):
        (folder / name).write_bytes(b"\xff none")
    (folder / "lacking.csv").write_text("image,caption\nnone.png,a\n")
    (folder / "bad.csv").write_text("image,caption\nbad.png,a\n")
    (folder / "columns.csv").write_text("picture\nx\n")
    return folder


READ = {
    "a preset": lambda odd, model: kzoo.from_preset(odd / "empty"),
    "an export": lambda odd, model: runtime.load(odd / "none"),
    "an adapted model": lambda odd, model: AdaptedClassifier.load(odd / "empty"),
    "an adapter": lambda odd, model: load_adapter(model, odd / "empty"),
    "a classifier": lambda odd, model: EmbeddingClassifier.load(odd / "bad.safetensors"),
    "no classifier": lambda odd, model: EmbeddingClassifier.load(odd / "none.safetensors"),
    "a tokenizer": lambda odd, model: Tokenizer.from_file(odd / "tokenizer.json", 8),
    "a model of pieces": lambda odd, model: Tokenizer.from_file(odd / "spiece.model", 8),
    "a file of Keras": lambda odd, model: kzoo.load_model(odd / "it.keras"),
    "no file of Keras": lambda odd, model: kzoo.load_model(odd / "none.keras"),
    "no weights": lambda odd, model: model.load_weights(odd / "none.weights.h5"),
    "a picture": lambda odd, model: model.encode_image([odd / "bad.png"]),
    "no picture": lambda odd, model: model.encode_image([str(odd / "none.png")]),
    "a table": lambda odd, model: kzoo.data.pairs(odd / "lacking.csv", model.preprocessor, 1),
    "a table's picture": lambda odd, model: kzoo.data.pairs(odd / "bad.csv", model.preprocessor, 1)[0],
    "a table's columns": lambda odd, model: kzoo.data.pairs(odd / "columns.csv", model.preprocessor, 1),
    "no table": lambda odd, model: kzoo.data.pairs(odd / "none.csv", model.preprocessor, 1),
    "a shard": lambda odd, model: kzoo.data.shards(str(odd / "it.tar"), model.preprocessor, 1)[0],
    "a parquet file": lambda odd, model: kzoo.data.shards(str(odd / "it.parquet"), model.preprocessor, 1)[0],
    "no shard": lambda odd, model: kzoo.data.shards(str(odd / "none.tar"), model.preprocessor, 1),
    "an index": lambda odd, model: write_index(str(odd / "it.tar")),
    "pictures of classes": lambda odd, model: kzoo.adapt(model, odd / "empty", "class_mean"),
    "a preset's name": lambda odd, model: kzoo.from_preset(ODD),
    "a name on the hub": lambda odd, model: kzoo.from_preset(f"hf://{ODD}"),
    "a loss": lambda odd, model: model.compile(loss=ODD),
    "a class twice": lambda odd, model: ZeroShot(np.eye(2), (ODD, ODD)),
    "an adapter's name": lambda odd, model: save_adapter(model, odd / "adapter", name=ODD),
    "a folder to save to": lambda odd, model: model.save_to_preset(odd / "bad.png"),
    "a folder to export to": lambda odd, model: model.export(odd / "bad.png"),
    "a file to save to": lambda odd, model: model.save(odd / "none" / "it.keras"),
    "shards to write": lambda odd, model: write_shards(odd / "lacking.csv", odd / "shards"),
}


@pytest.mark.parametrize("what", READ)
def test_what_is_raised(what, odd, model):
    assert len(refused(lambda: READ[what](odd, model))) > 20  # which looks for what is not to be seen


def test_what_is_found_in_a_folder(odd, model):
    """By `kzoo check`: folders of models, of checkpoints of others and of adapters, each file of them spoilt."""
    model.save_to_preset(odd / "saved")
    for folder in (odd / "saved", TESTS / "fixtures" / "hf_clip_tiny", TESTS / "adaptation" / "peft" / "clip_lora"):
        for name in ("config.json", "adapter_config.json", "model.safetensors", "tokenizer.json"):
            place = shutil.copytree(folder, odd / "spoilt")
            if (place / name).exists():
                (place / name).write_bytes(b"none")
                found = checking.problems(place)[1]
                assert found and all(map(str.isprintable, found)) and any(SPELT in each for each in found), name
            shutil.rmtree(place)


def of_members(path, *members):
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("broken", [(f"{ODD}.png", b"none"), (f"{ODD}.json", b"{"), (f"{ODD}.txt", b"\xff")])
def test_members_of_shards(odd, model, broken):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    good, whole = ([(f"{name}.png", picture.getvalue()), (f"{name}.txt", b"a")] for name in (ODD, "whole"))
    of_members(odd / "it.tar", *(each for each in good if each[0] != broken[0]), broken, *whole)
    read = lambda: kzoo.data.shards(str(odd / "it.tar"), model.preprocessor, 2, shuffle=False)[0]  # noqa: E731
    assert SPELT in refused(read)


def test_what_is_logged_and_warned(odd, model, caplog, recwarn):
    model.save_to_preset(odd / "it")
    (odd / "it" / ".kzoo-saving").mkdir()  # as of a writer that was killed
    with caplog.at_level("INFO", "kzoo"):
        model.save_to_preset(odd / "it")
    assert any(SPELT in record.getMessage() for record in caplog.records)
    said = [record.getMessage() for record in caplog.records] + [str(each.message) for each in recwarn]
    assert all(map(str.isprintable, said))


COMMANDS = {
    "check": ("check", "{odd}/it"),
    "check in full": ("check", "{odd}"),
    "embed": ("embed", "{odd}/it", "--images", "{odd}/pictures", "--output", "{odd}/x.npz"),
    "classify": ("classify", "{odd}/pictures", "--preset", "{odd}/it", "--labels", "\x1b[2J,b"),
    "classify as JSON": ("classify", "{odd}/pictures", "--preset", "{odd}/it", "--labels", "\x1b[2J,b", "--json"),
    "shards": ("shards", "{odd}/good.csv", "{odd}/shards"),
    "convert": ("convert", "{odd}/it", "{odd}/converted", "--format", "open_clip"),
    "an error": ("embed", "{odd}/none", "--texts", "{odd}/none.txt", "--output", "{odd}/y.npz"),
    "a wrong option": ("train", "{odd}/good.csv", "--output", "{odd}/it"),
    "a name": ("describe", ODD),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_what_is_printed(what, odd, model, capsys, monkeypatch):
    model.save_to_preset(odd / "it")
    (odd / "pictures").mkdir()
    for name in (f"{ODD}.png", "b.png"):
        Image.new("RGB", (8, 8)).save(odd / "pictures" / name)
    (odd / "pictures" / f"bad {ODD}.png").write_bytes(b"none") if what == "embed" else None
    (odd / "good.csv").write_text("image,caption\npictures/b.png,a\n")
    monkeypatch.setattr(sys, "argv", ["kzoo", *(word.replace("{odd}", str(odd)) for word in COMMANDS[what])])
    with pytest.raises(SystemExit):
        cli.main()
    printed = capsys.readouterr()
    assert all(line.isprintable() for line in "".join(printed).split("\n")), repr(printed)
    if what == "classify as JSON":
        assert [json.loads(line)["\x1b[2J"] >= 0 for line in printed.out.splitlines()] == [True, True]
