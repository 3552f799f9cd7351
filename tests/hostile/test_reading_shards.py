"""Shards of a stranger: what a few bytes of them may take, and columns of every kind."""

import datetime
import decimal
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import grown, refused
from shard_case import png
from shared_case import tiny_model

import kzoo
from kzoo.files import limits

pytestmark = pytest.mark.once
STEPS = tiny_model().preprocessor


def test_a_file_of_a_few_bytes_takes_no_gigabytes(tmp_path, monkeypatch):
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([bytes(2**22)]))
    path, table = tmp_path / "a.parquet", {"image": once, "caption": ["a"] * 2000}  # of 8 GB
    pq.write_table(pa.table(table), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2000
    monkeypatch.setattr(limits, "GROUP", 2**26)
    data = kzoo.data.shards(path, STEPS, 2)
    assert len(data.rows) == 2000
    assert grown(lambda: data[0]) < 2**28
    with pytest.raises(ValueError, match=r"a.parquet: its group 0 unpacks to .* bytes, more than the 67,108,864 that"):
        data[0]
    monkeypatch.setattr(limits, "GROUP", 2**22)
    with pytest.raises(
        ValueError, match=r"a.parquet: its group 0 declares 4,\d\d\d,\d\d\d bytes, more than the .*GROUP"
    ):
        kzoo.data.shards(path, STEPS, 2)[0]
    monkeypatch.setattr(limits, "GROUP", 2**14)
    with pytest.raises(ValueError, match=r"a.parquet: its group 0 declares 32,000 bytes, more than"):
        kzoo.data.shards(path, STEPS, 2)


PICTURES, TEXTS = [png(0), png(1)], ["a", "b"]
NOT_UTF8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"a"]).buffers())
TWICE = {"caption": ["image", "caption", "caption"], "image": ["image", "image", "caption"]}
NO_PICTURE, NO_TEXT = "row 0: its image holds no bytes of a picture", "row 0: the caption"
WRONG = {
    "no bytes": ({"image": [{"bytes": None, "path": "0.png"}] * 2}, NO_PICTURE),
    "only a path": ({"image": [{"path": "0.png"}] * 2}, NO_PICTURE),
    "bytes too deep": ({"image": [{"picture": {"bytes": png(0)}}] * 2}, NO_PICTURE),
    "a list of pictures": ({"image": [[png(0)]] * 2}, NO_PICTURE),
    "null pictures": ({"image": pa.nulls(2, pa.binary())}, NO_PICTURE),
    "a null picture": ({"image": [png(0), None]}, "row 1: its image holds no bytes"),
    "numbers as pictures": ({"image": [1, 2]}, NO_PICTURE),
    "texts as pictures": ({"image": ["a", "b"]}, NO_PICTURE),
    "dates as pictures": ({"image": [datetime.date(1, 1, 1)] * 2}, NO_PICTURE),
    "no picture by its bytes": ({"image": [b"no"] * 2}, "row 0: 2 bytes cannot be read as an image"),
    "decimals": ({"caption": [decimal.Decimal("1.50")] * 2}, f"{NO_TEXT} holds something else than strings, Decimal"),
    "whole numbers": ({"caption": [1, 2]}, f"{NO_TEXT} holds something else than strings, 1"),
    "booleans": ({"caption": [True] * 2}, f"{NO_TEXT} holds something else"),
    "bytes": ({"caption": [b"a"] * 2}, f"{NO_TEXT} holds something else"),
    "times": ({"caption": pa.array([2**62] * 2, pa.timestamp("us"))}, "row 0: its caption cannot be read"),
    "objects": ({"caption": [{"en": "a"}] * 2}, f"{NO_TEXT} is an object with the keys en"),
    "maps": ({"caption": pa.array([[("a", "b")]] * 2, pa.map_(pa.string(), pa.string()))}, f"{NO_TEXT} holds"),
    "lists of lists": ({"caption": [[["a"]]] * 2}, f"{NO_TEXT} holds something else"),
    "empty lists": ({"caption": [[]] * 2}, f"{NO_TEXT} is empty"),
    "null captions": ({"caption": pa.nulls(2)}, f"{NO_TEXT} is empty"),
    "no UTF-8": ({"caption": NOT_UTF8}, "row 0: its caption cannot be read: 'utf-8'"),
    "text as a number": ({"labels": TEXTS}, "row 0: the labels is 'a', which is no number"),
    "lists of two lengths": ({"labels": [[1, 2], [3]]}, "the rows of labels have different lengths"),
    "no number of 64 bits": ({"labels": pa.array([2**64 - 1] * 2, pa.uint64())}, "which is no number of 64 bits"),
    "not a number": ({"labels": [float("nan")] * 2}, "row 0: the labels is empty"),
}


def first_of(path, **options):
    return kzoo.data.shards(path, STEPS, 2, shuffle=False, **options)[0]


@pytest.mark.parametrize("what", WRONG)
def test_a_column_of_another_kind_is_one_sentence(tmp_path, what):
    changed, sentence = WRONG[what]
    pq.write_table(pa.table({"image": PICTURES, "caption": TEXTS} | changed), tmp_path / "a.parquet")
    said = refused(lambda: first_of(tmp_path / "a.parquet", columns=[name for name in changed if name == "labels"]))
    assert sentence in said


@pytest.mark.parametrize("name", TWICE)
def test_columns_of_one_name(tmp_path, name):
    arrays = [pa.array(PICTURES if each == "image" else TEXTS) for each in TWICE[name]]
    pq.write_table(pa.Table.from_arrays(arrays, names=TWICE[name]), tmp_path / "a.parquet")
    assert f"a.parquet: it has 2 columns called {name}, and which" in refused(lambda: first_of(tmp_path / "a.parquet"))


def test_tables_of_any_shape(tmp_path):
    path, whole = tmp_path / "a.parquet", {"image": PICTURES, "caption": TEXTS}
    kinds = {"dictionary": lambda column: pa.array(column).dictionary_encode(), "large": large, "fixed": fixed}
    for kind, made in kinds.items():
        pq.write_table(pa.table({"image": made(PICTURES), "caption": pa.array(TEXTS).dictionary_encode()}), path)
        assert first_of(path)["images"].shape == (2, 16, 16, 3), kind
    many = whole | {str(number): [1, 2] for number in range(10_000)}
    pq.write_table(pa.table(many), path)
    assert first_of(path, columns="9999")["9999"].tolist() == [1, 2]
    pq.write_table(pa.table({name: pa.array(each)[:0] for name, each in whole.items()}), path)
    assert "holds no pair that can be used" in refused(lambda: first_of(path))
    pq.write_table(pa.table({}), path)
    assert "it has no column image or" in refused(lambda: first_of(path)) and "only none" in refused(
        lambda: first_of(path)
    )
    pq.write_table(pa.table(whole), path)
    content = path.read_bytes()
    for size in (0, 1, 4, 12, len(content) // 2, len(content) - 8, len(content) - 1):
        path.write_bytes(content[:size])
        assert "a.parquet: it cannot be read as parquet: " in refused(lambda: first_of(path)), size
    path.unlink()
    os.mkfifo(path)
    assert "is a pipe, but a file is expected" in refused(lambda: first_of(path))


def large(pictures):
    return pa.array(pictures, pa.large_binary())


def fixed(pictures):
    size = max(map(len, pictures))
    return pa.array([each.ljust(size, b"\0") for each in pictures], pa.binary(size))
