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
SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")  # steps one behind another
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
    merges = model.get("merges") or ()
    most = sum(map(len, ids)) if merges else 0  # a token can be divided into two between any of its characters
    if len(merges) > most:
        raise ValueError(f"{place} has {len(merges):,} merges, more than there are ways to divide its tokens.")
    check_merges(merges, place)
    _check_added(content.get("added_tokens", ()), ids, place)
    _check_template(content.get("post_processor"), ids, content.get("added_tokens", ()), place)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        _check_inserted(content.get(name), place)
        if _count(content.get(name)) > limits.PASSES:
            raise ValueError(
                f"{place} has a {name} of more than {limits.PASSES} steps; kzoo.files.limits.PASSES raises it."
            )
    if _growth(content.get("normalizer")) > limits.GROWTH:
        raise ValueError(
            f"{place} has a normalizer whose steps together make of one character more than the {limits.GROWTH:,} "
            "that they may; kzoo.files.limits.GROWTH raises it."
        )


def open_vocabulary(text, place) -> "tokenizers.Tokenizer":
    """A `tokenizers.Tokenizer` from the text of a `tokenizer.json`, whose content `check_vocabulary` knows."""
    with in_words(f"{place} is no vocabulary that can be read"):
        return tokenizers.Tokenizer.from_str(text)


def check_ids_kept(vocabulary, added, place) -> None:
    """Stops where an added token got another id than its file says, for `tokenizers` gives those behind a gap new ones.

    Args:
        vocabulary: a `tokenizers.Tokenizer`.
        added: the `added_tokens` of its file.
        place: as in `check_vocabulary`.

    Raises:
        ValueError: it names the token.
    """
    for each in added:
        token, index = each["content"], vocabulary.token_to_id(each["content"])
        if index != each["id"]:
            got = "no token" if index is None else f"id {index}"
            raise ValueError(
                f"{place} adds {shown(token)} as id {each['id']}, but by its other tokens it is {got}; the ids of a "
                "vocabulary follow each other."
            )


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


def check_longest(pieces, place) -> None:
    """Stops at a piece of a unigram model or of sentencepiece that is longer than any: texts are searched for each."""
    longest = max(map(len, pieces), default=0)
    if longest > limits.PIECE:
        raise ValueError(
            f"{place} has a piece of {longest:,} characters, more than the {limits.PIECE:,} of "
            "kzoo.files.limits.PIECE, which raises it."
        )


def check_charsmap(blob, place) -> None:
    """Stops at a precompiled map of characters that does not hold the units that it says: `tokenizers` makes room for
    what is said, and ends the process where there is none."""
    size = int.from_bytes(blob[:4], "little")
    if size % 4 or size < 4 or 4 + size > len(blob):
        raise ValueError(f"{place} has a character map that is damaged; fetch the file again.")


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
    check_longest([token for token, _ in pieces], place)
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


def _check_template(step, ids, added, place):
    """Stops at ids around a text that no token has, and at a text that would stand there twice."""
    if not isinstance(step, dict):
        return
    for each in step["processors"] if isinstance(step.get("processors"), list) else ():
        _check_template(each, ids, added, place)
    known = ids | {each["content"]: each["id"] for each in added}
    around = [step[name] for name in ("sep", "cls") if name in step]
    specials = step.get("special_tokens")
    for each in specials.values() if isinstance(specials, dict) else ():
        pair = isinstance(each, dict) and isinstance(each.get("tokens"), list) and isinstance(each.get("ids"), list)
        if not pair or len(each["tokens"]) != len(each["ids"]):
            raise ValueError(
                f"{place} has {shown(each)} in its post_processor, but tokens with their ids are expected."
            )
        around += zip(each["tokens"], each["ids"])
    for each in around:
        pair = isinstance(each, (list, tuple)) and len(each) == 2 and isinstance(each[0], str)
        if not pair or known.get(each[0]) != each[1]:
            raise ValueError(f"{place} puts {shown(each)} around texts, but a token and its id are expected.")
    pieces = step.get("single")
    if isinstance(pieces, list):
        texts = [each for each in pieces if isinstance(each, dict) and "Sequence" in each]
        if len(texts) != 1:
            raise ValueError(f"{place} has {len(texts)} texts in its post_processor, where one text is expected.")


def _count(step):
    """How many steps a step is made of."""
    if isinstance(step, list):
        return sum(map(_count, step))
    inner = [step[name] for name in SEQUENCES if isinstance(step.get(name), list)] if isinstance(step, dict) else []
    return sum(map(_count, inner)) if inner else 1


def _check_inserted(step, place):
    """Stops at a step that would make pages of every space of a text."""
    if isinstance(step, list):
        for each in step:
            _check_inserted(each, place)
    elif isinstance(step, dict):
        if isinstance(step.get("precompiled_charsmap"), str):
            check_charsmap(_decoded(step["precompiled_charsmap"], place), place)
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
            together = min(together * _growth(each), limits.GROWTH + 1)
        return together
    if isinstance(step.get("precompiled_charsmap"), str):
        return _longest_replacement(step["precompiled_charsmap"])
    if isinstance(step.get("prepend"), str):
        return 1 + len(step["prepend"])
    return max(1, len(added)) if isinstance(added, str) else 1


def _decoded(charsmap, place):
    try:
        return base64.b64decode(charsmap, validate=True)
    except ValueError as error:
        raise ValueError(f"{place} has a character map that is no base64: {said_by(error)}.") from error


def _longest_replacement(charsmap):
    """The longest of the texts that a precompiled map, which was looked at, puts in place of characters."""
    blob = base64.b64decode(charsmap)
    return max(1, *map(len, blob[4 + int.from_bytes(blob[:4], "little") :].split(b"\0")))


def _too_many(place, count):
    return (
        f"{place} has {count:,} tokens, more than the {limits.TOKENS:,} of kzoo.files.limits.TOKENS, which raises it."
    )
