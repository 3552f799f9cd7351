"""Texts to token ids through the `tokenizers` library. Needs numpy and tokenizers."""

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from tokenizers import decoders, models

from kzoo.arguments import AMOUNT, COUNT, FLAG, PATH, Checked, one_of, shown, takes
from kzoo.files import limits
from kzoo.preprocessing import charsmap, sealing
from kzoo.preprocessing.bpe import TRAINED_SPECIALS, byte_level_bpe
from kzoo.preprocessing.cleaning import CLEANERS
from kzoo.preprocessing.special_tokens import between, clean_within, is_clip, marked, steps_of
from kzoo.preprocessing.vocabularies import frame, language_id, languages_of, read_by_hand
from kzoo.preprocessing.vocabulary_file import in_words, open_vocabulary
from kzoo.types import Array


class Tokenizer(Checked):
    """A vocabulary with the rules of its model: cleaning, start and end, truncation, padding.

    Make one with `from_folder`, `from_file` or `train`. Every row has `context_length` ids; the end-of-text id
    survives truncation, and truncated texts are counted in a warning.

    Args:
        vocabulary: a `tokenizers.Tokenizer` whose post-processor adds start and end. It is changed, and belongs to
            this object from then on.
        context_length: ids per row.
        pad_id: id that fills a row.
        clean: a key of `kzoo.preprocessing.cleaning.CLEANERS`, what happens to a text first.
        reads_specials: whether a special token that is written out in a text, such as "</s>", gets its id, as in
            transformers and open_clip, or those of its characters, as in sentencepiece; None: only in CLIP's
            vocabularies. What is opened from files reads them, what is trained here does not.

    Attributes:
        start_id, eot_id: ids before and after each text, None where there is none.
        charsmap: the `Charsmap` that a text goes through before the vocabulary reads it, or None.
        specials: list of the special tokens between which `clean="siglip"` cleans.
        renamed: pair of a special token and the one that a text has in its place, or None.

    Inputs:
        texts: list of strings.

    Returns:
        dict: `"token_ids"` int32 `(n, context_length)`, `"padding_mask"` bool `(n, context_length)`, True
        where an id is real.

    Raises:
        TypeError: texts is not a list of strings.
        ValueError: a string holds half of a surrogate pair.

    Example:
        >>> tokenizer = Tokenizer.train(["a cat", "a dog"], vocab_size=300, context_length=8)
        >>> tokenizer(["a cat"])["token_ids"].shape
        (1, 8)
    """

    arguments = {
        "context_length": COUNT,
        "pad_id": AMOUNT,
        "clean": one_of(*CLEANERS),
        "reads_specials": FLAG | None,
    }

    def __init__(self, vocabulary, context_length, pad_id=0, clean="none", reads_specials=None):
        self.vocabulary, self.context_length, self.pad_id, self.clean = vocabulary, context_length, pad_id, clean
        self.reads_specials = is_clip(vocabulary) if reads_specials is None else reads_specials
        pad_token = vocabulary.id_to_token(pad_id)
        if pad_token is None:
            raise ValueError(f"pad_id {pad_id} is not in the vocabulary of {self.vocab_size} ids.")
        specials = vocabulary.num_special_tokens_to_add(False)
        if context_length <= specials:
            raise ValueError(f"context_length is {context_length}, but start and end alone take {specials} ids.")
        vocabulary.no_truncation()  # what a file says of them is not what its model wants
        vocabulary.no_padding()
        vocabulary.decoder = _decoder(vocabulary)
        vocabulary.encode_special_tokens = not self.reads_specials
        steps = steps_of(vocabulary)
        self.charsmap = charsmap.lift(vocabulary)
        clean_within(vocabulary, clean)
        self._file_steps = steps if steps_of(vocabulary) != steps else {}
        with in_words("the vocabulary cannot read a text"):
            probe = vocabulary.encode("a")
        special = probe.special_tokens_mask or [0]
        self.start_id = probe.ids[0] if special[0] else None
        self.eot_id = probe.ids[-1] if special[-1] else None
        end = None if self.eot_id is None else vocabulary.id_to_token(self.eot_id)
        self.specials = [end, "<unk>"] if self.reads_specials and end else []
        # CLIPA ends texts with padding: open_clip puts it where BERT has its end, also where a text has spelt that
        self.renamed = ("[SEP]", "[PAD]") if self.reads_specials and end == "[PAD]" else None
        vocabulary.enable_truncation(max_length=context_length)
        vocabulary.enable_padding(pad_id=pad_id, pad_token=pad_token, length=context_length)

    def __repr__(self) -> str:
        return (
            f"<Tokenizer of {self.vocab_size:,} ids, {self.context_length} per text: start {self.start_id}, "
            f"end {self.eot_id}, padding {self.pad_id}>"
        )

    @classmethod
    @takes(folder=PATH)
    def from_folder(cls, folder, rules, context_length, vocab_size=None) -> Self:
        """Open the vocabulary in a checkpoint's folder by the rules of its preset.

        Which files are read, the first that is there:

        | kind | files | models |
        | --- | --- | --- |
        | `clip_bpe` | `tokenizer.json`, `vocab.json` with `merges.txt`, `bpe_simple_vocab_16e6.txt.gz` | CLIP, CoCa |
        | `sentencepiece` | `tokenizer.json`, `spiece.model` | SigLIP, mT5 towers of open_clip |
        | `gemma` | `tokenizer.json`, `tokenizer.model` | SigLIP 2 |
        | `wordpiece` | `tokenizer.json`, `vocab.txt` | ALIGN, BLIP, Chinese-CLIP, LiT, CLIPA, ConVIRT |
        | `roberta_bpe` | `tokenizer.json`, `vocab.json` with `merges.txt` | RoBERTa towers of open_clip |
        | `xlm_roberta` | `tokenizer.json`, `sentencepiece.bpe.model` | XLM-R towers, XLM-V of MetaCLIP 2 |
        | `nllb` | `tokenizer.json` | NLLB-CLIP |

        Start, end, truncation (which keeps the end) and padding (on the right) are set by the rules, whatever the
        file says of them; so is the lower case of `wordpiece`.

        Args:
            folder: path.
            rules: dict with `"kind"`, `"clean"` (see `Tokenizer`) and `"pad_id"`; `"start_id"` and `"eot_id"` (None for
                no such id; without the key the file's own); and, where a preset needs it, `"lowercase"` (of
                `wordpiece`, default True), `"context_length"`, `"special_ids"`, a dict of roles such as `"unk"` to
                the ids they must have, `"added_tokens"`, special tokens that follow the vocabulary, and `"language"` of
                texts of `nllb`, default `"eng_Latn"`.
            context_length: ids per row, where the rules do not say it.
            vocab_size: rows of the model's token table; no id of a text may lie behind it.

        Raises:
            FileNotFoundError: none of the files is there.
            ValueError: a file holds the vocabulary of another model.

        Example:
            >>> rules = {"kind": "gemma", "clean": "lowercase", "pad_id": 0, "start_id": None, "eot_id": 1}
            >>> tokenizer = Tokenizer.from_folder("siglip2-base-patch16-224", rules, 64, vocab_size=256000)
        """
        vocabulary = sealing.open_sealed(Path(folder), rules, vocab_size)
        length = rules.get("context_length", context_length)
        return cls(vocabulary, length, rules["pad_id"], rules["clean"], reads_specials=True)

    @classmethod
    @takes(path=PATH)
    def from_file(cls, path, context_length, pad_id=0, clean=None) -> Self:
        """Open a vocabulary by hand, without the rules of a preset.

        Args:
            path: a file, or a folder that holds one: `tokenizer.json`, `vocab.json` with `merges.txt` (CLIP's or
                RoBERTa's), `bpe_simple_vocab_16e6.txt.gz`, `vocab.txt` (lower-cased WordPiece), `spiece.model`,
                `tokenizer.model` (Gemma's) or `sentencepiece.bpe.model` (XLM-R's). A `tokenizer.json` keeps its own
                start and end, the others get those of their kind.
            context_length: ids per row.
            pad_id: id that fills a row.
            clean: see `Tokenizer`; default `"openai"` for the `.gz`, `"none"` for the others.

        Raises:
            FileNotFoundError: nothing of the kind is there.
            ValueError: the file cannot be read as what its name says.
        """
        vocabulary, found = read_by_hand(Path(path))
        clean = clean or ("openai" if found.suffix == ".gz" else "none")
        return cls(vocabulary, context_length, pad_id, clean, reads_specials=True)

    @classmethod
    def train(cls, captions, vocab_size, context_length) -> Self:
        """Learn a byte-level BPE from captions; ids 0, 1, 2 are padding, start and end of text.

        Args:
            captions: iterable of strings.
            vocab_size: largest number of ids; small corpora give fewer.
            context_length: ids per row.

        Raises:
            ValueError: no captions, or what is no list of strings, such as one string.

        Example:
            >>> Tokenizer.train(["a cat", "a dog"], vocab_size=300, context_length=8).vocab_size <= 300
            True
        """
        vocabulary = byte_level_bpe(captions, vocab_size)
        frame(vocabulary, *(vocabulary.token_to_id(token) for token in TRAINED_SPECIALS[1:]))
        return cls(vocabulary, context_length, pad_id=0, clean="none", reads_specials=False)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.vocabulary.get_vocab_size()

    @property
    def languages(self) -> list[str]:
        """Names of the languages that texts may be in, of a vocabulary that puts one before each; else []."""
        return [*languages_of(self.vocabulary)]

    def in_language(self, language) -> Self:
        """The same vocabulary for texts of another language.

        Args:
            language: one of `languages`.

        Raises:
            ValueError: a language that the vocabulary has not.

        Example:
            >>> tokenizer.in_language("fra_Latn")(["un chat"])["token_ids"][0, 0]
            256057
        """
        start_id = language_id(self.vocabulary, language)
        vocabulary = open_vocabulary(self.to_json(), "tokenizer.json")
        frame(vocabulary, start_id, self.eot_id)
        return type(self)(vocabulary, **self.get_config())

    @property
    def special_ids(self) -> list:
        """Ids that are no part of a text, ascending: of padding, start, end and every other special token."""
        added = self.vocabulary.get_added_tokens_decoder().items()
        ids = {self.pad_id, self.start_id, self.eot_id, *(index for index, token in added if token.special)}
        return sorted(ids - {None})

    def __call__(self, texts) -> dict[str, Array]:
        batch, truncated = self.encode(texts)
        if truncated:
            warnings.warn(
                f"{truncated} of {len(texts)} texts are longer than the context of {self.context_length} ids "
                "and were cut; the end-of-text id is kept.",
                stacklevel=3,
            )
        return batch

    def encode(self, texts) -> tuple:
        """What a call returns, and how many texts were cut, for callers that report on their own."""
        check_texts(texts)
        rows = self._rows([text[: limits.TEXT] for text in texts])
        for index, text in enumerate(texts):
            reach = limits.TEXT
            # what is kept of a text does not change with what follows a context behind it
            while reach < len(text) and len(rows[index].overflowing) < 2:
                reach *= 8
                (rows[index],) = self._rows([text[:reach]])
        shape = (len(rows), self.context_length)
        batch = {
            "token_ids": np.array([row.ids for row in rows], "int32").reshape(shape),
            "padding_mask": np.array([row.attention_mask for row in rows], "bool").reshape(shape),
        }
        return batch, sum(bool(row.overflowing) for row in rows)

    def _rows(self, texts):
        texts = [CLEANERS[self.clean](text) for text in texts]
        if self.clean == "siglip":
            texts = [between(text, self.specials) for text in texts]
        if self.renamed:
            texts = [text.replace(*self.renamed) for text in texts]
        if self.charsmap is not None:
            texts = [self.charsmap(text) for text in texts]
        if self.clean == "siglip":
            texts = [marked(text, self.specials) for text in texts]
        with in_words("the vocabulary cannot read these texts"):
            return self.vocabulary.encode_batch(texts)

    def decode(self, token_ids) -> list:
        """Rows of ids back to a list of strings: each row up to its end of text, without special ids."""
        rows = [list(map(int, row)) for row in token_ids]
        rows = [row[: row.index(self.eot_id)] if self.eot_id in row else row for row in rows]
        return [text.strip() for text in self.vocabulary.decode_batch(rows)]

    def get_config(self) -> dict:
        """Everything but the vocabulary itself, which `to_json` gives."""
        return {
            "context_length": self.context_length,
            "pad_id": self.pad_id,
            "clean": self.clean,
            "reads_specials": self.reads_specials,
        }

    def to_json(self) -> str:
        """The vocabulary as the text of a `tokenizer.json`."""
        text = self.vocabulary.to_str()
        return json.dumps(json.loads(text) | self._file_steps, ensure_ascii=False) if self._file_steps else text

    def fingerprint(self) -> str:
        """sha256 of the vocabulary and what it does to a text, without context length and padding."""
        return sealing.fingerprint(self.to_json())

    @classmethod
    def from_json(cls, text, **config) -> Self:
        """The inverse of `to_json` and `get_config`."""
        return cls(open_vocabulary(text, "tokenizer.json"), **config)

    def __reduce__(self) -> tuple:  # a copied `tokenizers.Tokenizer` forgets that special tokens in a text are text
        return partial(type(self).from_json, **self.get_config()), (self.to_json(),)


def check_texts(texts, of="") -> None:
    """Stops unless `texts` is a list (or tuple, or array) of strings; `of` says whose, behind the number of one."""
    if isinstance(texts, str):
        raise TypeError(f"texts is one string, but a list of strings is expected: [{texts!r}].")
    if not hasattr(texts, "__iter__"):
        raise TypeError(f"texts is {shown(texts, typed=True)}; give a list of strings.")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {index}{of} is of type {type(text).__name__}, but a string is expected.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text {index}{of} holds half of a surrogate pair, {text[error.start]!r}; decode it anew."
            ) from error


def _decoder(vocabulary):
    """Tokens to text, by what the model is: files carry no decoder, or one that leaves marks of words in the text."""
    model = vocabulary.model
    if isinstance(model, models.WordPiece):
        return decoders.WordPiece(prefix=model.continuing_subword_prefix)
    if isinstance(model, models.Unigram) or vocabulary.token_to_id("▁") is not None:
        return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    if is_clip(vocabulary):  # the mark of a word's end to the symbol for a space, which ByteLevel turns into one
        return decoders.Sequence([decoders.Replace("</w>", "Ġ"), decoders.ByteLevel()])
    return decoders.ByteLevel()
