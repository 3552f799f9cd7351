"""What a vocabulary's files may hold, looked at before `tokenizers` reads it, whose own errors are no sentences."""

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import tokenizers

from kzoo.files import limits
from kzoo.files.schema import FLAG, ID, LIST, NULL, OBJECT, TEXT, Items, Object, Rule, check, is_number, shown
from kzoo.files.words import said_by

STEP = OBJECT | NULL
NO_DROPOUT = Rule("null, so that a text has the same ids each time,", lambda value: value is None or value == 0)
ADDED = Object({"id": ID, "content": TEXT, "special": FLAG}, ("id", "content"))
FILE = Object(
    {
        "added_tokens": Items(ADDED),
        "normalizer": STEP,
        "pre_tokenizer": STEP,
        "post_processor": STEP,
        "decoder": STEP,
        "model": Object(
            {"type": TEXT | NULL, "vocab": OBJECT | LIST, "merges": LIST | NULL, "dropout": NO_DROPOUT}, ("vocab",)
        ),
    },
    ("model",),
)
INSERTS = ("content", "prepend", "replacement", "prefix", "suffix")  # what a step puts into a text


def check_vocabulary(content, place) -> None:
    """Stops at what no `tokenizer.json` holds.

    Args:
        content: of the file, as `parse_json` gives it.
        place: path or name, for sentences.

    Raises:
        ValueError: fields that are not of their kind, a token or an id twice, merges that are no pairs.
    """
    check(content, FILE, place)
    model = content["model"]
    ids = check_ids(model["vocab"], place) if isinstance(model["vocab"], dict) else _ids_of(model["vocab"], place)
    check_merges(model.get("merges") or (), place)
    _check_added(content.get("added_tokens", ()), ids, place)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        _check_inserted(content.get(name), place)
    if _growth(content.get("normalizer")) > limits.INSERTED:
        raise ValueError(
            f"{place} has a normalizer whose steps together make of one character more than the {limits.INSERTED:,} "
            "that they may; kzoo.files.limits.INSERTED raises it."
        )


def open_vocabulary(text, place) -> "tokenizers.Tokenizer":
    """A `tokenizers.Tokenizer` from the text of a `tokenizer.json`, whose content `check_vocabulary` knows."""
    with in_words(f"{place} is no vocabulary that can be read"):
        return tokenizers.Tokenizer.from_str(text)


@contextmanager
def in_words(sentence) -> Iterator:
    """What `tokenizers` raises inside, panics of its Rust among it, as a ValueError that begins with a sentence."""
    try:
        yield
    except ValueError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # such as Ctrl-C
        raise ValueError(f"{sentence}: {said_by(error)}.") from error


def check_ids(vocab, place) -> dict:
    """Stops unless a dict gives every token an id of its own; returns it."""
    if len(vocab) > limits.TOKENS:
        raise ValueError(_too_many(place, len(vocab)))
    wrong = next((token for token, index in vocab.items() if not ID.accepts(index)), None)
    if wrong is not None:
        raise ValueError(f"{place} gives {shown(wrong)} the id {shown(vocab[wrong])}, but {ID} is expected.")
    if len(set(vocab.values())) < len(vocab):
        seen = {}
        for token, index in vocab.items():
            if seen.setdefault(index, token) != token:
                raise ValueError(f"{place} gives the id {index} to both {shown(seen[index])} and {shown(token)}.")
    return vocab


def check_tokens(tokens, place) -> dict:
    """Stops where a list of tokens, whose places are their ids, has one twice; returns them as a dict."""
    if len(tokens) > limits.TOKENS:
        raise ValueError(_too_many(place, len(tokens)))
    ids = {}
    for index, token in enumerate(tokens):
        if ids.setdefault(token, index) != index:
            raise ValueError(f"{place} holds the token {shown(token)} twice, as id {ids[token]} and {index}.")
    return ids


def check_merges(merges, place) -> None:
    """Stops at a merge that is no pair of symbols; each is a string `"a b"` or a list of two."""
    for number, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        pair = isinstance(parts, (list, tuple)) and len(parts) == 2
        if not pair or not all(isinstance(part, str) and part for part in parts):
            raise ValueError(f"{place} has {shown(merge)} as merge {number}, but a pair of symbols is expected.")


def _ids_of(pieces, place):
    """Ids of a vocabulary that is a list of pairs of a token and its score."""
    for number, piece in enumerate(pieces):
        pair = isinstance(piece, list) and len(piece) == 2 and isinstance(piece[0], str)
        if not pair or not is_number(piece[1]):
            raise ValueError(f"{place} has {shown(piece)} as piece {number}, but a token and its score are expected.")
    return check_tokens([token for token, _ in pieces], place)


def _check_added(added, ids, place):
    tokens = {index: token for token, index in ids.items()} if added else {}
    for each in added:
        token, index = each["content"], each["id"]
        if tokens.setdefault(index, token) != token:
            raise ValueError(f"{place} gives the id {index} to both {shown(tokens[index])} and {shown(token)}.")
        if ids.get(token, index) != index:
            raise ValueError(f"{place} gives {shown(token)} two ids, {ids[token]} and {index}.")
    twice = next((token for token, count in Counter(each["content"] for each in added).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{place} adds the token {shown(twice)} twice.")


def _check_inserted(step, place):
    """Stops at a step that would make pages of every space of a text."""
    if isinstance(step, list):
        for each in step:
            _check_inserted(each, place)
    elif isinstance(step, dict):
        for name, value in step.items():
            if name in INSERTS and isinstance(value, str) and len(value) > limits.INSERTED:
                raise ValueError(
                    f"{place} puts {len(value):,} characters into texts ({name} of a step), more than the "
                    f"{limits.INSERTED:,} that a step may; kzoo.files.limits.INSERTED raises it."
                )
            _check_inserted(value, place)


def _growth(step):
    """How many characters the steps of a normalizer may make of one: each reads what the one before it has written."""
    if not isinstance(step, dict):
        return 1
    inner, added = step.get("normalizers"), step.get("content")
    if isinstance(inner, list):
        together = 1
        for each in inner:
            together = min(together * _growth(each), limits.INSERTED + 1)
        return together
    if isinstance(step.get("precompiled_charsmap"), str):
        return _longest_replacement(step["precompiled_charsmap"])
    if isinstance(step.get("prepend"), str):
        return 1 + len(step["prepend"])
    return max(1, len(added)) if isinstance(added, str) else 1


def _longest_replacement(charsmap):
    """The longest of the texts that a precompiled map puts in place of characters; 1 of a map that cannot be read."""
    try:
        blob = base64.b64decode(charsmap)
    except ValueError:
        return 1
    return max(1, *map(len, blob[4 + int.from_bytes(blob[:4], "little") :].split(b"\0")))


def _too_many(place, count):
    return (
        f"{place} has {count:,} tokens, more than the {limits.TOKENS:,} of kzoo.files.limits.TOKENS, which raises it."
    )
