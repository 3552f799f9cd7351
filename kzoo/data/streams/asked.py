"""What is read of each sample of a shard or a stream."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kzoo.arguments import shown
from kzoo.data.classes import classes_by_column
from kzoo.data.columns import NUMBERS, cell, kind_of
from kzoo.types import Array


@dataclass(frozen=True)
class Asked:
    """The names under which a sample holds what is read of it.

    Attributes:
        image_key: of the picture, None for any.
        caption_key: of the captions, None for what is usual.
        columns: further numbers that travel into the batch.
        classes: dict by column of dicts of a name and its id.
    """

    image_key: str | None = None
    caption_key: str | None = None
    columns: tuple = ()
    classes: dict = field(default_factory=dict)

    def number(self, name, value, place) -> Array:
        """What a sample holds under the name of a column.

        Raises:
            ValueError: neither a number nor one of the classes.
        """
        found, problem = cell(name, value, Path(), self.classes.get(name))
        if problem:
            raise ValueError(f"{place}: {problem}.")
        return np.asarray(found)


def asked_for(image_key, caption_key, columns, classes) -> Asked:
    """`Asked`, of the arguments of `kzoo.data.shards`.

    Raises:
        ValueError: columns of texts or pictures, whose bags have no length that is known before all is read.
    """
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    others = next((name for name in columns if kind_of(name) != NUMBERS), None)
    if others is not None:
        raise ValueError(
            f"columns name {shown(others)}, but a column of shards is of numbers or of classes; take kzoo.data.pairs, "
            "which reads all texts before."
        )
    known = classes_by_column({name: () for name in columns}, classes)
    return Asked(image_key and image_key.lower().lstrip("."), caption_key, columns, known)
