"""Keeps a model and its vocabulary together: by the rules of its preset, and by a fingerprint once it is saved."""

import hashlib
import json
from typing import Any

import numpy as np

from kzoo.files.strict_json import parse_json
from kzoo.preprocessing.special_tokens import without_ids_from
from kzoo.preprocessing.vocabularies import KINDS, bert_normalizer, frame, framing_ids, language_id, read_kind
from kzoo.preprocessing.vocabulary_file import check_vocabulary

REQUIRED = ("kind", "clean", "pad_id")
OPTIONAL = ("start_id", "eot_id", "lowercase", "special_ids", "added_tokens", "context_length", "language")
LANGUAGE = "eng_Latn"  # of texts, where nothing says another
ROLES = {"sot": "start", "bos": "start", "cls": "start", "eot": "end", "eos": "end"}  # as libraries call them


def open_sealed(folder, rules, vocab_size=None) -> Any:
    """The vocabulary of a checkpoint's folder under the rules of its preset; see `Tokenizer.from_folder`."""
    missing, unknown = [key for key in REQUIRED if key not in rules], rules.keys() - {*REQUIRED, *OPTIONAL}
    if missing or unknown:
        raise ValueError(
            f"the tokenizer of the preset has keys {', '.join(sorted(rules))}; {', '.join(REQUIRED)} are needed, and "
            f"{', '.join(OPTIONAL)} may follow."
        )
    kind = rules["kind"]
    if kind not in KINDS:
        raise ValueError(f"the tokenizer of the preset is of kind {kind!r}; this version reads {', '.join(KINDS)}.")
    vocabulary, path = read_kind(folder, kind)
    added = [token for token in rules.get("added_tokens", ()) if vocabulary.token_to_id(token) is None]
    vocabulary.add_special_tokens(added)
    rules = dict(zip(("start_id", "eot_id"), framing_ids(vocabulary, kind))) | rules
    if kind == "wordpiece":
        vocabulary.normalizer = bert_normalizer(rules.get("lowercase", True))
    if kind == "nllb":  # whose start follows the language
        rules |= {"start_id": None}
    _check_specials(vocabulary, path, rules)
    if kind == "nllb":
        rules |= {"start_id": language_id(vocabulary, rules.get("language", LANGUAGE))}
    if vocab_size is not None:
        _check_size(vocabulary, path, rules, vocab_size)
        vocabulary = without_ids_from(vocabulary, vocab_size)
    frame(vocabulary, rules["start_id"], rules["eot_id"])
    return vocabulary


def _check_specials(vocabulary, path, rules):
    names = KINDS[rules["kind"]].names
    for role, index in _special_ids(rules):
        expected = names.get(ROLES.get(role, role), ())
        if not expected and role != "pad":  # CLIP's padding is whatever id 0 is, or its end of text
            raise ValueError(
                f"a vocabulary of kind {rules['kind']} has no special token {role!r}, only {', '.join(names)}."
            )
        token = vocabulary.id_to_token(index)
        if token is None or (expected and token not in expected):
            found = "no token" if token is None else repr(token)
            raise ValueError(
                f"{path} has {found} at id {index}, where the preset expects {' or '.join(expected) or 'its padding'}; "
                "this vocabulary belongs to another model."
            )


def _special_ids(rules):
    """Pairs of a role and the id that the preset has for it."""
    framing = [("pad", rules["pad_id"]), ("start", rules["start_id"]), ("end", rules["eot_id"])]
    return [(role, index) for role, index in [*framing, *rules.get("special_ids", {}).items()] if index is not None]


def _check_size(vocabulary, path, rules, vocab_size):
    """The token table needs a row for every id that a text may get; other special tokens may lie behind its end."""
    unread = {index for index, token in vocabulary.get_added_tokens_decoder().items() if token.special}
    if rules["kind"] in ("clip_bpe", "nllb"):  # whose texts have all of them, or may begin with any
        unread = set()
    unread -= {index for _, index in _special_ids(rules)}
    largest = max(index for index in vocabulary.get_vocab().values() if index not in unread)
    if largest >= vocab_size:
        raise ValueError(
            f"{path} has ids up to {largest}, but the token table of the preset has {vocab_size} rows; this vocabulary "
            "belongs to another model."
        )


def fingerprint(text) -> str:
    """sha256 of a `tokenizer.json`, whatever its layout: without truncation and padding, which its model sets.

    Args:
        text: content of the file.
    """
    return _fingerprint(_parsed(text))


def check_fingerprint(text, expected) -> None:
    """Stops unless a `tokenizer.json` is the one that was saved with its model, or holds what none does.

    Args:
        text: content of the file.
        expected: its fingerprint; None where none is recorded.
    """
    content = _parsed(text)
    got = None if expected is None else _fingerprint(content)
    if got != expected:
        raise ValueError(
            f"tokenizer.json is not the one that the model was saved with: its fingerprint is {got[:12]}..., but "
            f"{expected[:12]}... is recorded; put the original back, for other ids mean nothing to the weights."
        )
    check_vocabulary(content, "tokenizer.json")


def _parsed(text):
    # scores were float32 in their training; written and read again, their last digits as float64 may change
    content = parse_json(text, "tokenizer.json is damaged: it", parse_float=lambda digits: float(np.float32(digits)))
    if not isinstance(content, dict):
        raise ValueError("tokenizer.json is damaged: it holds no JSON object.")
    return content


def _fingerprint(content):
    content = {key: value for key, value in content.items() if key not in ("truncation", "padding")}
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
