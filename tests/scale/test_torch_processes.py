"""PyTorch: two processes train, measure and save as one does: one start of torchrun, see torch_cases.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_case import fails
from PIL import Image
from shared_case import toy_pairs

import kzoo
from kzoo.cli.training_folder import TrainingFolder
from kzoo.files.locks import locked

HERE = Path(__file__).parent
CASES = (
    "two losses and a head",
    "in blocks",
    "in micro-batches",
    "queue with a teacher",
    "views that lie on the second axis",
    "labels",
    "labels in micro-batches",
    "captions",
    "two passes",
    "gradients by term",
    "momentum",
)

CLEAN = {name: each for name, each in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
CLEAN |= {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder that two processes wrote, of which the second fails in the end."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(HERE / "torch_cases.py"), str(folder)],
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert (folder / "1.json").exists(), done.stderr[-4000:]
    (folder / "code").write_text(str(done.returncode))
    return folder


@pytest.fixture(scope="module")
def noted(ran):
    return [json.loads((ran / f"{index}.json").read_text()) for index in (0, 1)]


def results(folder, name):
    """What one process alone, and both together, have found."""
    return [dict(np.load(folder / f"{name}.{who}.npz")) for who in ("alone", 0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_weights_and_losses_are_those_of_one_process(ran, name):
    alone, *both = results(ran, name)
    assert any(key.startswith("log loss") for key in alone) and len(alone) > 10
    for found in both:
        assert found.keys() == alone.keys()
        for key, wanted in alone.items():
            np.testing.assert_allclose(found[key], wanted, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_both_processes_have_the_same_weights(ran, name):
    _, first, second = results(ran, name)
    for key, value in first.items():
        np.testing.assert_array_equal(second[key], value, err_msg=key)


def test_every_row_is_measured_once_whatever_the_batches(ran):
    alone, *both = results(ran, "measured")
    assert {"33 loss", "41 image_to_text_recall@1", "pairs text_to_image_recall@5", "fitted val_loss"} <= alone.keys()
    assert [len(alone[f"{rows} image_embeddings"]) for rows in (33, 35, 41, 42)] == [33, 35, 41, 42]
    for found in both:
        for key, wanted in alone.items():
            exact = 0.0 if "recall" in key else 1e-6
            tolerance = 1e-5 if key.startswith("fitted") else exact
            np.testing.assert_allclose(found[key], wanted, rtol=tolerance, atol=tolerance, err_msg=key)


def test_processes_go_on_from_the_weights_of_the_first_and_draw_for_their_own_rows(noted):
    first, second = noted
    assert first["weights"] == second["weights"]
    assert first["seed"] == second["seed"] and first["seed"][1] > 0
    kept = np.array(first["kept"]), np.array(second["kept"])
    assert kept[0].shape == kept[1].shape == (8, kept[0].shape[1]) and (kept[0] != kept[1]).mean() > 0.2


def test_a_process_reads_its_own_rows_of_a_loader(noted):
    asked = noted[0]["asked"], noted[1]["asked"]
    assert sorted(asked[0] + asked[1]) == list(range(42))
    for each in noted:
        np.testing.assert_allclose(each["of a loader"], each["of arrays"], rtol=1e-6)
        assert np.isfinite(each["of a generator"]).all()


def test_what_would_be_wrong_is_refused(noted):
    for each in noted:
        assert "the processes read different data" in each["other data"]
        assert "process 0 is about to train a batch, process 1 is about to end an epoch" in each["fewer batches"]
        assert "BackupAndRestore" in each["backup"]
        assert "process 1 is about to begin to measure" in each["one evaluates"]
        assert "AdversarialStates compares the rows" in each["a head over rows"]
        assert each["sharded"] != "nothing"  # of the layers of Keras torch itself takes few
        assert "jit_compile" in each["compiled"] and "open already" in each["start again"]
    assert [each["process"] for each in noted] == [[0, 2], [1, 2]]


def test_files_are_written_once(ran, noted):
    for name in ("model {}.keras", "preset {}", "model {}.weights.h5", "log {}.csv", "best {}.keras"):
        assert (ran / name.format(0)).exists() and not (ran / name.format(1)).exists(), name
    assert "process 0, which saves, has failed" in noted[1]["saves in vain"]
    assert "process 0" not in noted[0]["saves in vain"] and noted[0]["saves in vain"] != "nothing"


def test_one_clock_and_one_batch(noted):
    assert noted[0]["losses"] == noted[1]["losses"] and len(noted[0]["losses"]) < 100
    assert noted[0]["on a batch"] == noted[1]["on a batch"]


def test_where_one_fails_all_end(ran):
    assert int((ran / "code").read_text()) != 0
    assert (ran / "1.error").read_text() == "ZeroDivisionError: process 1 fails here"
    assert "process 0 of 2 waited for the others" in (ran / "0.error").read_text()


def test_the_command_line_starts_processes_which_show_and_write_once(tmp_path, capsys, monkeypatch):
    pairs = toy_pairs(24)
    (tmp_path / "pairs").mkdir()
    for number, (image, caption) in enumerate(zip(pairs["images"], pairs["captions"])):
        Image.fromarray(image).save(tmp_path / "pairs" / f"{number}.png")
        (tmp_path / "pairs" / f"{number}.txt").write_text(caption)
    code, said = fails(capsys, monkeypatch, "train", tmp_path / "pairs", "--output", tmp_path / "no", "--devices", 3)
    assert code == 1 and "PyTorch sees no GPU; give at most as many" in said
    options = ["--epochs", "2", "--batch-size", "8", "--from-scratch", "--log", str(tmp_path / "log.txt")]
    options += ["--validation", str(tmp_path / "pairs"), "--output", str(tmp_path / "model")]
    command = [sys.executable, "-m", "kzoo.cli", "train", str(tmp_path / "pairs"), *options]

    two = CLEAN | {"KZOO_CPU_DEVICES": "2"}
    done = subprocess.run([*command, "--devices", "2"], env=two, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, (tmp_path / "log.txt").read_text()):
        assert [text.count(f"epoch {number}/2") for number in (1, 2)] == [1, 1] and text.count("saved the model") == 1
    sentences = [line for line in done.stderr.splitlines() if line.startswith("kzoo: ")]
    assert len(sentences) == len(set(sentences)) and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "model" / "training").exists()
    assert kzoo.from_preset(tmp_path / "model").encode_text(["a small red circle"]).shape[0] == 1


def test_one_process_tries_the_folder_for_all(tmp_path):
    (tmp_path / "model").mkdir()
    with locked(tmp_path / "model"):  # as the first one does while it tries
        assert not TrainingFolder(tmp_path / "model").check(False, False, writes=False)
        with pytest.raises(BlockingIOError, match="another writer is saving"):
            TrainingFolder(tmp_path / "model").check(False, False)
    assert not list((tmp_path / "model").iterdir())
