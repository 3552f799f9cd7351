"""Data sets of Hugging Face's `datasets`, whose rows are read when they are needed; the library is not imported."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kzoo.data.folders import TEXT
from kzoo.preprocessing.decoding import reason


@dataclass(frozen=True)
class HeldPicture:
    """A picture in a row of a data set, not read yet.

    Attributes:
        rows: the data set.
        number: of the row.
        column: that holds the picture.
    """

    rows: object
    number: int
    column: str

    def read(self) -> Any:
        """What the data set gives for it: a PIL image, an array, a path, or `{"path": ..., "bytes": ...}`.

        Raises:
            ValueError: a picture that cannot be read.
        """
        try:
            return self.rows[self.number][self.column]
        except Exception as error:  # whatever the decoders of that library raise
            raise ValueError(f"the {self.column} cannot be read: {reason(error)}.") from error


class Held:
    """A data set that is read row by row, by the names of its columns.

    Args:
        rows: with `column_names`, `features`, `__len__` and `__getitem__` of a number or the name of a column.
    """

    def __init__(self, rows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def check(self, columns, options) -> None:
        """Stops with a sentence where there is not every column; `options` name them otherwise."""
        lacking = next((name for name in columns if name not in self.rows.column_names), None)
        if lacking is not None:
            raise ValueError(
                f"the data set has no column {lacking!r}, only {', '.join(self.rows.column_names)}; name it with "
                f"{options}."
            )

    def caption_key(self, key) -> str:
        """The column of captions: as asked for, unless only `text` is there."""
        names = self.rows.column_names
        return TEXT if key not in names and TEXT in names else key

    def classes(self, columns) -> dict:
        """Names of those of some columns that are of classes (`ClassLabel`), in the order of their ids, by column."""
        return {column: names for column in columns if (names := self._names(column))}

    def _names(self, column):
        names = getattr((self.rows.features or {}).get(column), "names", None)
        return list(names) if isinstance(names, (list, tuple)) else None

    def labelled(self) -> list[str]:
        """Columns of classes in which any row has one: those of a part without labels are all -1."""
        columns = self.classes(self.rows.column_names)
        return [name for name in columns if any(value is not None for value in self.values(name))]

    def values(self, column) -> list:
        """All values of a column, classes by their names and None for none; pictures are not read with them."""
        values, names = list(self.rows[column]), self._names(column)
        if names is None:
            return values
        return [names[value] if value is not None and value >= 0 else None for value in values]

    def records(self, columns, pictures=()) -> Iterator[dict]:
        """Rows with their places, as `kzoo.data.tables.read_table` gives them; pictures are not read with them."""
        values = [self.pictures(name) if name in pictures else self.values(name) for name in columns]
        for number, each in enumerate(zip(*values)):
            yield f"row {number}", dict(zip(columns, each))

    def pictures(self, column) -> list:
        """A `HeldPicture` for each row."""
        select = getattr(self.rows, "select_columns", None)  # without it a row decodes pictures that nobody asked for
        rows = self.rows if select is None else select([column])
        return [HeldPicture(rows, number, column) for number in range(len(self))]


def held(source) -> "Held | None":
    """A source as a `Held`; None where it is of another kind.

    Raises:
        TypeError: several data sets, or a stream.
    """
    if isinstance(source, dict) and source and all(map(_has_columns, source.values())):
        names = list(source)
        raise TypeError(
            f"the source is of type {type(source).__name__} with the splits {', '.join(map(str, names))}; take one of "
            f"them: source[{names[0]!r}]."
        )
    if not _has_columns(source):
        return None
    if not hasattr(source, "__len__"):
        raise TypeError(
            f"the source is a stream ({type(source).__name__}), which is read from its start, but epochs are read in "
            "an order of their own; take kzoo.data.shards, load it without streaming=True, or keep its rows: "
            "Dataset.from_list(list(source))."
        )
    return Held(source)


def undecoded(source, image_key) -> Any:
    """A data set of Hugging Face whose pictures are bytes, as they were put into it."""
    feature = (getattr(source, "features", None) or {}).get(image_key)
    if not hasattr(source, "cast_column") or not getattr(feature, "decode", False):
        return source
    return source.cast_column(image_key, type(feature)(decode=False))


def _has_columns(source):
    """Whether something declares itself a data set: a table of Arrow has columns too, but no features."""
    return hasattr(source, "column_names") and hasattr(source, "features") and not isinstance(source, dict)
