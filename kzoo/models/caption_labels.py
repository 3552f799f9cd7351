"""What a captioner is to predict: the ids of a caption, shifted."""

from keras import ops

from kzoo.types import Tensor


def with_start(token_ids, start_id) -> Tensor:
    """The ids as a decoder sees them: behind its start id, if it has one."""
    if start_id is None:
        return token_ids
    return ops.pad(ops.cast(token_ids, "int32"), ((0, 0), (1, 0)), constant_values=start_id)


def caption_targets(token_ids, pad_id, padding_mask=None, start_id=None) -> dict:
    """The label shift: position t of the decoder, which has read the tokens 0..t, predicts token t + 1.

    Where the decoder puts a start id before them, it is token 0, and every id of the text is predicted.

    Args:
        token_ids: int tensor `(batch, length)`.
        pad_id: id of padding, whose prediction does not count; used only where there is no mask: in CLIP's
            vocabulary the id that pads is "!" as well.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None.
        start_id: id that the decoder puts before the text, or None.

    Returns:
        dict: `caption_labels` int `(batch, length - 1)` and `caption_mask` bool `(batch, length - 1)`; with a start
        id `(batch, length)`.

    Example:
        >>> caption_targets(np.array([[1, 7, 2, 0]]), pad_id=0)
        {'caption_labels': [[7, 2, 0]], 'caption_mask': [[True, True, False]]}
    """
    first = 1 if start_id is None else 0
    labels = ops.convert_to_tensor(token_ids)[:, first:]
    mask = ops.not_equal(labels, pad_id) if padding_mask is None else ops.cast(padding_mask, "bool")[:, first:]
    return {"caption_labels": labels, "caption_mask": mask}
