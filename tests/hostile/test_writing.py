"""The writer of folders and files: broken off anywhere, the old content or the new one is there, and nothing else."""

import errno
import fcntl
import json
import logging
import os
import resource
import stat
from contextlib import suppress

import pytest
from breaking import Breaking, Stopped, ended, in_fork

from kzoo.files import disk
from kzoo.files.layouts import EXPORTS, LAYOUTS, files_of
from kzoo.files.locks import LOCK, locked
from kzoo.files.single import STAGING, replacing, try_file
from kzoo.files.writing import DECIDED, PLAN, discard, readable, try_folder, writing

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def no_loss_of_power(monkeypatch):
    """The time that a disk takes to write is of no interest here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


MANIFEST = json.dumps({"graphs": {}, "format": "tf_saved_model"}).encode()
OLD = {"manifest.json": MANIFEST, "saved_model.pb": b"old", "variables/index": b"old", "assets/words": b"old"}
NEW = {"manifest.json": MANIFEST + b" ", "saved_model.pb": b"new!", "variables/index": b"new!", "variables/more": b"0"}
THEIRS = {"notes.txt": b"mine", "variables/deeper/notes.txt": b"mine"}  # files that kzoo did not write


def save(folder, files, layout="tf_saved_model", overwrite=False):
    with writing(folder, layout, overwrite) as place:
        for name, content in files.items():
            if not (place / name).parent.is_dir():
                disk.make_folder((place / name).parent)
            disk.write(place / name, content)


def content(folder):
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(STAGING)}


def old_folder(path):
    for name, each in (OLD | THEIRS).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(each)
    return path


def changes_of(work):
    with pytest.MonkeyPatch.context() as patch:
        counted = Breaking(patch)
        work()
    return counted.count


def test_broken_off_at_every_change(tmp_path):
    count = changes_of(lambda: save(old_folder(tmp_path / "counted"), NEW))
    assert count > 20
    found = {}
    for error in ("stop", errno.ENOSPC, errno.EROFS):
        for at in range(count):
            folder = old_folder(tmp_path / f"{error} {at}")
            with pytest.MonkeyPatch.context() as patch:
                Breaking(patch, at, error)
                with pytest.raises((Stopped, OSError)) as caught:
                    save(folder, NEW)
            if error != "stop":
                assert str(caught.value).startswith(f"{folder} cannot be written: the disk "), at
            assert readable(folder) == folder
            now = content(folder)
            assert now in (OLD | THEIRS, NEW | THEIRS), (error, at)
            found.setdefault(error, []).append("new" if now == NEW | THEIRS else "old")
            save(folder, OLD)  # whatever was left is no obstacle
            assert content(folder) == OLD | THEIRS
    for states in found.values():
        assert states == sorted(states, reverse=True) and set(states) == {"old", "new"}  # one rename decides


def test_broken_off_again_where_it_is_brought_to_its_end(tmp_path):
    for at in range(12):
        folder = old_folder(tmp_path / str(at))
        for moment in (-9, at):  # first where the moving has begun
            with pytest.MonkeyPatch.context() as patch:
                if moment < 0:
                    patch.setattr("kzoo.files.writing._move", lambda folder: 1 / 0)
                    with pytest.raises(ZeroDivisionError):
                        save(folder, NEW)
                else:
                    Breaking(patch, moment, "stop")
                    with pytest.raises(Stopped):
                        readable(folder)
        assert content(readable(folder)) == NEW | THEIRS


def test_what_was_left_is_said(tmp_path, caplog):
    found = []
    for at in range(changes_of(lambda: save(old_folder(tmp_path / "counted"), OLD))):
        folder = old_folder(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
            Breaking(patch, at, "stop")
            save(folder, NEW)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "kzoo"):
            save(folder, OLD)
        found += [record.message for record in caplog.records]
    assert {said.partition(f"{tmp_path}/")[2].partition(": ")[2] for said in found} == {
        "a save that was killed had left files, which were removed; it had changed nothing.",
        "a save that was killed as it ended was brought to its end.",
    }


def test_what_cannot_be_moved_is_read_where_it_lies(tmp_path):
    folder = old_folder(tmp_path / "folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kzoo.files.writing._move", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save(folder, NEW)

    def read_only(*arguments):
        raise OSError(errno.EROFS, "read-only")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "remove", read_only)
        patch.setattr(disk, "rename", read_only)
        place = readable(folder)
        assert place == folder / DECIDED and (place / "saved_model.pb").read_bytes() == b"new!"
        (folder / DECIDED / "saved_model.pb").rename(folder / "saved_model.pb")
        with pytest.raises(OSError, match=r"its writer was killed, and its files cannot be moved .* here .read-only"):
            readable(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "remove", lambda path: read_only() if path.name == PLAN else os.unlink(path))
        assert readable(folder) == folder and content(folder).items() >= NEW.items()
    assert content(readable(folder)) == NEW | THEIRS


@pytest.mark.parametrize("name", ["../out", "/etc/out", ""])
def test_a_plan_of_a_stranger_moves_nothing_elsewhere(tmp_path, name):
    place = tmp_path / "folder" / DECIDED
    place.mkdir(parents=True)
    (tmp_path / "out").write_text("mine")
    (place / ".plan.json").write_text(json.dumps({"files": [], "remove": [name]}))
    with pytest.raises(ValueError, match="names files outside of its folder; nothing is moved"):
        readable(tmp_path / "folder")
    (place / ".plan.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no plan that kzoo has written"):
        readable(tmp_path / "folder")
    assert (tmp_path / "out").read_text() == "mine"


def link_to_remove(folder, elsewhere):
    (folder / "below").symlink_to(elsewhere)
    return {"files": [], "remove": ["below/x"]}


def link_to_write_to(folder, elsewhere):
    (folder / "below").symlink_to(elsewhere)
    (folder / DECIDED / "below").mkdir()
    (folder / DECIDED / "below" / "x").write_text("theirs")
    return {"files": ["below/x"], "remove": []}


def link_to_take_from(folder, elsewhere):
    (folder / DECIDED / "below").symlink_to(elsewhere)
    return {"files": ["below/x"], "remove": []}


@pytest.mark.parametrize("made", [link_to_remove, link_to_write_to, link_to_take_from])
def test_a_plan_of_a_stranger_goes_through_no_link(tmp_path, made):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / DECIDED).mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "x").write_text("mine")
    (folder / DECIDED / PLAN).write_text(json.dumps(made(folder, elsewhere)))
    with pytest.raises(ValueError, match="below is a link; nothing is moved"):
        readable(folder)
    assert (elsewhere / "x").read_text() == "mine" and os.listdir(elsewhere) == ["x"]


def test_a_pipe_is_no_place_for_a_file(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(FileExistsError, match="x.npz is no regular file, and would be replaced by one"):
        try_file(tmp_path / "x.npz")
    assert stat.S_ISFIFO(os.stat(tmp_path / "x.npz").st_mode)


def test_links_are_replaced_and_never_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "index").write_bytes(b"theirs")
    folder = old_folder(tmp_path / "real")
    (folder / "saved_model.pb").unlink()
    (folder / "saved_model.pb").symlink_to(elsewhere / "index")
    (folder / "variables").rename(folder / "before")
    (folder / "variables").symlink_to(elsewhere)
    (folder / STAGING).symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(folder)
    save(tmp_path / "link", NEW)  # the folder itself may be a link
    assert content(elsewhere) == {"index": b"theirs"} and (tmp_path / "link").is_symlink()
    assert {name: (folder / name).read_bytes() for name in NEW} == NEW
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_two_writers_and_a_dead_one(tmp_path):
    with locked(tmp_path):
        for other in (save, lambda folder, files: try_folder(folder, "kzoo")):
            with pytest.raises(BlockingIOError, match="another writer is saving into .*; wait until it is done"):
                other(tmp_path, NEW)
    save(tmp_path, NEW)
    with replacing(tmp_path / "x.npz") as file:
        file.write(b"first")
        with pytest.raises(BlockingIOError, match="another writer is writing"):
            with replacing(tmp_path / "x.npz"):
                pass
        with replacing(tmp_path / "y.npz") as other:  # beside it there is room
            other.write(b"y")
    assert (tmp_path / "x.npz").read_bytes() == b"first" and (tmp_path / "y.npz").read_bytes() == b"y"


def test_a_disk_of_the_network_that_locks_no_folders(tmp_path, monkeypatch, caplog):
    flock = fcntl.flock

    def of_network(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "a folder")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", of_network)
    (tmp_path / LOCK).touch()  # of a process that has died
    with writing(tmp_path, "kzoo") as place:
        disk.write(place / "config.json", b"{}")
        with pytest.raises(BlockingIOError, match="another writer is saving into"):
            save(tmp_path, NEW)
    assert os.listdir(tmp_path) == ["config.json"] and not caplog.records

    def of_no_kind(handle, how):
        raise OSError(errno.ENOLCK, "none")

    monkeypatch.setattr(fcntl, "flock", of_no_kind)
    save(tmp_path, {"config.json": b"[]"}, "kzoo", overwrite=True)
    assert content(tmp_path) == {"config.json": b"[]"} and "knows no locks" in caplog.text


def test_a_file_that_is_a_mount_point_gets_the_content(tmp_path, monkeypatch):
    folder, rename = old_folder(tmp_path / "folder"), disk.rename
    (folder / "saved_model.pb").chmod(0o640)

    def mounted(old, new):
        if new == folder / "saved_model.pb":
            raise OSError(errno.EBUSY, "mounted")
        rename(old, new)

    monkeypatch.setattr(disk, "rename", mounted)
    save(folder, NEW)
    assert content(folder) == NEW | THEIRS and (folder / "saved_model.pb").stat().st_mode & 0o777 == 0o640


def test_a_limit_of_the_system_is_a_sentence_too(tmp_path):
    folder = old_folder(tmp_path / "folder")

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError, match="cannot be written: the disk takes no file of this size; what was there is"):
            save(folder, NEW | {"saved_model.pb": bytes(5000)})

    assert ended(in_fork(work)) == 0 and content(folder) == OLD | THEIRS

    def work_on_a_file():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError, match="x.npz cannot be written: the disk takes no file of this size"):
            with replacing(tmp_path / "x.npz") as file:
                file.write(bytes(5000))  # which a buffer holds until the file is closed

    assert ended(in_fork(work_on_a_file)) == 0 and os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_every_layout_are_refused_or_replaced_on_request(tmp_path, layout):
    held = {LAYOUTS[layout].declared_by: json.dumps({LAYOUTS[layout].key or "a": 1, "format": layout}).encode()}
    held |= {name.replace("?", "1").replace("*", "x"): b"x" for name in LAYOUTS[layout].files if name not in held}
    for new in LAYOUTS:
        folder = tmp_path / new
        save(folder, held, layout)
        (folder / "notes.txt").write_bytes(b"mine")
        files = {LAYOUTS[new].declared_by: json.dumps({LAYOUTS[new].key or "a": 2, "format": new}).encode()}
        if new != layout and not {new, layout} <= set(EXPORTS):
            for refused in (save, lambda folder, files, new: try_folder(folder, new)):
                with pytest.raises(FileExistsError, match="one folder holds one model; .* overwrite=True"):
                    refused(folder, files, new)
            assert content(folder) == held | {"notes.txt": b"mine"}
        save(folder, files, new, overwrite=True)
        assert content(folder) == files | {"notes.txt": b"mine"}


def test_files_of_nobody_are_not_replaced_either(tmp_path):
    (tmp_path / "tokenizer.json").write_text("mine")
    for layout in (name for name, layout in LAYOUTS.items() if "tokenizer.json" in layout.files):
        with pytest.raises(FileExistsError):
            try_folder(tmp_path, layout)
    assert content(tmp_path) == {"tokenizer.json": b"mine"}
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "config.json").mkdir()
    with pytest.raises(IsADirectoryError, match="config.json is a folder where a file is to be written"):
        save(tmp_path, {"config.json": b"{}"}, "kzoo")
    assert files_of(tmp_path, "kzoo") == [] and os.listdir(tmp_path) == ["config.json"]


def test_targets_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for name, sentence in (
        ("file", "file cannot be a folder: .*file is a file; choose another name"),
        ("file/below", "below cannot be a folder: .*file is a file"),
        ("lost", "lost is a link that leads nowhere"),
        ("a" * 300, "cannot be written: the name is too long; what was there is unchanged"),
        ("b" * 255 + "/" + "c" * 256, "the name is too long"),
    ):
        with pytest.raises(OSError, match=sentence):
            try_folder(tmp_path / name, "kzoo")
    for name, sentence in (
        ("", "is a folder, but a file is to be written"),
        ("file/x.npz", "there is no folder .*file"),
        ("none/x.npz", "there is no folder .*none; make it first"),
        ("a" * 300, "the name is too long"),
    ):
        for attempt in (try_file, lambda path: replacing(path).__enter__()):
            with pytest.raises(OSError, match=sentence):
                attempt(tmp_path / name)
    try_folder(tmp_path / "new" / "deep", "kzoo")
    try_file(tmp_path / "new.npz")
    assert content(tmp_path) == {"file": b"x"} and not (tmp_path / "new").exists()
    for number, sentence in (
        (errno.EACCES, "this user may not write there"),
        (errno.EDQUOT, "the disk has no room left for this user"),
        (errno.ENOSPC, "the disk is full"),
    ):
        Breaking(monkeypatch, 0, number)
        with pytest.raises(OSError, match=f"deep cannot be written: {sentence}; what was there is unchanged") as caught:
            try_folder(tmp_path / "deep", "kzoo")
        assert caught.value.errno == number and isinstance(caught.value, type(OSError(number, "")))


def test_a_file_and_a_folder_that_go(tmp_path, caplog):
    path = tmp_path / "x.npz"
    with replacing(path) as file:
        file.write(b"old")
    for error in (KeyError("any"), OSError(errno.ENOSPC, "full")):
        with pytest.raises((KeyError, OSError)):
            with replacing(path) as file:
                file.write(b"half")
                raise error
    assert content(tmp_path) == {"x.npz": b"old"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        Breaking(patch, 0, "stop")
        with replacing(path) as file:
            file.write(b"new")
    assert len(os.listdir(tmp_path)) == 2 and path.read_bytes() == b"old"
    with caplog.at_level(logging.WARNING, "kzoo"), replacing(path) as file:
        file.write(b"n")
    assert content(tmp_path) == {"x.npz": b"n"} and "had left a part, which was removed" in caplog.text
    inner = old_folder(tmp_path / "inner")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        Breaking(patch, 2, "stop")
        discard(inner)
    assert not inner.exists()
    save(tmp_path, {"config.json": b"{}"}, "kzoo")
    assert content(tmp_path) == {"x.npz": b"n", "config.json": b"{}"}
