"""Models that are saved by processes that are killed, on disks that are full, over other models: the old one or the new
one opens, and parts of different models never do together."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import time
from contextlib import suppress

import h5py
import keras
import numpy as np
import pytest
import typer
from breaking import Breaking, Stopped, ended, in_fork
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy, tiny_model
from typer.testing import CliRunner

import kzoo
from kzoo.cli.terminal import app
from kzoo.cli.train import ALWAYS
from kzoo.cli.training_folder import TrainingFolder
from kzoo.export import runtime
from kzoo.files import limits
from kzoo.files.locks import locked
from kzoo.preprocessing import Preprocessor
from kzoo.preprocessing.tokenizer import Tokenizer
from kzoo.presets import kept

pytestmark = pytest.mark.once


def of_scale(scale):
    """A model that is known by its scale, which is among its weights."""
    model = tiny_model(depth=1, width=8, num_heads=1, embed_dim=4, activation="quick_gelu", image_size=8)
    model.similarity.log_scale.assign(np.log(scale))
    return model


@pytest.fixture(scope="module")
def models():
    return of_scale(2.0), of_scale(3.0)


@pytest.fixture(autouse=True)
def no_loss_of_power(monkeypatch):
    """The time that a disk takes to write is of no interest here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


SAVERS = {
    "model.save": ("model.keras", lambda model, path: model.save(path)),
    "keras.saving.save_model": ("model.keras", lambda model, path: keras.saving.save_model(model, path)),
    "model.save_weights": ("model.weights.h5", lambda model, path: model.save_weights(path)),
    "keras.saving.save_weights": ("model.weights.h5", lambda model, path: keras.saving.save_weights(model, path)),
}


@pytest.mark.parametrize("way", SAVERS)
def test_a_file_of_keras_is_the_old_or_the_new_one(tmp_path, models, monkeypatch, way):
    name, write = SAVERS[way]
    path, (old, new) = tmp_path / name, models

    def save(model):
        write(model, path)

    save(old)
    before = path.read_bytes()

    def full(store):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(new.similarity, "save_own_variables", full)
        with pytest.raises(OSError, match=f"{name} cannot be written: the disk is full"):
            save(new)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    save(new)
    assert path.read_bytes() != before and list(tmp_path.iterdir()) == [path]
    if name == "model.keras":
        assert round(float(kzoo.load_model(path).scale_and_bias()[0]), 3) == 3.0


@pytest.mark.parametrize("way", SAVERS)
def test_a_disk_without_room_is_known_before_hdf5_fails_on_it(tmp_path, models, way):
    """Which would end the process."""
    name, write = SAVERS[way]
    write(models[0], tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(OSError, match=f"{name} cannot be written: the disk takes no file of this size; what was"):
            write(models[1], tmp_path / name)

    assert ended(in_fork(work)) == 0
    assert (tmp_path / name).read_bytes() == before and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("way", SAVERS)
def test_a_file_of_keras_is_saved_again_after_a_kill(tmp_path, models, monkeypatch, caplog, way):
    name, write = SAVERS[way]

    def work():
        monkeypatch.setattr(models[0].similarity, "save_own_variables", lambda store: os.kill(os.getpid(), 9))
        write(models[0], tmp_path / name)

    assert ended(in_fork(work)) == signal.SIGKILL and name not in os.listdir(tmp_path)
    with caplog.at_level("WARNING", "kzoo"):
        write(models[1], tmp_path / name)
    assert os.listdir(tmp_path) == [name] and "a writer that was killed had left a part, which was" in caplog.text


def opened_scale(folder):
    return round(float(kzoo.from_preset(folder).scale_and_bias()[0]), 3)


@pytest.mark.parametrize("format, optimizer, step", [("kzoo", False, 1), ("kzoo", True, 5), ("open_clip", False, 5)])
def test_broken_off_at_every_change(tmp_path, models, format, optimizer, step):
    old, new = models
    if optimizer:
        for model in models:
            model.compile("sgd")
    arguments = {"format": format, "optimizer": optimizer}
    old.save_to_preset(tmp_path / "old", **arguments)
    with pytest.MonkeyPatch.context() as patch:
        counted = Breaking(patch)
        shutil.copytree(tmp_path / "old", tmp_path / "counted")
        new.save_to_preset(tmp_path / "counted", **arguments)
    assert counted.count > 15
    scales = []
    for at in range(0, counted.count, step):
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "old", folder)
        error = ("stop", errno.ENOSPC)[at % 2]
        with pytest.MonkeyPatch.context() as patch:
            Breaking(patch, at, error)
            with pytest.raises((Stopped, OSError)):
                new.save_to_preset(folder, **arguments)
        scales.append(opened_scale(folder))
    assert scales == sorted(scales) and set(scales) == {2.0, 3.0}


