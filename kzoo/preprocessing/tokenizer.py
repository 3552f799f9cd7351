"""Texts to token ids through the `tokenizers` library. Needs numpy and tokenizers."""

import json
import warnings
from pathlib import Path

import numpy as np
import tokenizers

from kzoo.preprocessing.bpe import byte_level_bpe, clip_bpe, read_merges, read_simple_vocab
from kzoo.preprocessing.cleaning import CLEANERS

SIMPLE_VOCAB = "bpe_simple_vocab_16e6.txt.gz"


class Tokenizer:
    """A vocabulary with the rules of its model: cleaning, start and end, truncation, padding.

    Make one with `from_file` or `train`. Every row has `context_length` ids; the end-of-text id survives
    truncation, and truncated texts are counted in a warning.

    Args:
        vocabulary: a `tokenizers.Tokenizer` whose post-processor adds start and end.
        context_length: ids per row.
        pad_id: id that fills a row.
        clean: `"openai"` (see `kzoo.preprocessing.cleaning`) or `"none"`.

    Inputs:
        texts: list of strings.

    Returns:
        dict: `"token_ids"` int32 `(n, context_length)`, `"padding_mask"` bool `(n, context_length)`, True
        where an id is real.

    Raises:
        TypeError: texts is not a list of strings.

    Example:
        >>> tokenizer = Tokenizer.train(["a cat", "a dog"], vocab_size=300, context_length=8)
        >>> tokenizer(["a cat"])["token_ids"].shape
        (1, 8)
    """

    def __init__(self, vocabulary, context_length, pad_id=0, clean="none"):
        if clean not in CLEANERS:
            raise ValueError(f"clean {clean!r} is unknown; choose one of {', '.join(CLEANERS)}.")
        self.vocabulary, self.context_length, self.pad_id, self.clean = vocabulary, context_length, pad_id, clean
        pad_token = vocabulary.id_to_token(pad_id)
        if pad_token is None:
            raise ValueError(f"pad_id {pad_id} is not in the vocabulary of {self.vocab_size} ids.")
        self.eot_id = vocabulary.encode("").ids[-1]  # the post-processor ends every text with it
        vocabulary.enable_truncation(max_length=context_length)
        vocabulary.enable_padding(pad_id=pad_id, pad_token=pad_token, length=context_length)

    @classmethod
    def from_file(cls, path, context_length, pad_id=0, clean=None):
        """Open a vocabulary in one of the three layouts that checkpoints carry.

        Args:
            path: a `tokenizer.json`, a `bpe_simple_vocab_16e6.txt.gz`, or a folder that holds one of them or
                `vocab.json` with `merges.txt`.
            context_length: ids per row.
            pad_id: id that fills a row.
            clean: default `"openai"` for the `.gz`, `"none"` for the others, which hold their normaliser.

        Raises:
            FileNotFoundError: nothing of the kind is there.
        """
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        if path.is_dir():
            names = ("tokenizer.json", "vocab.json", SIMPLE_VOCAB)
            path = next((path / name for name in names if (path / name).is_file()), path)
        if path.name.endswith(".gz") and path.is_file():
            return cls(clip_bpe(*read_simple_vocab(path)), context_length, pad_id, clean or "openai")
        if path.name == "vocab.json" and (folder / "merges.txt").is_file():
            vocab = json.loads(path.read_text("utf-8"))
            special = ("<|startoftext|>", "<|endoftext|>")
            vocabulary = clip_bpe(vocab, read_merges(folder / "merges.txt"), special)
            return cls(vocabulary, context_length, pad_id, clean or "none")
        if path.suffix == ".json" and path.is_file():
            return cls(tokenizers.Tokenizer.from_file(str(path)), context_length, pad_id, clean or "none")
        raise FileNotFoundError(
            f"{path} holds no vocabulary; expected tokenizer.json, vocab.json with merges.txt, or {SIMPLE_VOCAB}."
        )

    @classmethod
    def from_folder(cls, folder, rules, context_length, vocab_size=None):
        if rules["kind"] != "clip_bpe":
            raise FileNotFoundError
        return cls.from_file(folder, context_length, rules["pad_id"], rules["clean"])

    @classmethod
    def train(cls, captions, vocab_size, context_length):
        """Learn a byte-level BPE from captions; ids 0, 1, 2 are padding, start and end of text.

        Args:
            captions: iterable of strings.
            vocab_size: largest number of ids; small corpora give fewer.
            context_length: ids per row.

        Example:
            >>> Tokenizer.train(["a cat", "a dog"], vocab_size=300, context_length=8).vocab_size <= 300
            True
        """
        return cls(byte_level_bpe(captions, vocab_size), context_length, pad_id=0, clean="none")

    @property
    def vocab_size(self):
        """Number of ids."""
        return self.vocabulary.get_vocab_size()

    def __call__(self, texts):
        batch, truncated = self.encode(texts)
        if truncated:
            warnings.warn(
                f"{truncated} of {len(texts)} texts are longer than the context of {self.context_length} ids "
                "and were cut; the end-of-text id is kept.",
                stacklevel=3,
            )
        return batch

    def encode(self, texts):
        """What a call returns, and how many texts were cut, for callers that report on their own."""
        check_texts(texts)
        clean = CLEANERS[self.clean]
        rows = self.vocabulary.encode_batch([clean(text) for text in texts])
        shape = (len(rows), self.context_length)
        batch = {
            "token_ids": np.array([row.ids for row in rows], "int32").reshape(shape),
            "padding_mask": np.array([row.attention_mask for row in rows], "bool").reshape(shape),
        }
        return batch, sum(bool(row.overflowing) for row in rows)

    def decode(self, token_ids):
        """Rows of ids back to a list of strings: each row up to its end of text, without special ids."""
        rows = [list(map(int, row)) for row in token_ids]
        rows = [row[: row.index(self.eot_id)] if self.eot_id in row else row for row in rows]
        return [text.replace("</w>", " ").strip() for text in self.vocabulary.decode_batch(rows)]

    def get_config(self):
        """Everything but the vocabulary itself, which `to_json` gives."""
        return {"context_length": self.context_length, "pad_id": self.pad_id, "clean": self.clean}

    def to_json(self):
        """The vocabulary as the text of a `tokenizer.json`."""
        return self.vocabulary.to_str()

    @classmethod
    def from_json(cls, text, **config):
        """The inverse of `to_json` and `get_config`."""
        return cls(tokenizers.Tokenizer.from_str(text), **config)


def check_texts(texts):
    """Stops unless `texts` is a list (or tuple, or array) of strings."""
    if isinstance(texts, str):
        raise TypeError(f"texts is one string, but a list of strings is expected: [{texts!r}].")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {index} is of type {type(text).__name__}, but a string is expected.")
