"""Which arrays of a batch go through which tower, and under what name the results come back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.encoders.tower import FIRST

TEACHER = "teacher"  # a prefix that is a teacher's: `teacher_images` are pictures for it alone


@dataclass(frozen=True)
class Slot:
    """One set of arrays for one tower.

    Args:
        name: what results are called by: `"image"` gives `image_embeddings`.
        modality: whose tower reads it.
        arrays: name of an input of the tower -> name in the batch.
        any_size: whether pictures of another size than the tower's are taken.
    """

    name: str
    modality: str
    arrays: dict
    any_size: bool = False

    @property
    def first(self) -> str:
        """Name in the batch of the array that decides whether the slot is there."""
        return next(iter(self.arrays.values()))

    def given(self, batch) -> dict:
        """Name of an input -> array, of those that the batch has."""
        return {name: batch[entry] for name, entry in self.arrays.items() if entry in batch}


def names_of(tower, modality) -> dict:
    """Name of each input of a tower -> what a batch calls it, where the tower stands for `modality`.

    The first is called by the modality (`"audio"`; of pictures `"images"`, of texts `"token_ids"`), the others by a
    name behind it (`"audio_mask"`), unless the modality is the tower's own: then they have the names that it declares.

    Example:
        >>> names_of(text_tower, "title")
        {'token_ids': 'title', 'padding_mask': 'title_padding_mask'}
    """
    own = [each.name for each in tower.inputs]
    if modality == tower.modality:
        return dict(zip(own, own))
    first = FIRST.get(modality, modality)
    return dict(zip(own, (first, *(f"{first}_{name}" for name in own[1:]))))


def find_slots(towers, batch) -> list:
    """The slots of a batch: one for each modality that is there, and one for each further set of its arrays.

    What stands before the name of a modality's first array makes a slot of its own: `negative_token_ids` are read by
    the text tower and come back as `negative_text_embeddings`.

    Args:
        towers: modality -> tower.
        batch: dict of arrays.

    Returns:
        list of `Slot`, the modalities first, in the order of `towers`.
    """
    found, more = [], []
    for modality, tower in towers.items():
        names = names_of(tower, modality)
        first = next(iter(names.values()))
        if first in batch:
            found.append(Slot(modality, modality, names))
        for entry in batch:
            prefix = entry.removesuffix(f"_{first}")
            if prefix not in (entry, TEACHER) and entry not in names.values():
                arrays = {name: f"{prefix}_{known}" for name, known in names.items()}
                more.append(Slot(f"{prefix}_{modality}", modality, arrays, any_size="any_size" in tower.options))
    return [*found, *more]


def bag_of(slot, tower, batch) -> int | None:
    """Rows of a bag: `n` where the arrays of a slot are `(batch, n, ...)`, None where they are `(batch, ...)`.

    A bag has one axis more than the tower declares, and behind it what the tower declares.
    """
    shape = tuple(batch[slot.first].shape)
    is_bag = len(shape) == len(tower.inputs[0].shape) + 2 and tower.fits(tower.inputs[0], shape[2:], slot.any_size)
    return shape[1] if is_bag else None


class Rows:
    """A tensor that stands for the rows of a bag in a check: its shape is what counts."""

    def __init__(self, shape):
        self.shape = shape


def rows_of_bag(array) -> Any:
    """`(batch, n, ...)` as `(batch * n, ...)`: numpy arrays with their values, of tensors the shape."""
    if isinstance(array, np.ndarray):
        return array.reshape(-1, *array.shape[2:])
    return Rows((None, *array.shape[2:]))