def test_sigkill(tmp_path, models):
    old, new = models
    old.save_to_preset(tmp_path / "old")
    draw, scales = random.Random(0), []
    for number in range(6):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "old", folder)
        if number % 2:  # at a change, or at any moment

            def work(folder=folder, number=number):
                Breaking(pytest.MonkeyPatch(), 4 * number - 2, "kill")
                new.save_to_preset(folder)

            child = in_fork(work)
        else:
            child = in_fork(lambda folder=folder: [model.save_to_preset(folder) for model in 50 * [new, old]])
            time.sleep(draw.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
        assert ended(child) == signal.SIGKILL
        scales.append(opened_scale(folder))
        old.save_to_preset(folder)  # the lock has died with its owner
        assert opened_scale(folder) == 2.0
    assert set(scales) <= {2.0, 3.0} and len(set(scales[1::2])) == 2


def test_two_savers_at_once(tmp_path, models):
    folder = tmp_path / "folder"

    def save_often(model):
        for _ in range(10):
            try:
                model.save_to_preset(folder)
            except BlockingIOError as error:
                assert "another writer is saving into" in str(error)

    children = [in_fork(lambda model=model: save_often(model)) for model in models]
    assert [ended(child) for child in children] == [0, 0] and opened_scale(folder) in (2.0, 3.0)
    with locked(folder), pytest.raises(BlockingIOError):
        models[0].save_to_preset(folder)


def epoch_done(path, model, number):
    folder = TrainingFolder(path)
    if number == 1:
        folder.begin(model, {"seed": 0})
    else:
        folder.open()
    folder.epoch_done(model, {"epoch": number, "loss": 1.0}, None)
    return folder


def test_a_training_goes_on_wherever_it_is_broken_off(tmp_path, models, monkeypatch):
    monkeypatch.setattr("kzoo.cli.training_folder.draw_curves", lambda *_: None)
    for model in models:
        model.compile("sgd")
    epoch_done(tmp_path / "old", models[0], 1)
    found = []
    for at in range(0, 80, 9):
        path = tmp_path / str(at)
        shutil.copytree(tmp_path / "old", path)
        with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
            Breaking(patch, at, "stop")
            epoch_done(path, models[1], 2).finish()
        folder = TrainingFolder(path)
        try:
            folder.check(resume=True, overwrite=False)
        except ValueError as error:
            assert "is complete, so nothing is left to resume" in str(error)
            found.append(("complete", opened_scale(path)))
            continue
        found.append(("begun", opened_scale(folder.last)))
        assert opened_scale(path) in (2.0, 3.0)
    assert found == sorted(found)
    assert set(found) == {("begun", 2.0), ("complete", 3.0)}


STATES = {
    "cut": lambda state: json.dumps(state)[:40],
    "a list": lambda state: "[]",
    "no options": lambda state: json.dumps({"history": [], "best": None}),
    "no option": lambda state: json.dumps(state | {"options": {}}),
    "an option": lambda state: json.dumps(state | {"options": dict.fromkeys(state["options"]) | {"epochs": "many"}}),
    "a range": lambda state: json.dumps(state | {"options": dict.fromkeys(state["options"]) | {"epochs": -3}}),
    "the history": lambda state: json.dumps(state | {"history": [3]}),
    "the best": lambda state: json.dumps(state | {"best": 7}),
}


@pytest.mark.parametrize("what", STATES)
def test_a_state_of_a_training_that_is_damaged(tmp_path, what):
    options = [each.name for each in typer.main.get_command(app).commands["train"].params if each.name not in ALWAYS]
    state = {"options": dict.fromkeys(options), "history": [], "best": None}
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "state.json").write_text(STATES[what](state))
    result = CliRunner().invoke(app, ["train", "pairs.csv", "--output", str(tmp_path), "--resume"])
    assert isinstance(result.exception, ValueError) and "training" in str(result.exception), result.exception


