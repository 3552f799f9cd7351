"""The files that hold a vocabulary, kind by kind, and the one form that all of them take here: `tokenizers`."""

import re
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from kzoo.files import limits
from kzoo.files.opening import read_text
from kzoo.files.strict_json import parse_json, read_object
from kzoo.preprocessing import sentencepiece_model
from kzoo.preprocessing.bpe import clip_bpe, read_merges, read_simple_vocab, roberta_bpe
from kzoo.preprocessing.vocabulary_file import (
    check_ids,
    check_ids_kept,
    check_tokens,
    check_vocabulary,
    in_words,
    open_vocabulary,
)

JSON, SIMPLE_VOCAB, VOCAB_AND_MERGES = "tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", ("vocab.json", "merges.txt")


@dataclass(frozen=True)
class Kind:
    """A kind of vocabulary.

    Attributes:
        model: the class of `tokenizers.models` that computes it.
        files: names of the files, beside `tokenizer.json`, that hold it; those of a tuple are read together.
        names: role of a special token -> the tokens that may have it.
        template: roles before and after a text, where no rules of a preset say it.
    """

    model: type
    files: tuple
    names: dict
    template: tuple = ("start", "end")


_LANGUAGE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")  # as FLORES-200 writes them
_FAIRSEQ = {"start": ("<s>",), "pad": ("<pad>",), "end": ("</s>",), "sep": ("</s>",), "unk": ("<unk>",)}
_FAIRSEQ |= {"mask": ("<mask>",)}
_BERT = {"pad": ("[PAD]",), "unk": ("[UNK]",), "start": ("[CLS]", "[DEC]"), "sep": ("[SEP]",), "mask": ("[MASK]",)}
KINDS = {
    "clip_bpe": Kind(
        models.BPE,
        (VOCAB_AND_MERGES, (SIMPLE_VOCAB,)),
        {"start": ("<|startoftext|>", "<start_of_text>"), "end": ("<|endoftext|>", "<end_of_text>")},
    ),
    "sentencepiece": Kind(
        models.Unigram,
        (("spiece.model",),),
        {"end": ("</s>",), "pad": ("<pad>", "</s>"), "unk": ("<unk>",)},  # SigLIP pads with its end
        (None, "end"),
    ),
    "gemma": Kind(
        models.BPE,
        (("tokenizer.model",),),
        {"pad": ("<pad>",), "end": ("<eos>",), "start": ("<bos>",), "unk": ("<unk>",), "mask": ("<mask>",)},
        (None, "end"),
    ),
    "wordpiece": Kind(models.WordPiece, (("vocab.txt",),), _BERT | {"end": ("[SEP]", "[PAD]")}),  # CLIPA: [PAD]
    "roberta_bpe": Kind(models.BPE, (VOCAB_AND_MERGES,), _FAIRSEQ),
    "xlm_roberta": Kind(models.Unigram, (("sentencepiece.bpe.model",),), _FAIRSEQ),
    # its sentencepiece.bpe.model lacks the languages, which stand before each text
    "nllb": Kind(models.BPE, (), {name: _FAIRSEQ[name] for name in ("pad", "end", "unk", "mask")}, (None, "end")),
}


def read_kind(folder, kind) -> tuple:
    """The vocabulary of a folder whose kind is known.

    Returns:
        tuple: a `tokenizers.Tokenizer`, and the path that it was read from. What it puts before and after a text
        is not to be relied on; see `frame`.

    Raises:
        FileNotFoundError: none of the kind's files is there.
        ValueError: a file is there, and holds something else.
    """
    choices = ((JSON,), *KINDS[kind].files)
    paths = _first_there(folder, choices)
    if paths is None:
        raise FileNotFoundError(f"{folder} holds no vocabulary of kind {kind}; looked for {_listed(choices)}.")
    vocabulary = _read(paths, kind)
    expected, got = KINDS[kind].model.__name__, type(vocabulary.model).__name__
    if got != expected:
        raise ValueError(
            f"{paths[0]} holds a vocabulary of type {got}, but one of kind {kind} is of type {expected}; it belongs to "
            "another model."
        )
    return vocabulary, paths[0]


def read_by_hand(path) -> tuple:
    """The vocabulary in a file, or in a folder, whose name says its kind, with the start and end of that kind.

    Returns:
        tuple: a `tokenizers.Tokenizer`, and the path that it was read from.

    Raises:
        FileNotFoundError: nothing with one of the names is there.
    """
    choices = dict.fromkeys([(JSON,), *(files for kind in KINDS.values() for files in kind.files)])
    if path.is_file() and path.suffix in (".json", ".gz") and path.name != "vocab.json":  # by whatever name
        paths = [path]
    else:
        folder = path if path.is_dir() else path.parent
        paths = _first_there(folder, [files for files in choices if path.is_dir() or path.name in files])
    if paths is None:
        raise FileNotFoundError(f"{path} holds no vocabulary; expected {_listed(choices)}.")
    kind = _kind_of(paths)
    vocabulary = _read(paths, kind)
    if kind is not None:
        frame(vocabulary, *framing_ids(vocabulary, kind))
    return vocabulary, paths[0]


def framing_ids(vocabulary, kind) -> list:
    """Ids of start and end in a vocabulary of a kind, by their names; None for one that the kind has not."""
    return [_id_of(vocabulary, KINDS[kind].names.get(role, ())) for role in KINDS[kind].template]


