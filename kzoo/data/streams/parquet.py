"""One parquet file with pictures as bytes, as the Hub keeps data sets: read by groups of rows."""

import itertools
import threading
from bisect import bisect_right
from typing import Any

from kzoo.data.captions import captions_of
from kzoo.data.sources import Row
from kzoo.data.streams.read_once import ReadOnce
from kzoo.extras import require
from kzoo.files import limits
from kzoo.files.words import on_one_line, said_by

IMAGE_KEYS = ("image", "img", "jpg", "jpeg", "png", "webp")  # usual names of columns, the first that is there
CAPTION_KEYS = ("captions", "caption", "text", "txt")
CELL = 16  # bytes that a value takes beside its own, at most
ROWS, PIECES = 1024, 4  # rows of a group that are unpacked at once at most, and into how many pieces one of the largest


class TooMuch(ValueError):
    """A group of rows that would take more memory than one may."""


class ParquetShard:
    """The rows of a parquet file.

    Args:
        file: open, in binary.
        name: what it is called in sentences.
        asked: `Asked`: the names of columns.
        groups: how many groups of rows are held at once.

    Attributes:
        problem: None: a file that is not whole has no footer, and is refused.

    Raises:
        ValueError: it is no parquet file, or lacks a column.
        ImportError: pyarrow is not installed.
    """

    problem = None

    def __init__(self, file, name, asked, groups=2):
        self.name, self.asked = name, asked
        parquet = require("pyarrow.parquet", "shards", "Reading parquet files")
        try:
            self.file = parquet.ParquetFile(file)
            self.columns = self.file.schema_arrow.names
            metadata = self.file.metadata
            self.rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
            sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
        except Exception as error:  # whatever the reader stumbles over in a damaged file
            raise ValueError(f"{name}: it cannot be read as parquet: {said_by(error)}.") from error
        for number, rows in enumerate(self.rows):
            if rows < 0:
                raise ValueError(f"{name}: its group {number} declares {rows:,} rows.")
            self._check_held(number, CELL * rows, "declares")
        self.ends = list(itertools.accumulate(self.rows))
        self.largest_group = max(sizes, default=0)
        self.image_key = self._named(asked.image_key, IMAGE_KEYS, "image_key=")
        self.caption_key = self._named(asked.caption_key, CAPTION_KEYS, "caption_key=")
        for column in asked.columns:
            self._named(column, (), "columns=")
        self._reading, self._groups = threading.Lock(), ReadOnce(self._read_group, groups)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, number) -> str:
        """Where a row stands, for a sentence."""
        return f"{self.name}: row {number}"

    def row(self, number) -> Row:
        """A row, with the bytes of its picture.

        Raises:
            ValueError: no picture, no caption, or what cannot be read.
        """
        captions, more = self.texts(number)
        return Row(self.picture(number), captions, self.place(number), more)

    def texts(self, number) -> tuple:
        """`(captions, more)` of a row.

        Raises:
            ValueError: see `row`.
        """
        captions, problem = captions_of(self._cell(number, self.caption_key), self.caption_key)
        if problem:
            raise ValueError(f"{self.place(number)}: {on_one_line(problem)}.")
        more = {
            name: self.asked.number(name, self._cell(number, name), self.place(number)) for name in self.asked.columns
        }
        return captions, {name: [value] * len(captions) for name, value in more.items()}

    def _named(self, wanted, usual, option):
        if wanted is None:
            found = next((name for name in usual if name in self.columns), None)
        else:
            found = wanted if wanted in self.columns else None
        if found is None:
            known = on_one_line(", ".join(self.columns))[:300] or (
                "a column without a name" if self.columns else "none"
            )
            raise ValueError(
                f"{self.name}: it has no column {wanted or ' or '.join(usual)}, only {known}; name it with {option}."
            )
        if self.columns.count(found) > 1:
            raise ValueError(
                f"{self.name}: it has {self.columns.count(found)} columns called {on_one_line(found)[:100]}, and which "
                "one is meant cannot be told; write the file with one of each name."
            )
        return found

    def picture(self, number) -> bytes:
        """The picture of a row as it is packed; for the errors see `row`."""
        value = self._cell(number, self.image_key)
        value = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(value, bytes) or not value:
            raise ValueError(
                f"{self.place(number)}: its {self.image_key} holds no bytes of a picture; names of files are not "
                "followed from here, take kzoo.data.pairs for a table of paths."
            )
        if len(value) > limits.PICTURE:
            raise ValueError(
                f"{self.place(number)}: its picture has {len(value):,} bytes, more than the {limits.PICTURE:,} that "
                "are read; kzoo.files.limits.PICTURE raises that."
            )
        return value

    def _cell(self, number, column) -> Any:
        group = bisect_right(self.ends, number)
        start = self.ends[group - 1] if group else 0
        cell = self._groups.get(group)[column][number - start]
        try:
            return cell.as_py()
        except Exception as error:  # text that is not UTF-8, times that no calendar has
            raise ValueError(f"{self.place(number)}: its {column} cannot be read: {said_by(error)}.") from error

    def _read_group(self, number):
        """A table of one group, read piece by piece: of a column in which one value stands many times, or which lies
        about itself, a file of a few bytes makes gigabytes."""
        wanted = list(dict.fromkeys([self.image_key, self.caption_key, *self.asked.columns]))
        pieces, held = [], 0
        try:
            with self._reading:
                largest = self._check_declared(number, wanted)
                rows = max(1, min(ROWS, limits.GROUP // PIECES // largest))
                for piece in self.file.iter_batches(rows, row_groups=[number], columns=wanted, use_threads=False):
                    pieces.append(piece)
                    held += piece.nbytes
                    self._check_held(number, held, "unpacks to")
        except TooMuch as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # as above
            raise ValueError(f"{self.name}: its group {number} cannot be read: {said_by(error)}.") from error
        count = sum(len(piece) for piece in pieces)
        if count != self.rows[number]:
            raise ValueError(f"{self.name}: its group {number} has {count:,} rows, but declares {self.rows[number]:,}.")
        return require("pyarrow", "shards", "Reading parquet files").Table.from_batches(pieces)

    def _check_declared(self, number, wanted):
        """Bytes of the largest of some columns, by what the file declares before anything is unpacked."""
        group = self.file.metadata.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        columns = [each for each in columns if each.path_in_schema.partition(".")[0] in wanted]
        sizes = [max(0, each.total_uncompressed_size) + CELL * max(0, each.num_values) for each in columns]
        self._check_held(number, sum(sizes), "declares")
        return max(sizes, default=1) or 1

    def _check_held(self, number, size, does):
        if size > limits.GROUP:
            raise TooMuch(
                f"{self.name}: its group {number} {does} {size:,} bytes, more than the {limits.GROUP:,} that are held "
                "of one; write smaller groups of rows, or raise kzoo.files.limits.GROUP."
            )
