"""Reads the `.model` files of sentencepiece and rebuilds them for `tokenizers`; sentencepiece itself is not needed."""

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from kzoo.files import limits
from kzoo.files.opening import read_bytes
from kzoo.files.words import said_by
from kzoo.preprocessing.vocabulary_file import check_charsmap, check_longest, check_tokens

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # ModelProto.SentencePiece.Type
UNIGRAM, BPE = 1, 2  # TrainerSpec.ModelType
SENTINEL = re.compile(r"▁?<extra_id_\d+>")  # of T5's span corruption: behind the ids that a text tower has rows for
BELOW_ALL = 1_000_000  # a score so low that no path through a text takes it, and without digits that JSON may change


@dataclass
class SentencePieceModel:
    """What a `.model` file holds.

    Attributes:
        path: of the file.
        pieces: list of `(token, score, type)`, the place is the id.
        algorithm: `UNIGRAM` or `BPE`.
        byte_fallback: whether unknown characters become bytes.
        charsmap: bytes of the precompiled character map, empty for none.
        add_dummy_prefix: whether a text starts with a space of its own.
        remove_extra_whitespaces: whether outer spaces go and runs become one.
    """

    path: Path
    pieces: list
    algorithm: int
    byte_fallback: bool
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool


def read_model(path) -> SentencePieceModel:
    """Parse a `.model` file, a protocol buffer of the message ModelProto.

    Args:
        path: of the file.

    Raises:
        ValueError: the file is no sentencepiece model, or one of a sort that no released image-text model uses.
    """
    try:
        parts = list(_fields(read_bytes(path, limits.VOCABULARY)))
        pieces = [_piece(value) for number, value in parts if number == 1]
        trainer, normalizer = (
            {k: v for n, part in parts if n == number for k, v in _fields(part)} for number in (2, 3)
        )
        model = SentencePieceModel(
            path=path,
            pieces=pieces,
            algorithm=trainer.get(3, UNIGRAM),
            byte_fallback=bool(trainer.get(35, False)),
            charsmap=normalizer.get(2, b""),
            add_dummy_prefix=bool(normalizer.get(3, True)),
            remove_extra_whitespaces=bool(normalizer.get(4, True)),
        )
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise ValueError(f"{path} is no sentencepiece model: {said_by(error)}.") from error
    wrong = next((piece for piece in pieces if not math.isfinite(piece[1])), None)
    if wrong is not None:
        raise ValueError(f"{path} has the score {wrong[1]} for the piece {wrong[0]!r}, where a finite one is expected.")
    check_longest([token for token, _, _ in pieces], path)
    if model.charsmap:
        check_charsmap(model.charsmap, path)
    check_tokens([token for token, _, _ in pieces], path)
    kinds = {kind for _, _, kind in pieces}
    if not {NORMAL, UNKNOWN} <= kinds:
        raise ValueError(f"{path} is no sentencepiece model: it holds no pieces, or none for what is unknown.")
    if model.algorithm not in (UNIGRAM, BPE) or not normalizer.get(5, True) or trainer.get(24, False):
        raise ValueError(f"{path} is a word or character model, or marks spaces in another way than ▁ before a word.")
    if UNUSED in kinds or (model.algorithm == BPE and USER_DEFINED in kinds and model.add_dummy_prefix):
        raise ValueError(
            f"{path} has pieces marked as unused, or BPE symbols of its user and a space before each text; this "
            "version reads neither."
        )
    return model


