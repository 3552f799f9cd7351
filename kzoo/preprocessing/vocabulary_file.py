"""What a vocabulary's files may hold, looked at before `tokenizers` reads it, whose own errors are no sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

import tokenizers

from kzoo.files import limits
from kzoo.files.schema import FLAG, ID, LIST, NULL, OBJECT, TEXT, Items, Object, check, is_number, shown

STEP = OBJECT | NULL
ADDED = Object({"id": ID, "content": TEXT, "special": FLAG}, ("id", "content"))
FILE = Object(
    {
        "added_tokens": Items(ADDED),
        "normalizer": STEP,
        "pre_tokenizer": STEP,
        "post_processor": STEP,
        "decoder": STEP,
        "model": Object({"type": TEXT | NULL, "vocab": OBJECT | LIST, "merges": LIST | NULL}, ("vocab",)),
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
        raise ValueError(f"{sentence}: {' '.join(str(error).split())[:200]}.") from error


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
    contents = [each["content"] for each in added]
    if len(set(contents)) < len(contents):
        twice = next(token for token in contents if contents.count(token) > 1)
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


def _too_many(place, count):
    return (
        f"{place} has {count:,} tokens, more than the {limits.TOKENS:,} of kzoo.files.limits.TOKENS, which raises it."
    )
