"""Parquet files with pictures as bytes, and other libraries' data sets as pairs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_case import PAIRS, ids_of, png, texts_of
from shared_case import tiny_model

import kzoo
from kzoo.files import limits

STEPS = tiny_model().preprocessor


def write(path, numbers, group=4, captions=None, name="image", **columns):
    numbers = list(numbers)
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    texts = [PAIRS["captions"][number] for number in numbers] if captions is None else captions
    pq.write_table(pa.table({name: images, "caption": texts, **columns}), path, row_group_size=group)
    return path


def test_rows_of_parquet_files(tmp_path):
    write(tmp_path / "a.parquet", range(10))
    write(tmp_path / "b.parquet", range(10, 24), group=5)
    data = kzoo.data.shards(tmp_path, STEPS, 7, shuffle=False)
    assert sum((texts_of(STEPS, batch) for batch in data), []) == PAIRS["captions"]
    assert np.array_equal(data[0]["images"], STEPS.encode_images(PAIRS["images"][:7])["images"])
    shuffled = kzoo.data.shards(f"{tmp_path}/{{a,b}}.parquet", STEPS, 6, ids=True, shuffle_buffer=8)
    assert sorted(np.concatenate(ids_of(shuffled, 1))) == list(range(24))
    assert shuffled.rows.groups <= 5


def test_columns_are_named(tmp_path):
    path = write(tmp_path / "a.parquet", range(4), name="photo", labels=[3, 1, 2, 0], alt=[["a", "b"]] * 4)
    with pytest.raises(ValueError, match=r"a.parquet: it has no column image or .*, only photo, caption, labels, alt"):
        kzoo.data.shards(path, STEPS)
    data = kzoo.data.shards(
        path, STEPS, 2, image_key="photo", caption_key="alt", columns="labels", every_caption=True, shuffle=False
    )
    assert data.count == 8 and data[1]["labels"].tolist() == [1, 1] and texts_of(STEPS, data[0]) == ["a", "b"]
    with pytest.raises(ValueError, match="a.parquet: it has no column lost"):
        kzoo.data.shards(path, STEPS, image_key="photo", columns="lost")


def test_what_is_broken(tmp_path):
    captions = ["a", None, "", "d", "e", "f"]
    path = write(tmp_path / "a.parquet", range(6), captions=captions)
    data = kzoo.data.shards(path, STEPS, 2, skip_broken=True)
    with pytest.warns(
        UserWarning, match="2 samples cannot be used and were left out: a.parquet: row 1: the caption is"
    ):
        assert data.in_order().rows_read.tolist() == [0, 3, 4, 5]
    pq.write_table(pa.table({"image": [None, b"no", png(0)], "text": ["a", "b", "c"]}), path)
    rows = kzoo.data.shards(path, STEPS, 2, skip_broken=True)
    with pytest.warns(UserWarning, match="row 0: its image holds no bytes of a picture"):
        assert rows.in_order().rows_read.tolist() == [2]
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "/etc/passwd"}] * 2, "text": ["a", "b"]}), path)
    with pytest.raises(
        ValueError, match="row .: its image holds no bytes of a picture; names of files are not followed"
    ):
        kzoo.data.shards(path, STEPS, 2)[0]
    good = write(tmp_path / "a.parquet", range(6)).read_bytes()
    for content in (b"", b"PAR1", good[:-20], good[: len(good) // 2], b"x" * 3000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.parquet: it cannot be read as parquet"):
            kzoo.data.shards(path, STEPS)
    path.write_bytes(good[:4] + bytes(400) + good[404:])
    with pytest.raises(ValueError, match="a.parquet: "):
        [batch for batch in kzoo.data.shards(path, STEPS, 2)]


def test_a_group_in_many_pieces(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", range(24), group=12)
    whole = [texts_of(STEPS, batch) for batch in kzoo.data.shards(path, STEPS, 6, shuffle=False)]
    monkeypatch.setattr(limits, "GROUP", 2**16)  # of which a few rows are a quarter
    pieces = kzoo.data.shards(path, STEPS, 6, shuffle=False)
    assert [texts_of(STEPS, batch) for batch in pieces] == whole


def test_texts_that_are_none(tmp_path):
    path = tmp_path / "a.parquet"
    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"b"]).buffers())
    pq.write_table(pa.table({"image": [png(0), png(1)], "caption": texts}), path)
    with pytest.raises(ValueError, match="a.parquet: row 0: its caption cannot be read: 'utf-8' codec"):
        kzoo.data.shards(path, STEPS, 2)[0]


def stream(count=24, bad=(), **options):
    datasets = pytest.importorskip("datasets")

    def rows():
        for number in range(count):
            yield {
                "image": {"bytes": b"no" if number in bad else png(number), "path": None},
                "text": PAIRS["captions"][number],
            }

    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    return datasets.IterableDataset.from_generator(rows, features=features)


def test_a_stream_of_hugging_face():
    data = kzoo.data.shards(stream(), STEPS, 6, ids=True, shuffle_buffer=10)
    assert type(data).__name__ == "StreamDataset" and len(data) == 4
    first, again, second = ([texts_of(STEPS, data.at(epoch, index)) for index in range(4)] for epoch in (0, 0, 1))
    assert first == again != second and sorted(sum(second, [])) == sorted(PAIRS["captions"])
    assert texts_of(STEPS, data.at(0, 3)) == first[3]  # a run that goes on there
    assert [texts_of(STEPS, batch) for batch in data] == first
    parts = [data.of_part(index, 2) for index in range(2)]
    assert sum((texts_of(STEPS, part.at(1, 2)) for part in parts), []) == second[2]
    assert sum((texts_of(STEPS, batch) for batch in data.in_order()), []) == PAIRS["captions"]
    with pytest.raises(ValueError, match="the stream ends after 24 samples, but 30 were said"):
        list(kzoo.data.shards(stream(), STEPS, 6, count=30))
    with pytest.raises(TypeError, match="take kzoo.data.shards"):
        kzoo.data.pairs(stream(), STEPS)


@pytest.mark.filterwarnings("ignore:.*samples cannot be used")
def test_a_stream_with_a_broken_picture():
    with pytest.raises(ValueError, match="sample .* of epoch 0: 2 bytes cannot be read as an image"):
        list(kzoo.data.shards(stream(bad={3}), STEPS, 6))
    data = kzoo.data.shards(stream(bad={3}), STEPS, 6, skip_broken=True)
    for data.epoch in range(2):
        assert all(len(batch["images"]) == 6 for batch in data)
    assert len(data.in_order().rows_read) == 23