def frame(vocabulary, start_id, end_id) -> None:
    """Let a vocabulary put one id before each text and one after it; None for neither."""
    special = [(vocabulary.id_to_token(index), index) for index in (start_id, end_id) if index is not None]
    before = [] if start_id is None else [special[0][0]]
    after = [] if end_id is None else [special[-1][0]]
    template = processors.TemplateProcessing(single=[*before, "$A", *after], special_tokens=special)
    vocabulary.post_processor = template


def languages_of(vocabulary) -> dict:
    """Name of a language, such as `"eng_Latn"`, -> the id that stands before its texts; {} in most vocabularies."""
    added = vocabulary.get_added_tokens_decoder().items()
    names = {token.content: index for index, token in added if token.special and _LANGUAGE.fullmatch(token.content)}
    return dict(sorted(names.items(), key=lambda each: each[1]))


def language_id(vocabulary, language) -> int:
    """The id that stands before the texts of a language.

    Raises:
        ValueError: a language that the vocabulary has not.
    """
    known = languages_of(vocabulary)
    if language not in known:
        some = ", ".join([*known][:3]) + (", ..." if len(known) > 3 else "")
        knows = f"knows {len(known)} languages: {some}" if known else "has no languages"
        raise ValueError(f"language is {language!r}, but this vocabulary {knows}.")
    return known[language]


def _first_there(folder, choices):
    """Paths of the first files that are all in a folder, or None."""
    paths = ([folder / name for name in files] for files in choices)
    return next((each for each in paths if all(path.exists() for path in each)), None)


def _listed(choices):
    return ", ".join(" with ".join(files) for files in choices)


def _kind_of(paths):
    """The kind of files opened by hand; None for a `tokenizer.json`, which has its own start and end."""
    if len(paths) == 1 and paths[0].suffix == ".json":
        return None
    if paths[0].suffix == ".gz":
        return "clip_bpe"
    names = tuple(path.name for path in paths)
    kinds = [kind for kind, each in KINDS.items() if names in each.files]
    if names == VOCAB_AND_MERGES:  # CLIP's and RoBERTa's have the same names
        vocab = _read_vocab(paths[0])
        kinds = [kind for kind in kinds if any(token in vocab for token in KINDS[kind].names["end"])]
    if not kinds:
        raise ValueError(f"{paths[0]} has neither the end of text of CLIP, <|endoftext|>, nor RoBERTa's </s>.")
    return kinds[0]


def _id_of(vocabulary, names):
    ids = (vocabulary.token_to_id(name) for name in names)
    return next((each for each in ids if each is not None), None)


def _read(paths, kind):
    # gzip, zlib and the Rust of tokenizers have errors of their own
    with in_words(f"{paths[0]} is damaged, or holds something else than its name says"):
        if len(paths) == 1 and paths[0].suffix == ".json":
            return _read_json(paths[0])
        if paths[0].suffix == ".model":
            model = sentencepiece_model.read_model(paths[0])
            return sentencepiece_model.build(model, fairseq=kind == "xlm_roberta")
        return _read_tokens(paths, kind)


def _read_json(path):
    text = read_text(path, limits.VOCABULARY)
    content = parse_json(text, path)
    check_vocabulary(content, path)
    vocabulary = open_vocabulary(text, path)
    check_ids_kept(vocabulary, content.get("added_tokens", ()), path)
    if isinstance(vocabulary.model, models.Unigram):
        return sentencepiece_model.hide_specials(vocabulary)
    return vocabulary


def _read_tokens(paths, kind):
    """A vocabulary whose files list tokens, and merges where there are any; what a text goes through is known."""
    names, merges = KINDS[kind].names, None
    if kind == "wordpiece":
        lines = read_text(paths[0], limits.VOCABULARY).removeprefix("\ufeff").rstrip("\n").split("\n")
        vocab = check_tokens(lines, paths[0])
    elif paths[0].suffix == ".gz":
        vocab, merges = read_simple_vocab(paths[0])
    else:
        vocab, merges = _read_vocab(paths[0]), read_merges(paths[1])
    needed = names.get("unk", names["end"])
    unknown = next((token for token in needed if token in vocab), None)
    if unknown is None:
        raise ValueError(f"{paths[0]} holds no {' or '.join(needed)}, so it is no vocabulary of kind {kind}.")
    if kind == "wordpiece":
        vocabulary = wordpiece(vocab, unknown)
    else:
        vocabulary = clip_bpe(vocab, merges, unknown) if kind == "clip_bpe" else roberta_bpe(vocab, merges)
    vocabulary.add_special_tokens([token for tokens in names.values() for token in tokens if token in vocab])
    return vocabulary


def wordpiece(vocab, unknown) -> Tokenizer:
    """BERT's vocabulary, lower-casing: its cased sort has `bert_normalizer(False)`."""
    vocabulary = Tokenizer(models.WordPiece(vocab, unk_token=unknown))
    vocabulary.normalizer, vocabulary.pre_tokenizer = bert_normalizer(True), pre_tokenizers.BertPreTokenizer()
    return vocabulary


def bert_normalizer(lowercase) -> Any:
    """Control characters out, Chinese characters apart; and where it lower-cases, accents off."""
    return normalizers.BertNormalizer(lowercase=lowercase)


def _read_vocab(path):
    return check_ids(read_object(path, limits.VOCABULARY), path)
