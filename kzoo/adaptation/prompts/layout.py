"""Where the vectors of a context stand among the ids of each class: by ids, whatever the tokenizer. In numpy."""

from dataclasses import dataclass

import numpy as np

from kzoo.types import Array

PLACEHOLDER = "x"  # a word that stands before names where no text does, so that they are cut as within a sentence
STOP = "."


@dataclass(frozen=True)
class Layout:
    """The texts of all classes with room for a context.

    Attributes:
        token_ids: int32 `(classes, length)`; where a vector of the context stands, the id of an ordinary token.
        padding_mask: bool `(classes, length)`, True where an id or a vector is.
        places: int32 `(classes, length)`, which vector of the context stands there; -1 where the id does.
        start: ids before each text.
        is_name: bool `(classes, length)`, True where an id of the name is.
    """

    token_ids: Array
    padding_mask: Array
    places: Array
    start: int
    is_name: Array


def laid_out(preprocessor, class_names, n_ctx, class_position="end", init=None) -> Layout:
    """The texts `[start] context name. [end]` of classes, as CoOp has them.

    Args:
        preprocessor: with a vocabulary.
        class_names: list of strings; an underscore is read as a space.
        n_ctx: vectors of the context; with `init` as many as its text has tokens, or fewer: the others stay text.
        class_position: `"end"`: `context name .`; `"middle"`: the first half of the context, rounded down, the name,
            the other half; `"front"`: `name context .`.
        init: the text that the context begins as, whose ids stand in its place.

    Where a tokenizer reads the name and the full stop behind it as one token, that token is part of the name.

    Raises:
        ValueError: a name that leaves no room for the context.
    """
    tokenizer = preprocessor.tokenizer
    names = [name.replace("_", " ").strip() for name in class_names]
    if empty := next((given for given, name in zip(class_names, names) if not name), None):
        raise ValueError(f"the class name {empty!r} has no letter; give each class a name.")
    lead = PLACEHOLDER if init is None else init
    (lead_ids,) = plain_ids(tokenizer, [lead])
    slots, fixed = ([lead_ids[0]] * n_ctx, []) if init is None else (lead_ids[:n_ctx], lead_ids[n_ctx:])
    start = [] if tokenizer.start_id is None else [tokenizer.start_id]
    end = [] if tokenizer.eot_id is None else [tokenizer.eot_id]
    length = tokenizer.context_length
    shape = (len(names), length)
    ids, places = np.full(shape, tokenizer.pad_id, "int32"), np.full(shape, -1, "int32")
    mask, is_name = np.zeros(shape, "bool"), np.zeros(shape, "bool")
    whole = _behind(tokenizer, lead, lead_ids, [name + STOP for name in names])
    alone = _behind(tokenizer, lead, lead_ids, names)
    for row, (name, said, bare) in enumerate(zip(class_names, whole, alone)):
        bare = bare if said[: len(bare)] == bare else said
        stop, context = said[len(bare) :], list(zip(slots, range(n_ctx)))
        named = len(bare)
        bare = [(each, -1) for each in [*fixed, *bare]]
        half = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[class_position]
        text = [*context[:half], *bare, *context[half:], *((each, -1) for each in stop)]
        text = [*((each, -1) for each in start), *text, *((each, -1) for each in end)]
        if len(text) > length:
            raise ValueError(
                f"the class name {name[:60]!r} and a context of {n_ctx} take {len(text)} ids, but a text of this model "
                f"has {length}; give a smaller n_ctx, or a shorter name."
            )
        ids[row, : len(text)], places[row, : len(text)] = zip(*text)
        mask[row, : len(text)] = True
        first = len(start) + half + len(fixed)
        is_name[row, first : first + named] = True
    return Layout(ids, mask, places, len(start), is_name)


def room_for(preprocessor, class_names) -> int:
    """How many vectors at most stand in the texts of classes with the longest name.

    Raises:
        ValueError: a name that leaves no room for one.
    """
    layout = laid_out(preprocessor, class_names, 1)
    return 1 + layout.token_ids.shape[1] - int(layout.padding_mask.sum(axis=1).max())


def plain_ids(tokenizer, texts) -> list[list[int]]:
    """The ids of texts without start and end.

    Raises:
        ValueError: a text that is longer than the context, or of which nothing is left.
    """
    batch, cut = tokenizer.encode(texts)
    rows = [list(map(int, ids[mask])) for ids, mask in zip(batch["token_ids"], batch["padding_mask"])]
    first = int(tokenizer.start_id is not None)
    last = int(tokenizer.eot_id is not None)
    rows = [row[first : len(row) - last] for row in rows]
    if cut:
        text = next(text for text in texts if tokenizer.encode([text])[1])
        raise ValueError(
            f"the text {text[:60]!r} is longer than the {tokenizer.context_length} ids that a text of this model has; "
            "give a shorter one."
        )
    if empty := next((text for text, row in zip(texts, rows) if not row), None):
        raise ValueError(f"of the text {empty!r} the tokenizer of this model leaves nothing; give another.")
    return rows


def _behind(tokenizer, lead, lead_ids, texts):
    """Ids of texts as they are behind other words; by themselves where the tokenizer joins them with those."""
    rows = plain_ids(tokenizer, [f"{lead} {text}" for text in texts])
    joined = [not row[: len(lead_ids)] == lead_ids or len(row) == len(lead_ids) for row in rows]
    if any(joined):
        return plain_ids(tokenizer, texts)
    return [row[len(lead_ids) :] for row in rows]
