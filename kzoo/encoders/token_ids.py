"""What every text tower does with token ids: declare them, check them, sample them."""

import numpy as np
from keras import ops

from kzoo.encoders.tower import Input, Tower
from kzoo.types import Tensor


class TextTower(Tower):
    """Base of the towers of token ids.

    A subclass sets `vocab_size`, `context_length`, `pad_id`, `eot_id` where the end of text is pooled, and
    `reads_padding_mask`.
    """

    modality = "text"
    reads_padding_mask = False  # whether `padding_mask` changes anything

    @property
    def inputs(self) -> tuple:
        given = (Input("token_ids", (None,), "int32"),)
        return given + ((Input("padding_mask", (None,), "bool", optional=True),) if self.reads_padding_mask else ())

    def check(self, arrays, called=None, any_size=False) -> None:
        super().check(arrays, called, any_size)
        ids, mask = arrays["token_ids"], arrays.get("padding_mask")
        if self.reads_padding_mask and mask is not None and mask.shape[1] not in (None, ids.shape[1]):
            names = [(called or {}).get(each.name, each.name) for each in self.inputs]
            raise ValueError(
                f"{names[1]} have shape {tuple(mask.shape)}, but {names[0]} have shape {tuple(ids.shape)}; give a mask "
                "with an entry for each id."
            )

    def fits(self, given, shape, any_size=False) -> bool:
        return shape[0] is not None and shape[0] <= self.context_length

    def wants(self, given) -> str:
        if given.name != "token_ids":
            return "this model takes (batch, length) there, True where an id is real"
        return wanted_ids(self.context_length)

    def check_values(self, arrays, called) -> None:
        if isinstance(arrays["token_ids"], np.ndarray):
            check_ids(arrays["token_ids"], self, called.get("token_ids", "token_ids"))

    def samples(self, rows, seed=0) -> dict:
        ids, mask = sample_token_ids(self, rows, seed)
        return {"token_ids": ids} | ({"padding_mask": mask} if self.reads_padding_mask else {})


def check_token_ids(shape, context_length) -> int | None:
    """The length of `(batch, length)` ids; stops with a sentence when they do not fit the tower."""
    if len(shape) != 2 or shape[1] is None or shape[1] > context_length:
        raise ValueError(f"token_ids have shape {tuple(shape)}, but {wanted_ids(context_length)}.")
    return shape[1]


def wanted_ids(context_length) -> str:
    """What token ids should be, as the end of a sentence."""
    return (
        f"this model takes (batch, length) with at most {context_length} ids a row; tokenise with model.preprocessor, "
        "which keeps the end of text"
    )


def check_ids(token_ids, tower, name="token_ids") -> None:
    """Ids `(..., length)` lie inside the vocabulary, and every row has the end of text that is pooled."""
    if token_ids.dtype.kind not in "iu":
        raise ValueError(f"{name} are {token_ids.dtype}, but integers are expected.")
    low, high = int(token_ids.min(initial=0)), int(token_ids.max(initial=0))
    if low < 0 or high >= tower.vocab_size:
        raise ValueError(
            f"{name} range from {low} to {high}, but this model's vocabulary has the ids 0 to "
            f"{tower.vocab_size - 1}; tokenise with model.preprocessor."
        )
    if tower.eot_id is not None:
        lacking = np.argwhere(~np.any(token_ids == tower.eot_id, axis=-1))
        if lacking.size:
            raise ValueError(
                f"row {lacking[0][0]} of {name} has no end-of-text id {tower.eot_id}, which this model pools; "
                "tokenise with model.preprocessor, which keeps it."
            )


def sample_token_ids(tower, rows, seed=0) -> tuple:
    """Rows of ids of different lengths, closed by the end of text and padded as a tokenizer does, and their mask.

    The second row fills the context: there some masks differ that are alike elsewhere.

    Args:
        tower: a `TextTower`.
        rows: how many.
        seed: of the random numbers.

    Returns:
        `(token_ids, padding_mask)`: int32 and bool arrays `(rows, context_length)`.
    """
    random = np.random.default_rng(seed)
    length = tower.context_length
    lengths = random.integers(min(3, length), max(length, min(3, length) + 1), rows)  # of the real ids
    lengths[1:2] = length
    mask = np.arange(length) < lengths[:, None]
    words = np.setdiff1d(
        np.arange(tower.vocab_size), [each for each in (tower.pad_id, tower.eot_id) if each is not None]
    )
    ids = np.where(mask, random.choice(words, (rows, length)), tower.pad_id)
    if tower.eot_id is not None:
        ids[np.arange(rows), lengths - 1] = tower.eot_id
    return ids.astype("int32"), mask


def counted_positions(token_ids, pad_id) -> Tensor:
    """Positions `(batch, length)` that count the real ids from `pad_id + 1`, as fairseq does; padding has `pad_id`."""
    real = ops.cast(ops.not_equal(token_ids, pad_id), "int32")
    return ops.cumsum(real, axis=1) * real + pad_id
