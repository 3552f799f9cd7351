"""Special tokens that a text spells: read as transformers and open_clip read them, or as text like any other."""

import json
import re

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from kzoo.preprocessing.cleaning import clean_siglip

MARK = "▁"  # of a space


def steps_of(vocabulary) -> dict:
    """The steps of a vocabulary that are changed for its rules, as its `tokenizer.json` has them."""
    steps = {"normalizer": vocabulary.normalizer, "pre_tokenizer": vocabulary.pre_tokenizer}
    return {name: None if step is None else json.loads(step.__getstate__()) for name, step in steps.items()}


def clean_within(vocabulary, clean) -> None:
    """Move into a vocabulary what its library does to a text between special tokens, not before it looks for them.

    Args:
        vocabulary: a `tokenizers.Tokenizer`, which is changed.
        clean: a key of `CLEANERS`.
    """
    if clean == "lowercase":
        steps = [normalizers.Lowercase(), vocabulary.normalizer]
        vocabulary.normalizer = normalizers.Sequence([step for step in steps if step is not None])
    if clean == "siglip":  # whose first word alone has a mark, see `marked`
        steps = steps_of(vocabulary)
        if steps["normalizer"] is not None:
            vocabulary.normalizer = _made(normalizers.Sequence([]), _without_prefix(steps["normalizer"]))
        if steps["pre_tokenizer"] is not None:
            vocabulary.pre_tokenizer = _made(pre_tokenizers.Sequence([]), _without_prefix(steps["pre_tokenizer"]))


def _without_prefix(step):
    """A step, or steps, that put no mark before a text."""
    for name in ("normalizers", "pretokenizers"):
        if name in step:
            inner = [_without_prefix(each) for each in step[name] if each["type"] != "Prepend"]
            return step | {name: inner}
    return step | ({"prepend_scheme": "never"} if step["type"] == "Metaspace" else {})


def _made(empty, state):
    key = "normalizers" if isinstance(empty, normalizers.Normalizer) else "pretokenizers"
    state = state if state["type"] == "Sequence" else {"type": "Sequence", key: [state]}
    empty.__setstate__(json.dumps(state).encode())
    return empty


def between(text, specials) -> str:
    """A text as transformers' SigLIP reads it: cleaned between special tokens, with white space around them gone.

    The word behind a special token has no mark of a space before it, and one end of text at the end is no second one.

    Args:
        text: string.
        specials: the end of text, and the other special tokens; none where they are text.
    """
    text = text.replace(MARK, " ")
    parts = re.split("(" + "|".join(map(re.escape, specials)) + ")", text) if specials else [text]
    parts[::2] = map(clean_siglip, parts[::2])
    if len(parts) > 1 and not parts[-1] and parts[-2] == specials[0]:
        parts = parts[:-2]
    return "".join(parts)


def marked(text, specials) -> str:
    """A text with the mark of a space before its first word, unless a special token stands there."""
    return text if not text or text.startswith(tuple(specials)) else MARK + text


def without_ids_from(vocabulary, vocab_size) -> Tokenizer:
    """A vocabulary whose special tokens behind the end of a token table are text, for there is no row to read."""
    added = vocabulary.get_added_tokens_decoder().items()
    if not any(token.special and index >= vocab_size for index, token in added):
        return vocabulary
    content = json.loads(vocabulary.to_str())
    kept = [token for token in content["added_tokens"] if token["id"] < vocab_size or not token["special"]]
    return Tokenizer.from_str(json.dumps(content | {"added_tokens": kept}))


def is_clip(vocabulary) -> bool:
    """Whether a vocabulary is CLIP's, whose special tokens are read out of texts wherever it comes from."""
    return isinstance(vocabulary.model, models.BPE) and vocabulary.model.end_of_word_suffix == "</w>"
