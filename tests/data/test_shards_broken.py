"""Shards and samples that are damaged or hostile: said with shard and key, or left out and counted."""

import bz2
import gzip
import json
import lzma
import os
import tarfile

import numpy as np
import pytest
from shard_case import ids_of, png, sample, tar_of, write_shards
from shared_case import tiny_model

import kzoo
from kzoo.files import limits

STEPS = tiny_model().preprocessor


def shards(source, batch_size=2, **options):
    return kzoo.data.shards(source, STEPS, batch_size, **options)


def of_members(tmp_path, members, **options):
    """A shard of one bad sample, the last, behind good ones."""
    (tmp_path / "a.tar").write_bytes(tar_of([*sample(0), *sample(1), *members]))
    return shards(tmp_path / "a.tar", 3, shuffle=False, **options)


def linked(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info, b""


BAD = {
    "no picture": ([("x.txt", b"a")], "it has no picture; the members of a sample have one name"),
    "no caption": ([("x.png", png(2))], r"it has no caption \(.txt\)"),
    "an empty caption": ([("x.png", png(2)), ("x.txt", b" \n")], "the caption is empty"),
    "a caption in latin-1": ([("x.png", png(2)), ("x.txt", b"caf\xe9")], r"its caption \(.txt\) is not UTF-8"),
    "a picture that is none": ([("x.png", b"no"), ("x.txt", b"a")], "2 bytes cannot be read as an image"),
    "a picture that is cut off": ([("x.png", png(2)[:-40]), ("x.txt", b"a")], "cannot be read as an image"),
    "postscript": ([("x.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"), ("x.txt", b"a")], "cannot be read as an image"),
    "a picture twice": ([("x.png", png(2)), ("x.png", png(3)), ("x.txt", b"a")], "it has two members for its picture"),
    "a caption twice": ([("x.png", png(2)), ("x.txt", b"a"), ("x.txt", b"b")], "it has two members for its caption"),
    "a record that is none": ([("x.png", png(2)), ("x.json", b"{"), ("x.txt", b"a")], "it is not JSON"),
    "a record with a key twice": ([("x.png", png(2)), ("x.json", b'{"a": 1, "a": 2}')], "has the key 'a' twice"),
    "a record that is a list": ([("x.png", png(2)), ("x.json", b"[1]")], "its record (.json) holds no object"),
    "no captions in a list": ([("x.png", png(2)), ("x.json", b'{"captions": []}')], "the captions is empty"),
    "captions that are numbers": ([("x.png", png(2)), ("x.json", b'{"caption": 3}')], "something else than strings, 3"),
    "a link for a picture": ([linked("x.png", tarfile.SYMTYPE), ("x.txt", b"a")], "it has no picture"),
    "a hard link": ([linked("x.png", tarfile.LNKTYPE), ("x.txt", b"a")], "it has no picture"),
    "a pipe for a picture": ([linked("x.png", tarfile.FIFOTYPE), ("x.txt", b"a")], "it has no picture"),
    "a device": ([linked("x.png", tarfile.CHRTYPE), ("x.txt", b"a")], "it has no picture"),
    "a key that steers terminals": ([("\x1b[2Jx\n.txt", b"a")], r"\\x1b\[2Jx: it has no picture"),
    "a sample in two places": ([("x.png", png(2)), *sample(3), ("x.txt", b"a")], r"x: it has no caption"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_sample_that_is_broken(tmp_path, what):
    members, sentence = BAD[what]
    sentence = sentence.replace("(.json)", r"\(.json\)")
    data = of_members(tmp_path, members)
    with pytest.raises(ValueError, match=f"a.tar: .*{sentence}.*skip_broken=True") as error:
        [data[index] for index in range(len(data))]
    assert str(error.value).isprintable()
    skipping = of_members(tmp_path, members, skip_broken=True, ids=True)
    with pytest.warns(UserWarning, match=r"\d samples? cannot be used and were left out: a.tar: "):
        rows = skipping.in_order().rows_read
    assert {0, 1} <= set(rows.tolist()) and 2 not in rows and len(rows) < skipping.count
    assert all("a.tar: " in each for each in skipping.broken)


def test_names_of_members_are_no_paths(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["/etc/kzoo", "../../out", "..", "a/../../../b"]
    members = [each for number, name in enumerate(names[:2] + names[3:]) for each in sample(number, key=name)]
    (inside / "a.tar").write_bytes(tar_of(members))
    before = sorted(tmp_path.rglob("*"))
    data = shards(inside / "a.tar", 3)
    assert data.count == 3 and len(data[0]["images"]) == 3 and sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists("/etc/kzoo.png") and not (tmp_path.parent / "out.png").exists()


@pytest.mark.parametrize("ending", ["png", "txt"])
def test_members_of_any_size_are_not_read(tmp_path, ending):
    """A header may say what it likes: here a hole of 3 GB, of which nothing is stored."""
    size, path, big = 3 * 2**30, tmp_path / "a.tar", tarfile.TarInfo(f"0002.{ending}")
    big.size = size
    with open(path, "wb") as file:
        others = [each for each in sample(2) if not each[0].endswith(ending)]
        file.write(tar_of([*sample(0), *sample(1), *others]).rstrip(b"\0"))
        file.seek(-(-file.tell() // 512) * 512)
        file.write(big.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + size + 1024)
    data = shards(path, 2, shuffle=False)
    assert data.count == 3
    with pytest.raises(ValueError, match=rf"a.tar: 0002: its .* has {size:,} bytes, more than the .* that are read"):
        data[1]


def test_a_picture_of_more_pixels_than_are_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(tar_of(sample(0) + sample(1)))
    monkeypatch.setattr(limits, "PIXELS", 100)
    with pytest.raises(ValueError, match="a.tar: 000.: .*more than the 100 pixels"):
        shards(tmp_path / "a.tar")[0]


WHOLE = tar_of([each for number in range(6) for each in sample(number)])


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 3000, len(WHOLE) // 2 // 512 * 512])
def test_a_shard_that_is_cut_off(tmp_path, cut):
    write_shards(tmp_path, [6, 6])
    (tmp_path / "data-0002.tar").write_bytes(WHOLE[:cut])
    with pytest.raises(
        ValueError, match=rf"1 of the 3 shards are not whole: data-0002.tar: it ends at byte {cut:,}.*skip"
    ):
        shards(tmp_path)
    with pytest.warns(UserWarning, match="1 of the 3 shards are not whole: data-0002.tar"):
        data = shards(tmp_path, 4, skip_broken=True, ids=True)
    assert data.count >= 12 and all(len(ids) == 4 for ids in ids_of(data))
    assert len(data.in_order().rows_read) in (data.count, data.count - 1)
    assert data.broken[0].startswith("data-0002.tar: it ends at byte")


def test_what_is_damaged_within(tmp_path):
    content = bytearray(WHOLE)
    place = WHOLE.index(b"0003.png")
    content[place] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.tar: what stands at byte {place:,} is no header of a tar"):
        shards(tmp_path / "a.tar")
    with pytest.warns(UserWarning, match="is no header"):
        assert shards(tmp_path / "a.tar", skip_broken=True).count == 3


@pytest.mark.parametrize("content", [b"PK\x03\x04" * 300, bytes(range(256)) * 8, b"\x1f\x8b" + b"\1" * 2000])
def test_files_that_are_no_tars(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match="a.tar: what stands at byte 0 is no header of a tar"):
        shards(tmp_path / "a.tar")


@pytest.mark.parametrize("pack, ending", [(gzip, "gz"), (bz2, "bz2"), (lzma, "xz")])
def test_compressed_shards(tmp_path, pack, ending):
    for name in ("a.tar", f"b.tar.{ending}"):  # whatever they are called
        (tmp_path / name).write_bytes(pack.compress(WHOLE))
        with pytest.raises(ValueError, match="it is compressed, and a sample within .*; unpack it to .tar"):
            shards(tmp_path / name)
    with pytest.raises(ValueError, match=f"b.tar.{ending} is compressed, and .*; unpack it to .tar"):
        shards(tmp_path)  # beside others it is not passed over


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "lost.tar").symlink_to(tmp_path / "nowhere")
    for name, sentence in {
        "pipe": "is a pipe, but a file",
        "folder": "holds no file",
        "lost": "there is no shard",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            shards(tmp_path / f"{name}.tar")
    write_shards(tmp_path, [4])
    with pytest.warns(UserWarning, match="2 of the 3 shards are not whole: .*pipe.tar is a pipe"):
        data = shards([tmp_path / "pipe.tar", tmp_path / "data-0000.tar", tmp_path / "lost.tar"], skip_broken=True)
    assert data.count == 4


def test_empty_shards(tmp_path):
    pattern = write_shards(tmp_path, [0, 3, 0, 2, 0])
    data = shards(pattern, 5, ids=True)
    assert sorted(data[0]["ids"]) == list(range(5))
    (tmp_path / "only.tar").write_bytes(tar_of([]))
    with pytest.raises(ValueError, match="the source holds no pair that can be used"):
        shards(tmp_path / "only.tar")
    with pytest.raises(ValueError, match="a batch_size of 6 is more than the 5 pairs of the source"):
        shards(pattern, 6)


def test_records_of_names_are_bounded(tmp_path):
    info = tarfile.TarInfo("x.png")
    info.pax_headers = {"comment": "x" * (limits.RECORD + 1)}
    (tmp_path / "a.tar").write_bytes(tar_of([(info, png(0)), ("x.txt", b"a")], tarfile.PAX_FORMAT))
    with pytest.raises(ValueError, match="the record of a name at byte 0 has .* bytes, which no name needs"):
        shards(tmp_path / "a.tar")


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MEMBERS", 5)
    with pytest.raises(ValueError, match="it has more than 5 members"):
        shards(write_shards(tmp_path, [3]))


@pytest.mark.parametrize("workers", [1, 3])
def test_training_keeps_full_batches_and_says_what_was_left_out_at_the_end(tmp_path, workers):
    bad = {2, 7, 11}
    for shard in range(3):
        members = [each for number in range(8 * shard, 8 * shard + 8) for each in sample(number)]
        members = [(name, b"no" if name.endswith("png") and int(name[:4]) in bad else data) for name, data in members]
        (tmp_path / f"{shard}.tar").write_bytes(tar_of(members))
    data = shards(tmp_path, 6, skip_broken=True, ids=True, workers=workers)
    for data.epoch in range(3):
        for ids in ids_of(data, data.epoch):
            assert len(set(ids.tolist())) == 6 and not bad & set(ids.tolist())
    assert sorted(each[:11] for each in data.broken) == ["0.tar: 0002", "0.tar: 0007", "1.tar: 0011"]
    with pytest.warns(UserWarning, match="^3 samples cannot be used and were left out: [01].tar: 00.*0011") as said:
        data.on_epoch_end()
    assert len(said) == 1
    data.on_epoch_end()  # says nothing twice
    again = shards(tmp_path, 6, skip_broken=True, ids=True)
    assert [*map(list, ids_of(again, 2))] == [*map(list, ids_of(data, 2))]


def test_a_set_of_nothing_but_broken_samples_ends(tmp_path):
    (tmp_path / "a.tar").write_bytes(
        tar_of([each for n in range(200) for each in [(f"{n}.png", b"no"), (f"{n}.txt", b"a")]])
    )
    with pytest.raises(ValueError, match="0 of the 50 pairs of a batch can be read"):
        shards(tmp_path / "a.tar", 50, skip_broken=True)[0]


def test_an_index_that_is_not_of_its_shards(tmp_path):
    pattern = write_shards(tmp_path, [4, 4])
    index = kzoo.data.write_index(pattern)
    content = json.loads(index.read_text())
    content["shards"][1] |= {"samples": 9}
    index.write_text(json.dumps(content))
    data = shards(pattern, 2, shuffle=False)
    assert data.count == 13
    with pytest.raises(ValueError, match="data-0001.tar: it has 4 samples, but 9 are recorded in its index"):
        data[4]
    with pytest.warns(UserWarning, match="9 are recorded"):
        found = shards(pattern, 4, skip_broken=True, ids=True)
        assert all(len(ids) == 4 for ids in ids_of(found))
        found.on_epoch_end()
    assert len(found.broken) == 1  # of a shard one sentence
    (tmp_path / "data-0001.tar").write_bytes(WHOLE + WHOLE)
    with pytest.raises(ValueError, match=r"data-0001.tar: it has .* bytes, but the index beside it records"):
        shards(pattern)


BAD_INDEX = [
    b"[]",
    b"{",
    b'{"kzoo": "shards"}',
    b'{"kzoo": "shards", "shards": [{"name": "../data-0000.tar", "samples": 4}]}',
    b'{"kzoo": "shards", "shards": [{"name": "data-0000.tar", "samples": -4}]}',
    b'{"kzoo": "shards", "shards": [{"name": "data-0000.tar", "samples": 1e30}]}',
    b'{"kzoo": "shards", "shards": [{"name": "data-0000.tar", "samples": 4, "sha256": "no"}]}',
    b'{"data-0000.tar": "4"}',
]


@pytest.mark.parametrize("content", BAD_INDEX)
def test_an_index_that_is_none(tmp_path, content):
    pattern = write_shards(tmp_path, [4])
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(ValueError, match="bad.json"):
        shards(pattern, index=tmp_path / "bad.json")


def test_every_change_of_a_byte_ends_in_a_sentence_or_in_samples(tmp_path):
    random, good = np.random.default_rng(0), tar_of([each for number in range(3) for each in sample(number)])
    for place in random.integers(len(good) - 1024, size=150):
        content = bytearray(good)
        content[place] = random.integers(256)
        (tmp_path / "a.tar").write_bytes(content)
        try:
            data = shards(tmp_path / "a.tar", shuffle=False)
            for index in range(len(data)):
                assert data[index]["images"].shape[1:] == (16, 16, 3)
        except ValueError as error:
            assert "a.tar" in str(error) and str(error).isprintable()
