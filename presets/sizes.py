"""A model in another size than its weights were stored in: of pictures, of texts, and its tables of positions."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from kzoo.encoders.tower import table_of
from kzoo.files import limits
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.positions import resize_grid, resize_sequence
from kzoo.presets.build import parts_of


def with_table(model) -> Iterator:
    """`(path of its position table, part)` of every tower and decoder of a model that has one."""
    for name, part in model.towers().items():
        if part.position_path is not None:
            yield f"{name}.{part.position_path}", part


def resampling(stored, model) -> dict:
    """Path of a position table -> function that resamples it from the size that is stored to the model's."""
    tables = {id(table_of(part)) for _, part in with_table(stored)}
    for old, new in zip(stored.weights, model.weights, strict=True):
        if id(old) not in tables and tuple(old.shape) != tuple(new.shape):  # windows of Swin, where a map is too small
            raise ValueError(
                f"in the size that is asked for, {new.path} has shape {tuple(new.shape)}, but {tuple(old.shape)} is "
                "stored, and it is no table of positions that could be resampled; choose another image_size."
            )
    functions = {}
    for (path, old), (_, new) in zip(with_table(stored), with_table(model)):
        if old.position_grid is not None:
            functions[path] = partial(resize_grid, grid=old.position_grid, new_grid=new.position_grid)
        else:
            functions[path] = partial(resize_sequence, length=table_of(new).shape[0], extra=new.position_tail)
    return functions


def sized(row, image_size, context_length) -> dict:
    """The row with another image size and context length, where they are given and differ."""
    _check_limit("image_size", max(np.ravel(image_size or 1)), limits.SIDE, "SIDE")
    _check_limit("context_length", context_length or 1, limits.LENGTH, "LENGTH")
    row = row | {name: dict(part) for name, part in parts_of(row).items()}
    image = row.get("image_encoder", {})
    if image_size is not None:
        if "image_size" not in image:
            raise ValueError(f"{row['preset']} takes pictures of any shape, so image_size={image_size} has no meaning.")
        if as_size(image_size) != as_size(image["image_size"]):
            image["image_size"] = image_size
    if context_length is not None:
        for part in parts_of(row).values():
            if "context_length" in part:
                part["context_length"] = context_length
    return row


def _check_limit(name, value, limit, held_by):
    if value > limit:
        raise ValueError(f"{name} is {value:,}; at most {limit:,} is taken, which kzoo.files.limits.{held_by} raises.")
