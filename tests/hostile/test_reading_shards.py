"""Shards of a stranger: what a few bytes of them may take."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import grown
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
