"""The dual encoder within a prompted classifier: a copy whose weights stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from kzoo.encoders.as_tower import as_tower
from kzoo.layers.copies import copy_of
from kzoo.models.dual_encoder import DualEncoder

WANTED = "give a model with a tower of pictures and one of texts, such as a DualEncoder."
_opening = ContextVar("opening", default=False)


def frozen_copy(model, from_embeddings=True) -> DualEncoder:
    """Both towers and the similarity of a model, copied with the weights that they have now, and locked.

    Args:
        model: of kzoo, with a tower of pictures, one of texts, a similarity head and a vocabulary. It stays what it is;
            what it has beside these, such as a decoder, is not copied.
        from_embeddings: whether the text tower is to run from embeddings.

    Raises:
        TypeError: no model of kzoo.
        ValueError: a model that lacks one of these, or a text tower that does not run from embeddings.
    """
    if not hasattr(model, "modalities"):
        raise TypeError(f"model is of type {type(model).__name__}; {WANTED}")
    towers = model.modalities()
    missing = [each for each in ("image", "text") if each not in towers]
    if missing or model.similarity is None:
        what = f"{missing[0]} tower" if missing else "similarity head"
        raise ValueError(f"{model.name} has no {what}; {WANTED}")
    if from_embeddings:
        needs(towers["text"], "embeddings")
    if model.preprocessor is None:
        raise ValueError(f"{model.name} has no preprocessor, and class names are read by its tokenizer; set one first.")
    model.preprocessor.check_vocabulary()
    parts = [copy_of(each) for each in (as_tower(towers["image"]), towers["text"], model.similarity)]
    copy = DualEncoder(*parts, model.preprocessor, name=f"{model.name}_encoder", dtype=model.dtype_policy)
    copy.trainable = False
    copy.source = model.source
    return copy


@contextmanager
def opening() -> Iterator:
    """Inside, models are made of a config: the encoder in it is theirs already, and its weights come later."""
    token = _opening.set(True)
    try:
        yield
    finally:
        _opening.reset(token)


def is_opening() -> bool:
    """Whether a model is being made of a config, in this thread."""
    return _opening.get()


def needs(tower, option) -> None:
    """Stops where a tower cannot be run as prompts need it."""
    if option in tower.options:
        return
    how = "from embeddings" if option == "embeddings" else "with prompts before its blocks"
    raise ValueError(
        f"{type(tower).__name__} cannot be run {how}, so it has no place for prompts; take a model with a transformer "
        f"of kzoo as its {tower.modality} tower."
    )
