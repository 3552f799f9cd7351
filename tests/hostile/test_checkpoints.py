"""Checkpoints on disk: whole or not at all, and what was damaged since is found."""

import errno
import json
import shutil

import numpy as np
import pytest
from breaking import Breaking, Stopped

from kzoo.files import disk
from kzoo.files.fingerprint import fingerprint_of
from kzoo.training.background import Background
from kzoo.training.checkpoints import OBJECTS, Checkpoints

pytestmark = pytest.mark.once
ARRAYS = {"trained/00000": np.arange(6, dtype="float32").reshape(2, 3), "random/python": np.arange(4, dtype="uint32")}
EMPTY = {name: {} for name in OBJECTS}


def state(step):
    numbers = {"epoch": 0, "batch": step, "step": step, "order_seed": 5, "epochs": 3}
    return numbers | {"finished": False, "stopped": False} | EMPTY


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "run"
    write(Checkpoints(folder, 2), 1, 2, 3)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def write(checkpoints, *steps):
    with checkpoints.open():
        for step in steps:
            checkpoints.write(state(step), {name: each + each.dtype.type(step) for name, each in ARRAYS.items()})


def newest(folder):
    found = Checkpoints(folder, 2).newest()
    return found and found[0]["step"]


def test_the_last_few_are_kept_and_the_newest_is_read(folder, tmp_path):
    assert sorted(each.name for each in folder.iterdir()) == ["checkpoint-000002", "checkpoint-000003"]
    state, arrays = Checkpoints(folder, 2).newest()
    assert state["step"] == 3 and arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], each + each.dtype.type(3)) for name, each in ARRAYS.items())
    assert Checkpoints(tmp_path / "none", 2).newest() is None


def test_a_file_cut_anywhere_or_one_byte_changed_falls_back_to_the_one_before(folder, caplog):
    last = folder / "checkpoint-000003"
    files = sorted(last.iterdir())
    assert [each.name for each in files] == ["fingerprints.json", "state.json", "tensors.safetensors"]
    random = np.random.default_rng(0)
    for file in files:
        whole = file.read_bytes()
        for place in {0, 1, len(whole) - 1, *map(int, random.integers(0, len(whole), 40))}:
            file.write_bytes(whole[:place])
            assert newest(folder) == 2, (file.name, place)
            if not whole[place : place + 1].isspace() or file.name != "fingerprints.json":
                file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
                assert newest(folder) == 2, (file.name, place)
        file.write_bytes(whole)
        file.rename(last / "elsewhere")
        assert newest(folder) == 2
        (last / "elsewhere").rename(file)
    assert newest(folder) == 3
    assert "checkpoint-000003 cannot be gone on from" in caplog.text and "the one before it is taken" in caplog.text


def test_where_none_can_be_read_nothing_begins_anew(folder):
    for each in folder.iterdir():
        (each / "state.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"none of the 2 checkpoints in .* can be read, the newest because .*state.json"
    ):
        newest(folder)


def test_one_of_another_version_is_not_read(folder):
    last = folder / "checkpoint-000003"
    content = json.loads((last / "state.json").read_text())
    (last / "state.json").write_text(json.dumps(content | {"kzoo_checkpoint": 99}))
    fingerprints = json.loads((last / "fingerprints.json").read_text())
    fingerprints["state.json"] = fingerprint_of(last / "state.json")
    (last / "fingerprints.json").write_text(json.dumps(fingerprints))
    assert newest(folder) == 2


@pytest.mark.parametrize("error", ["stop", errno.ENOSPC])
def test_a_writer_that_stops_anywhere_leaves_the_newest_whole(written, tmp_path, error):
    """Each change of files in turn is the last that is made, or the one that a full disk refuses."""

    def written_with(at):
        place = shutil.copytree(written, tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch:
            breaking = Breaking(patch, at, error)
            try:
                write(Checkpoints(place, 2), 4)
            except Stopped:
                assert error == "stop"
            except OSError as said:
                assert error == errno.ENOSPC and "the disk is full" in str(said)
        return place, breaking.count

    place, changes = written_with(None)
    assert newest(place) == 4 and changes > 10
    for at in range(changes):
        place, _ = written_with(at)
        assert newest(place) in (3, 4), at
        write(Checkpoints(place, 2), 5)
        assert newest(place) == 5 and len(list(place.iterdir())) == 2


def test_what_goes_wrong_in_the_background_is_raised_where_it_is_waited_for(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    checkpoints = Checkpoints(tmp_path / "run", 2)
    with checkpoints.open():
        monkeypatch.setattr(disk, "write", full)
        with Background() as background:
            background.do(checkpoints.write, state(1), ARRAYS)
            sentence = "run cannot be written: the disk is full; what was saved before is there still"
            with pytest.raises(OSError, match=sentence):
                background.do(checkpoints.write, state(2), ARRAYS)
        with pytest.raises(KeyError) as caught, Background() as background:
            background.do(checkpoints.write, state(3), ARRAYS)
            raise KeyError("first")
        assert caught.value.__notes__ == ["What was being written meanwhile was not written, either."]