@pytest.mark.parametrize("format", ["kzoo", "open_clip"])
def test_what_could_not_be_opened_again_replaces_nothing(tmp_path, models, format):
    models[0].save_to_preset(tmp_path, format=format)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    diverged = of_scale(3.0)
    diverged.image_encoder.projection.kernel.assign(np.full(diverged.image_encoder.projection.kernel.shape, np.nan))
    with pytest.raises(ValueError, match="holds nan at .*, as in a damaged file or of a training that diverged"):
        diverged.save_to_preset(tmp_path, format=format)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files and opened_scale(tmp_path) == 2.0


def test_an_array_of_texts_of_which_one_is_a_book(tmp_path, models, monkeypatch):
    models[0].save_to_preset(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("a cat\n" * 100 + "a" * 1000)
    monkeypatch.setattr(limits, "STRINGS", 100_000)
    words = ["embed", str(tmp_path / "model"), "--texts", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "x")]
    result = CliRunner().invoke(app, words)
    assert "101 texts of up to 1,000 characters would take 404,000 bytes" in str(result.exception)
    assert sorted(os.listdir(tmp_path)) == ["model", "texts.txt"]


def test_a_full_disk_is_not_tried_by_another_exporter(tmp_path, models, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kzoo.export.onnx_graphs.write_onnx", full)
    monkeypatch.setattr("kzoo.export.onnx_graphs.export_on", lambda *arguments: 1 / 0)
    with pytest.raises(OSError, match="export cannot be written: the disk is full; what was there is unchanged"):
        models[0].export(tmp_path / "export")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def by_format():
    theirs = kzoo.from_preset(TESTS / "fixtures" / "hf_clip_tiny")
    return {"kzoo": of_scale(1.0), "transformers": theirs, "open_clip": of_scale(1.0)}


@pytest.mark.parametrize("before", ["kzoo", "transformers", "open_clip"])
@pytest.mark.parametrize("after", ["kzoo", "transformers", "open_clip"])
def test_what_was_saved_is_what_opens(tmp_path, by_format, before, after):
    by_format[before].similarity.log_scale.assign(np.log(2.0))
    by_format[before].save_to_preset(tmp_path, format=before)
    (tmp_path / "notes.txt").write_text("mine")
    new = by_format[after]
    new.similarity.log_scale.assign(np.log(3.0))
    if before != after:
        files = sorted(tmp_path.iterdir())
        with pytest.raises(FileExistsError, match=f"holds a model of {before} .*overwrite=True"):
            new.save_to_preset(tmp_path, format=after)
        assert sorted(tmp_path.iterdir()) == files and opened_scale(tmp_path) == 2.0
    new.save_to_preset(tmp_path, format=after, overwrite=before != after)
    again = kzoo.from_preset(tmp_path)
    assert opened_scale(tmp_path) == 3.0 and (tmp_path / "notes.txt").read_text() == "mine"
    for one, other in zip(again.weights, new.weights, strict=True):
        assert np.array_equal(numpy(one), numpy(other))
    assert (again.preprocessor.tokenizer is None) == (new.preprocessor.tokenizer is None)


def test_a_vocabulary_goes_with_its_model(tmp_path, models):
    models[0].save_to_preset(tmp_path)
    bare = of_scale(3.0)
    bare.preprocessor = Preprocessor(bare.preprocessor.images, vocabulary=bare.preprocessor.vocabulary)
    bare.save_to_preset(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    assert kzoo.from_preset(tmp_path).preprocessor.tokenizer is None


def test_a_model_that_is_saved_anew_while_it_is_opened(tmp_path, models, monkeypatch):
    models[0].save_to_preset(tmp_path)
    read, open_file, waiting = kept.read_weights, kept.open_weights, [models[1]]

    def read_late(*arguments, **options):
        while waiting:
            waiting.pop().save_to_preset(tmp_path)
        read(*arguments, **options)

    monkeypatch.setattr(kept, "read_weights", read_late)
    assert opened_scale(tmp_path) != 3.0 and not waiting  # of the file that was opened, to its end

    def open_late(*arguments):
        while waiting:
            waiting.pop().save_to_preset(tmp_path)
        return open_file(*arguments)

    models[0].save_to_preset(tmp_path)
    waiting.append(models[1])
    monkeypatch.setattr(kept, "open_weights", open_late)
    assert opened_scale(tmp_path) == 3.0 and not waiting  # the config was of the one before


def test_parts_of_different_models_are_told_apart(tmp_path, models):
    for name, model in zip(("one", "two"), models):
        model.save_to_preset(tmp_path / name)
    other = Tokenizer.train(["quite other words", "for this vocabulary"], 320, 10)
    (tmp_path / "other.json").write_text(other.to_json())
    for file, source in (("model.safetensors", "two/model.safetensors"), ("tokenizer.json", "other.json")):
        folder = tmp_path / f"with {file}"
        shutil.copytree(tmp_path / "one", folder)
        shutil.copy(tmp_path / source, folder / file)
        with pytest.raises(ValueError, match=f"{file} is not the .* was saved with: its fingerprint is"):
            kzoo.from_preset(folder)
        assert kzoo.from_preset(folder, verify=False).name == models[0].name
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    for record in (5, {"../two/model.safetensors": 64 * "0"}, {"model.safetensors": None}):
        (tmp_path / "one" / "config.json").write_text(json.dumps(config | {"fingerprints": record}))
        with pytest.raises(ValueError, match="config.json,? (has|says )?fingerprints"):
            kzoo.from_preset(tmp_path / "one", verify=False)
    shutil.copy(tmp_path / "two" / "config.json", tmp_path / "one")
    with pytest.raises(ValueError, match="is not the file that config.json was saved with"):
        kzoo.from_preset(tmp_path / "one")


def test_tensors_that_nothing_reads_are_left_over(tmp_path):
    model = of_scale(2.0)
    model.save_to_preset(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {"backdoor/vars/0": np.zeros(3, "float32")}, path)
    with pytest.raises(ValueError, match="1 tensors are left over, backdoor/vars/0"):
        kzoo.from_preset(tmp_path, verify=False)
    path.unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    del config["fingerprints"]
    config["loss"] = [{"loss": "SwAV"}]
    (tmp_path / "config.json").write_text(json.dumps(config))  # as it was before there were any
    model.save_weights(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5", "a") as file:  # a loss that has weights, alone and in a sum
        file["layers/sw_av/vars/0"] = file["layers/weighted_sum/terms/sw_av/vars/0"] = np.zeros((3, 4))
    assert opened_scale(tmp_path) == 2.0
    with h5py.File(tmp_path / "model.weights.h5", "a") as file:
        file["backdoor/vars/0"] = np.zeros(3)
    with pytest.raises(ValueError, match="1 tensors are left over, backdoor/vars/0"):
        kzoo.from_preset(tmp_path)
    model.save_to_preset(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("model.*")) == ["model.safetensors"]


def test_the_graphs_of_another_export_are_told_apart(tmp_path):
    (tmp_path / "image_encoder.onnx").write_bytes(b"another graph")
    graphs = {"image_encoder": {"file": "image_encoder.onnx", "inputs": [], "outputs": []}}
    manifest = {"kzoo": kzoo.__version__, "format": "onnx", "preset": "a", "embed_dim": 4, "preprocessor": None}
    manifest |= {"similarity": {"scale": 1.0, "bias": 0.0}}
    manifest |= {"graphs": graphs, "fingerprints": {"image_encoder.onnx": 64 * "0"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"image_encoder.onnx is not the file that manifest.json was saved with"):
        runtime.load(tmp_path)
    with pytest.raises(Exception, match="(?i)protobuf|onnx"):
        runtime.load(tmp_path, verify=False)
