"""Bad input, found before it reaches a graph: each check stops with one sentence."""

import numpy as np

from kzoo.encoders.text_transformer import check_token_ids
from kzoo.encoders.vit import check_images

MODALITIES = ("images", "token_ids")


def check_batch(batch, image_encoder, text_encoder):
    """A batch is a dict with `images` or `token_ids`, not empty, with rows that match and ids that exist.

    Shapes are checked for every kind of tensor; values only where they are numpy arrays, which is how
    batches arrive from users. Checking tensors would stall an accelerator at every step.
    """
    if not isinstance(batch, dict) or not any(name in batch for name in MODALITIES):
        got = f"a dict with the keys {list(batch)}" if isinstance(batch, dict) else f"of type {type(batch).__name__}"
        raise ValueError(
            f"a batch is {got}, but a dict of arrays is expected: 'images' (batch, height, width, 3), "
            "'token_ids' (batch, length), or both."
        )
    check_rows(batch)
    for name, tower in (("images", image_encoder), ("token_ids", text_encoder)):
        if name in batch:
            check_input(batch[name], tower)
    if "negative_token_ids" in batch and hasattr(text_encoder, "vocab_size"):
        check_negatives(batch["negative_token_ids"], text_encoder)


def contents(batch):
    """What stands where a batch should be, for a sentence: its keys, or its type."""
    return f"the keys {list(batch)}" if isinstance(batch, dict) else f"the type {type(batch).__name__}"


def check_rows(batch):
    """The arrays of a batch have the same number of rows, at least one."""
    rows = {name: value.shape[0] for name, value in batch.items() if getattr(value, "shape", ())}
    if 0 in rows.values():
        raise ValueError(f"the batch is empty: {rows}; give at least one row.")
    if len({count for count in rows.values() if count is not None}) > 1:
        raise ValueError(f"the arrays of a batch have different numbers of rows: {rows}.")


def check_input(array, tower, any_size=False):
    """The first array that a tower reads is of its image size, or holds ids of its vocabulary."""
    if hasattr(tower, "image_size"):
        check_images(array.shape, tower.image_size, any_size)
    if hasattr(tower, "vocab_size"):
        check_token_ids(array.shape, tower.context_length)
        if isinstance(array, np.ndarray):
            check_ids(array, tower)


def check_negatives(token_ids, text_encoder):
    """Hard negatives are texts like others, with an axis for those of one pair."""
    shape, length = tuple(token_ids.shape), text_encoder.context_length
    if len(shape) != 3 or not shape[1] or shape[2] is None or shape[2] > length:
        raise ValueError(
            f"negative_token_ids have shape {shape}, but (batch, N, length) is expected, the N hard negatives of each "
            f"pair with at most {length} ids; tokenise with model.preprocessor(negatives=[[...], ...])."
        )
    if isinstance(token_ids, np.ndarray):
        check_ids(token_ids, text_encoder, "negative_token_ids")


def check_ids(token_ids, text_encoder, name="token_ids"):
    """Ids lie inside the vocabulary, and every row has the end of text that is pooled."""
    if token_ids.dtype.kind not in "iu":
        raise ValueError(f"{name} are {token_ids.dtype}, but integers are expected.")
    vocab_size = text_encoder.vocab_size
    low, high = int(token_ids.min(initial=0)), int(token_ids.max(initial=0))
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"{name} range from {low} to {high}, but this model's vocabulary has the ids 0 to "
            f"{vocab_size - 1}; tokenise with model.preprocessor."
        )
    eot_id = getattr(text_encoder, "eot_id", None)
    if getattr(text_encoder, "pool", None) == "end_of_text":
        lacking = np.argwhere(~np.any(token_ids == eot_id, axis=-1))
        if lacking.size:
            raise ValueError(
                f"row {lacking[0][0]} of {name} has no end-of-text id {eot_id}, which this model pools; "
                "tokenise with model.preprocessor, which keeps it."
            )


def check_training_set(x, batch_size):
    """A contrastive step needs a second pair to tell apart from the first."""
    single = batch_size == 1
    if isinstance(x, dict):
        single = single or any(len(value) == 1 for value in x.values() if hasattr(value, "__len__"))
    if single:
        raise ValueError(
            "a batch of one pair has no negative, so a contrastive loss is 0 and nothing is learned; train "
            "with a batch_size of at least 2."
        )
