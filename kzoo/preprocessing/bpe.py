"""Byte-level BPE vocabularies: CLIP's and RoBERTa's, from their files, and small ones learned from captions."""

import gzip
import os
from collections.abc import Iterable, Mapping

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from kzoo.arguments import shown
from kzoo.files import limits
from kzoo.files.opening import as_text, open_regular, read_all, read_text
from kzoo.preprocessing.vocabulary_file import check_merges, check_tokens

CLIP_SPECIALS = ("<start_of_text>", "<end_of_text>")  # as open_clip calls ids 49406 and 49407
TRAINED_SPECIALS = ("<pad>", "<start_of_text>", "<end_of_text>")
CLIP_MERGES = 49152 - 256 - 2  # of the 262,000 merges in the file, CLIP's vocabulary takes the first

# English clitics, words, single digits, runs of anything else
CLIP_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes, in the order of GPT-2's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = range(256 - len(printable))
    return [chr(code) for code in printable] + [chr(256 + code) for code in others]


def read_merges(path) -> list:
    """Merge rules of a `merges.txt`, one pair of symbols a line after the version line."""
    return _pairs(read_text(path, limits.VOCABULARY).split("\n"), path)


def read_simple_vocab(path) -> tuple:
    """Vocabulary and merges of `bpe_simple_vocab_16e6.txt.gz`."""
    with open_regular(path) as packed, gzip.open(packed) as file:
        text = as_text(read_all(file, limits.VOCABULARY, path), path)
    merges = _pairs(text.split("\n"), path, CLIP_MERGES)
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *map("".join, merges), *CLIP_SPECIALS]
    return check_tokens(tokens, path), merges


def _pairs(lines, path, most=None):
    if not lines[0].startswith(("#version", '"bpe_simple_vocab')):
        raise ValueError(f"a merges file starts with its version, but {path} starts with {lines[0][:40]!r}.")
    merges = [tuple(line.split()) for line in lines[1:] if line.strip()][:most]
    check_merges(merges, path)
    return merges


def clip_bpe(vocab, merges, unknown) -> Tokenizer:
    """CLIP's vocabulary: lower case, the split pattern, bytes, merges of words that end in `</w>`.

    Args:
        vocab: dict, token to id.
        merges: list of pairs.
        unknown: the token that stands for what is not in the vocabulary; CLIP's end of text.
    """
    model = models.BPE(vocab, merges, end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=unknown)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _lower_case()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def roberta_bpe(vocab, merges) -> Tokenizer:
    """RoBERTa's vocabulary, which is GPT-2's: case kept, a space belongs to the word after it, none before the text."""
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def byte_level_bpe(captions, vocab_size) -> Tokenizer:
    """Learn merges from captions: every byte is in the vocabulary, so no text is unknown."""
    captions = _texts(captions)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _lower_case()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    smallest = len(TRAINED_SPECIALS) + 256
    if vocab_size < smallest:
        raise ValueError(f"vocab_size is {vocab_size}, but bytes and special ids alone need {smallest}.")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(TRAINED_SPECIALS),
        initial_alphabet=byte_symbols(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def _texts(captions):
    """Captions as a list of strings; stops at what a loop would take for captions that are none."""
    if isinstance(captions, (str, bytes, Mapping, os.PathLike)) or not isinstance(captions, Iterable):
        wrong = ValueError if isinstance(captions, (str, bytes, Mapping)) else TypeError
        what = "a dict" if isinstance(captions, Mapping) else "one string" if wrong is ValueError else shown(captions)
        raise wrong(f"captions are {what}, but a list of strings is expected, of all that there are to learn from.")
    captions = list(captions)
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise ValueError(
                f"caption {number} is of type {type(caption).__name__}, but a string is expected; let several captions "
                "of a picture stand one by one."
            )
    if not any(caption.strip() for caption in captions):
        raise ValueError("there are no captions to learn a vocabulary from; give those of the training part.")
    return captions


def _lower_case():
    return normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
