"""Commands on a disk that takes no more: one sentence, exit code 1, the old files whole, and no part of a new one."""

import errno
import os
import resource

import pytest
from breaking import ended, in_fork
from cli_case import fails
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.cli.progress import Watch
from kzoo.cli.sentences import in_words
from kzoo.cli.training_folder import TrainingFolder
from kzoo.files import disk

pytestmark = pytest.mark.once
MOST = 1000  # bytes of a file that the disk takes
TAKES_NO_MORE = "cannot be written: the disk takes no file of this size; what was there is unchanged"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """What the commands read, and what of each of them is there already."""
    place, pairs = tmp_path_factory.mktemp("there"), toy_pairs(12)
    lines = ["image,caption"]
    for number, (image, caption) in enumerate(zip(pairs["images"], pairs["captions"])):
        Image.fromarray(image).save(place / f"{number}.png")
        lines.append(f"{number}.png,{caption}")
    (place / "pairs.csv").write_text("\n".join(lines))
    model = tiny_model(depth=1)
    for name in ("model", "trained", "kzoo"):
        model.save_to_preset(place / name)
    kzoo.data.write_shards(place / "pairs.csv", place / "shards", shard_size=1)
    (place / "x.npz").write_bytes(b"old")
    return place


COMMANDS = {
    "embed": ("embed", "model", "--images", "0.png", "--texts", "pairs.csv", "--output", "x.npz"),
    "train": ("train", "pairs.csv", "--preset", "model", "--overwrite", "--output", "trained", "--epochs", 1),
    "train anew": ("train", "pairs.csv", "--preset", "model", "--output", "new", "--epochs", 1),
    "convert": ("convert", "model", "kzoo"),
    "shards": ("shards", "pairs.csv", "shards", "--overwrite"),
    "index": ("shards", "shards"),
}


def files_of(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_there_is_there(there, monkeypatch, capsys, name):
    before = files_of(there)

    def work():
        os.chdir(there)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST))
        code, said = fails(capsys, monkeypatch, *COMMANDS[name])
        assert code == 1 and TAKES_NO_MORE in said and "Traceback" not in said, said

    assert ended(in_fork(work)) == 0
    assert files_of(there) == before


def test_a_line_of_a_log_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    log = tmp_path / "log.txt"
    log.write_text("old\n" * 249)
    watch = Watch(TrainingFolder(tmp_path / "model"), 1, log=log)

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST))
        with pytest.raises(OSError, match="log.txt cannot be written: .* of this size; what was in it is there still"):
            watch.say("epoch 1/1")

    assert ended(in_fork(work)) == 0 and log.read_text() == "old\n" * 249
    watch.say("epoch 1/1")
    assert log.read_text() == "old\n" * 249 + "epoch 1/1\n"


def test_what_a_library_passes_on_of_the_disk_is_said_as_ours():
    full = os.strerror(errno.ENOSPC)
    with pytest.raises(OSError, match="my_clip cannot be written: the disk is full; what was there is unchanged"):
        with disk.in_words("my_clip"):
            raise RuntimeError(f"ResourceExhaustedError: variables.data.tempstate; {full}")
    with pytest.raises(RuntimeError, match="^no such signature$"):
        with disk.in_words("my_clip"):
            raise RuntimeError("no such signature")
    assert in_words(OSError(errno.ENOSPC, full)) == "what is printed cannot be written: the disk is full."
    assert in_words(OSError(errno.ENOSPC, full, "x.txt")) == "x.txt cannot be written: the disk is full."
