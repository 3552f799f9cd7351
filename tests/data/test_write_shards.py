"""Shards that kzoo writes: bytes of pictures as they are, several captions, an index, all of it or nothing."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from shard_case import PAIRS, png, sample, tar_of, texts_of, write_shards
from shared_case import tiny_model

import kzoo
from kzoo.files import disk

STEPS = tiny_model().preprocessor


def photos(folder, count=7):
    """A table of pictures of three formats, of which the first has two captions."""
    lines = ["image,caption,species,height", "0.png,another,cat,0.5"]
    for number in range(count):
        ending = ("png", "JPEG", "webp")[number % 3]
        Image.fromarray(PAIRS["images"][number]).save(folder / f"{number}.{ending}")
        lines.append(f"{number}.{ending},{PAIRS['captions'][number]},{'cat' if number % 2 == 0 else 'dog'},0.5")
    (folder / "photos.csv").write_text("\n".join(lines))
    return folder / "photos.csv"


def test_what_is_written_is_what_was_there(tmp_path):
    table = photos(tmp_path)
    shards = kzoo.data.write_shards(table, tmp_path / "out", 3, shuffle=False, columns=("species", "height"))
    assert [path.name for path in shards] == [f"data-0000{number}.tar" for number in range(3)]
    members = {}
    for path in shards:
        with tarfile.open(path) as tar:
            members |= {info.name: tar.extractfile(info).read() for info in tar}
    assert [*members][:5] == ["000000000.png", "000000000.txt", "000000000.json", "000000001.jpg", "000000001.txt"]
    assert members["000000001.jpg"] == (tmp_path / "1.JPEG").read_bytes()
    first = json.loads(members["000000000.json"])
    assert first == {"captions": ["another", PAIRS["captions"][0]], "species": "cat", "height": 0.5}
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [each["samples"] for each in index["shards"]] == [3, 3, 1]
    for each in index["shards"]:
        content = (tmp_path / "out" / each["name"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    options = {"shuffle": False, "columns": ("species", "height"), "every_caption": True}
    data = kzoo.data.shards(tmp_path / "out", STEPS, 4, classes={"species": ["cat", "dog"]}, **options)
    pairs = kzoo.data.pairs(table, STEPS, 4, **options)
    for ours, theirs in zip(data, pairs, strict=True):
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_the_order_is_mixed_by_a_seed_and_the_bytes_are_equal_again(tmp_path):
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        kzoo.data.write_shards(PAIRS, tmp_path / name, 10, seed=seed)
    a, b, c = ((tmp_path / name / "data-00000.tar").read_bytes() for name in "abc")
    assert a == b != c
    data = kzoo.data.shards(tmp_path / "a", STEPS, 6, shuffle=False)
    texts = sum((texts_of(STEPS, batch) for batch in data), [])
    assert sorted(texts) == sorted(PAIRS["captions"]) and texts != PAIRS["captions"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data.rows[0].image))).shape, (24, 24, 3))


def test_a_folder_of_shards_is_replaced_when_that_is_said_and_whole(tmp_path):
    kzoo.data.write_shards(PAIRS, tmp_path / "out", 5)
    (tmp_path / "out" / "mine.tar").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="holds shards; choose another folder, or replace them"):
        kzoo.data.write_shards(PAIRS, tmp_path / "out", 20)
    kzoo.data.write_shards(PAIRS, tmp_path / "out", 20, overwrite=True)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["data-00000.tar", "data-00001.tar", "index.json", "mine.tar"]


def test_nothing_is_left_of_what_was_broken_off(tmp_path, monkeypatch):
    write, count = disk.write, [0]

    def failing(path, content):
        count[0] += path.name.startswith("data-")
        if count[0] == 3:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(disk, "write", failing)
    with pytest.raises(OSError, match="out cannot be written: the disk is full"):
        kzoo.data.write_shards(PAIRS, tmp_path / "out", 5)
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_written(tmp_path):
    table = photos(tmp_path)
    (tmp_path / "1.JPEG").write_bytes(b"no picture")
    (tmp_path / "2.webp").unlink()
    with pytest.raises(ValueError, match="1 rows of the source cannot be used: photos.csv row 4: there is no image"):
        kzoo.data.write_shards(table, tmp_path / "out")
    with pytest.warns(
        UserWarning, match="2 rows of the source cannot be used: .*row 4.*row 3: 10 bytes cannot be read"
    ):
        kzoo.data.write_shards(table, tmp_path / "out", skip_broken=True)
    assert kzoo.data.shards(tmp_path / "out", STEPS, 2).count == 5
    table.write_text("image,caption,height\n0.png,a,1\n0.png,b,2")
    with pytest.raises(ValueError, match="the height differs between captions of one picture"):
        kzoo.data.write_shards(table, tmp_path / "two", columns="height")
    assert not (tmp_path / "two").exists()


def test_pictures_of_a_data_set_of_hugging_face_keep_their_bytes(tmp_path):
    datasets = pytest.importorskip("datasets")
    jpeg = io.BytesIO()
    Image.fromarray(PAIRS["images"][0]).save(jpeg, "JPEG")
    rows = {"image": [{"bytes": jpeg.getvalue(), "path": None}, {"bytes": png(1), "path": None}], "text": ["a", "b"]}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    source = datasets.Dataset.from_dict(rows, features=features)
    kzoo.data.write_shards(source, tmp_path / "out", shuffle=False)
    found = kzoo.data.shards(tmp_path / "out", STEPS, 2).rows
    assert found[0].image == jpeg.getvalue() and found[1].image == png(1) and found[1].captions == ["b"]
    assert kzoo.data.pairs(source, STEPS, 2, shuffle=False)[0]["images"].shape == (2, 16, 16, 3)


def test_the_index_of_shards_that_are_there(tmp_path):
    pattern = write_shards(tmp_path, [4, 5])
    assert kzoo.data.write_index(pattern) == tmp_path / "index.json"
    rows = kzoo.data.shards(pattern, STEPS, 2).rows
    assert [each.samples for each in rows.known] == [4, 5]
    (tmp_path / "data-0000.tar").write_bytes(tar_of(sample(0))[:1300])
    with pytest.raises(ValueError, match="1 shards are not whole: data-0000.tar: it ends at byte 1,300"):
        kzoo.data.write_index(pattern)
    with pytest.warns(UserWarning, match="not whole"):
        kzoo.data.write_index(pattern, skip_broken=True)
    (tmp_path / "other").mkdir()
    write_shards(tmp_path / "other", [2])
    both = [pattern, tmp_path / "other"]
    with pytest.raises(ValueError, match="do not lie in one folder of this machine; say where their index goes"):
        kzoo.data.write_index(both)
    with pytest.raises(ValueError, match="two shards have one name"):
        kzoo.data.write_index(both, output=tmp_path / "all.json")


def test_sizes_as_others_write_them(tmp_path):
    pattern = write_shards(tmp_path, [4, 5])
    (tmp_path / "sizes.json").write_text('{"data-0000.tar": 4, "data-0001.tar": 5}')
    rows = kzoo.data.shards(pattern, STEPS, 2).rows
    assert [each.samples for each in rows.known] == [4, 5] and not rows._open
    (tmp_path / "index.json").write_text('{"files": []}')  # of something else
    assert kzoo.data.shards(pattern, STEPS, 2).count == 9