def _fields(data):
    """Number and value of each field of a message: int, bytes, or the 4 or 8 bytes of a fixed number."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
        else:
            if wire == 2:
                length, at = _varint(data, at)
            else:
                length = {1: 8, 5: 4}.get(wire, end)  # no other wire types are in use: too long, refused below
            value, at = data[at : at + length], at + length
            if at > end:
                raise ValueError("the bytes end within a field")
        yield key >> 3, value


def _varint(data, at):
    value = shift = 0
    while True:
        if shift > 63:
            raise ValueError("a number goes on over more than ten bytes")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _piece(data):
    fields = dict(_fields(data))
    return fields[1].decode("utf-8"), struct.unpack("<f", fields.get(2, b"\0\0\0\0"))[0], fields.get(3, NORMAL)


def build(model, fairseq=False) -> None:
    """The `tokenizers.Tokenizer` that gives the ids of a sentencepiece model, without start and end.

    Control pieces are never read out of a text: a text that contains "</s>" gets the ids of its characters.

    Args:
        model: a `SentencePieceModel`.
        fairseq: True for the ids of XLM-R: `<s>`, `<pad>`, `</s>`, `<unk>`, then the pieces from the fourth on,
            then `<mask>`.
    """
    pieces = [(token, score, CONTROL if SENTINEL.fullmatch(token) else kind) for token, score, kind in model.pieces]
    if fairseq:
        if [token for token, _, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
            raise ValueError(
                f"{model.path} starts with {pieces[0][0]!r}, but XLM-R's pieces start with <unk>, <s>, </s>."
            )
        start, pad, end, mask = ((token, 0.0, CONTROL) for token in ("<s>", "<pad>", "</s>", "<mask>"))
        pieces = [start, pad, end, pieces[0], *pieces[3:], mask]
    tokenizer = Tokenizer(_unigram(model, pieces) if model.algorithm == UNIGRAM else _bpe(model, pieces))
    tokenizer.normalizer = _normalizer(model)
    specials = [token for token, _, kind in pieces if kind in (CONTROL, UNKNOWN)]
    if model.algorithm == UNIGRAM:
        out_of_reach = [token for token, _, kind in pieces if kind not in (NORMAL, USER_DEFINED)]
        guard(tokenizer, out_of_reach, {token for token, _, kind in pieces if kind == NORMAL})
    else:  # symbols that stay whole; they are looked for where spaces have become marks
        symbols = [token for token, _, kind in pieces if kind == USER_DEFINED]
        tokenizer.add_tokens([AddedToken(symbol, normalized="▁" in symbol) for symbol in symbols])
    tokenizer.add_special_tokens(specials)
    return tokenizer


def _normalizer(model):
    steps = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.remove_extra_whitespaces:
        # a mark that the text itself ends with goes too, as in sentencepiece, which strips after marking
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Replace(Regex(r"\A |[ ▁]+\z"), "")]
    if model.add_dummy_prefix:
        steps += [normalizers.Prepend("▁")]
    return normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])


def _unigram(model, pieces):
    normal = [score for _, score, kind in pieces if kind == NORMAL]
    lowest, highest = min(normal), max(normal)

    def score_of(token, score, kind):
        if kind == USER_DEFINED:  # sentencepiece prefers these to almost every other path
            return round(len(token.encode("utf-8")) * highest - 0.1, 3)
        return score if kind == NORMAL else math.floor(lowest) - BELOW_ALL

    unknown = next(index for index, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN)
    vocab = [(token, score_of(token, score, kind)) for token, score, kind in pieces]
    return models.Unigram(vocab, unknown, model.byte_fallback)


def guard(tokenizer, specials, tokens) -> None:
    """Keep special tokens apart that a unigram model would find in a text despite their low scores.

    A path through an unknown character scores lower still. No token reaches from a known character to an unknown
    one, so cutting the text between two such characters of the special token changes nothing else.

    Args:
        tokenizer: a `tokenizers.Tokenizer` with a unigram model.
        specials: list of special tokens.
        tokens: set of the tokens that a text may give.
    """
    cuts = []
    for special in specials:
        known = [character in tokens for character in special]
        if not all(known):
            at = known.index(not known[0]) if any(known) else 1
            cuts.append(f"{re.escape(special[:at])}(?={re.escape(special[at:])})")
    if cuts:
        split = pre_tokenizers.Split(Regex("|".join(cuts)), "merged_with_previous")
        before = tokenizer.pre_tokenizer
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([before, split]) if before else split


def hide_specials(vocabulary) -> Any:
    """A unigram vocabulary that another program wrote, its special tokens out of the reach of texts as in `build`."""
    content = json.loads(vocabulary.to_str())
    pieces = content["model"]["vocab"]
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    special |= {token for token, _ in pieces if SENTINEL.fullmatch(token)}
    hidden = math.floor(min((score for token, score in pieces if token not in special), default=0)) - BELOW_ALL
    if all(score <= hidden for token, score in pieces if token in special):
        return vocabulary  # built here
    content["model"]["vocab"] = [(token, hidden if token in special else score) for token, score in pieces]
    vocabulary = Tokenizer.from_str(json.dumps(content))
    specials = [token for token, _ in pieces if token in special]
    guard(vocabulary, specials, {token for token, _ in pieces} - special)
    vocabulary.add_special_tokens(specials)
    return vocabulary


def _bpe(model, pieces):
    """Sentencepiece merges the pair whose result scores highest; `tokenizers` the pair that stands first in a list."""
    normal = {token: score for token, score, kind in pieces if kind == NORMAL}
    merges = []
    for token in sorted(normal, key=normal.get, reverse=True):
        halves = ((token[:at], token[at:]) for at in range(len(token) - 1, 0, -1))
        merges += [(left, right) for left, right in halves if left in normal and right in normal]
    unknown = next(token for token, _, kind in pieces if kind == UNKNOWN)
    vocab = {token: index for index, (token, _, _) in enumerate(pieces)}
    return models.BPE(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=model.byte_fallback)
