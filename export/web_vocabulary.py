"""A vocabulary as the page reads it: in steps that `@huggingface/tokenizers` does as the library in Rust. No Keras."""

import base64
import json
import re
from typing import Any

from kzoo.export.web_letters import controls, marks, punctuation, spelt_out
from kzoo.preprocessing.cleaning import REPAIRS

# what both understand in the same way: characters, \s \A \z and properties, classes, groups that keep nothing
REGEX = re.compile(
    r"(?:[^\\.^$*+?()\[\]{}|]|\\(?:[sAz]|p\{\w+\}|[^\w\s])|\[\^?(?:[^\\\[\]&]|\\(?:s|p\{\w+\}|[^\w\s]))+\]"
    r"|\(\?[:=!]|[)|]|(?:[*+?]|\{\d+,?\d*\})(?![*+?{]))+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F))
CHINESE += ((0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def page_vocabulary(tokenizer, name) -> dict:
    """What the page needs to give a text the ids that a tokenizer gives it.

    Args:
        tokenizer: a `kzoo.preprocessing.Tokenizer`.
        name: of the model, for sentences.

    Returns:
        dict: JSON alone. `"tokenizer"`, a `tokenizer.json` in the library's steps; the rest is done around it.

    Raises:
        NotImplementedError: the vocabulary has a step that the page does not do in the same way.
    """
    state = json.loads(tokenizer.vocabulary.to_str())
    try:
        model = _model(state["model"])
        normalizer, splits = _steps(state["normalizer"]), _steps(state["pre_tokenizer"])
        added = [_added(each) for each in state["added_tokens"] if tokenizer.reads_specials or not each["special"]]
    except _Unknown as unknown:
        raise NotImplementedError(
            f"the vocabulary of {name} has {unknown}, which a page does not do as kzoo does; write the page without "
            "text_tower, of the labels that it is to know."
        ) from None
    charsmap = tokenizer.charsmap
    steps = {"normalizer": normalizer, "pre_tokenizer": splits, "post_processor": None, "decoder": None}
    return {
        "tokenizer": {"added_tokens": added, "model": model, **steps},
        "clean": tokenizer.clean,
        "repairs": {chr(code): new or "" for code, new in REPAIRS.items()},
        "specials": tokenizer.specials,
        "renamed": tokenizer.renamed,
        "charsmap": None if charsmap is None else base64.b64encode(charsmap.blob).decode(),
        "contextLength": tokenizer.context_length,
        "ids": {"pad": tokenizer.pad_id, "start": tokenizer.start_id, "end": tokenizer.eot_id},
    }


class _Unknown(Exception):
    """What the page does not do in the same way."""


def _model(model):
    kind = model["type"]
    if kind == "BPE" and not model.get("continuing_subword_prefix") and not model.get("dropout"):
        return model
    if kind == "WordPiece" or (kind == "Unigram" and not model.get("byte_fallback")):
        return model
    raise _Unknown(f"a {kind} model with options of its own")


def _added(token):
    if token["single_word"]:
        raise _Unknown(f"the token {token['content']!r}, which must stand alone")
    return token


def _steps(step) -> Any:
    """A step, or several, in those that the library does as Rust does; None for none."""
    if step is None:
        return None
    return STEPS.get(step["type"], _unknown)(step)


def _unknown(step):
    raise _Unknown(f"a step {step['type']}")


def _sequence(step):
    key = "normalizers" if "normalizers" in step else "pretokenizers"
    return step | {key: [_steps(each) for each in step[key]]}


def _normalizers(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def _pre_tokenizers(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _pattern(pattern):
    """A pattern as a regular expression."""
    if "String" in pattern:
        return re.sub(r"[^\w\s]", r"\\\g<0>", pattern["String"])
    if REGEX.fullmatch(pattern["Regex"]) is None:
        raise _Unknown(f"the expression {pattern['Regex']!r}")
    return spelt_out(pattern["Regex"])


def _replace(pattern, content):
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _cut(pattern):
    """Cut a text where an expression of no length is found."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _replaced(step):
    return _replace(_pattern(step["pattern"]), step["content"].replace("$", "$$$$"))


def _prepended(step):  # to no text that is empty
    return _replace(r"\A(?=[\s\S])", step["prepend"].replace("$", "$$$$"))


def _bert(step):
    steps = []
    if step["clean_text"]:
        steps += [_replace(f"[{controls()}]", ""), _replace(r"\s", " ")]
    if step["handle_chinese_chars"]:
        steps.append(_replace(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in CHINESE)}]", " $& "))
    if step["lowercase"] if step["strip_accents"] is None else step["strip_accents"]:
        steps += [{"type": "NFD"}, _replace(f"[{marks()}]", "")]
    return _normalizers(*steps, *([{"type": "Lowercase"}] if step["lowercase"] else []))


def _byte_level(step):
    before = [_replace(r"\A(?=[^ ])", " ")] if step["add_prefix_space"] else []
    before += [_cut(spelt_out(GPT2))] if step["use_regex"] else []
    return _pre_tokenizers(*before, step | {"add_prefix_space": False, "use_regex": False})


def _split(step):
    pattern, behaviour = _pattern(step["pattern"]), step["behavior"]
    if behaviour == "Removed" or (behaviour == "Isolated" and not step["invert"]):
        return step | {"pattern": {"Regex": pattern}}
    cuts = {"MergedWithPrevious": f"(?<={pattern})", "MergedWithNext": f"(?={pattern})"}
    if behaviour not in cuts or step["invert"]:
        raise _Unknown(f"a split {behaviour}")
    return _cut(cuts[behaviour])


def _metaspace(step):
    words = [_cut(f"(?={re.escape(step['replacement'])})")] if step["split"] else []
    return _pre_tokenizers(step, *words)


def _words(step):
    return {"type": "Split", "pattern": {"Regex": r"(?:(?!\s)[\s\S])+"}, "behavior": "Removed", "invert": True}


def _punctuated(step):
    mark = f"[{punctuation()}]"
    return _pre_tokenizers(_words(step), _cut(f"(?={mark})"), _cut(f"(?<={mark})"))


STEPS = {
    "Sequence": _sequence,
    "Lowercase": lambda step: step,
    "Replace": _replaced,
    "Prepend": _prepended,
    "BertNormalizer": _bert,
    "ByteLevel": _byte_level,
    "Split": _split,
    "Metaspace": _metaspace,
    "WhitespaceSplit": _words,
    "BertPreTokenizer": _punctuated,
    **dict.fromkeys(FORMS, lambda step: step),
}
