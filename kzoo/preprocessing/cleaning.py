"""What happens to a text before it is cut into tokens. Needs only the standard library."""

import html
import re
import string
import unicodedata

# code point -> what stands for it; None drops it
_QUOTES = dict.fromkeys(map(ord, "\u02bc\u2018\u2019\u201a\u201b"), "'")
_QUOTES |= dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"')
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in (0x0132, 0x0133, *range(0xFB00, 0xFB07))}
_DIGRAPHS = (*range(0x01C7, 0x01CD), *range(0x01F1, 0x01F4))
_LIGATURES |= {code: unicodedata.normalize("NFKD", chr(code)) for code in _DIGRAPHS}
_LIGATURES |= {0x0149: "'n", 0x01C4: "D\u017d", 0x01C5: "D\u017e", 0x01C6: "d\u017e", 0xFB05: "\u017ft"}
_FULL_WIDTH = {code: unicodedata.normalize("NFKC", chr(code)) for code in (0x3000, *range(0xFF01, 0xFFEF))}
_CONTROLS = dict.fromkeys((*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0xFEFF, *range(0x206A, 0x2070)))
_CONTROLS |= dict.fromkeys(range(0xFFF9, 0xFFFD))
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
REPAIRS = _QUOTES | _LIGATURES | _FULL_WIDTH | _CONTROLS  # code point -> what stands for it


def repair(text) -> str:
    """What open_clip does to every text first, whatever comes then.

    HTML entities resolved twice, ligatures and full-width letters taken apart, curly quotes straightened,
    control characters removed, NFC. For this open_clip calls the library ftfy, which also repairs text that was
    decoded with a wrong encoding. That repair is not made here: an exported model reads a text as its training
    did, without a library to install.
    """
    return unicodedata.normalize("NFC", html.unescape(html.unescape(text)).translate(REPAIRS))


def clean_whitespace(text) -> str:
    """Repaired, white space collapsed, case kept: open_clip's towers of transformers (its `"whitespace"`)."""
    return re.sub(r"\s+", " ", repair(text)).strip()


def clean_openai(text) -> str:
    """Repaired, white space collapsed, lower case: OpenAI's CLIP and open_clip's (its `"lower"`)."""
    return clean_whitespace(text).lower()


def clean_big_vision(text) -> str:
    """SigLIP as big_vision trained it: "_" to a space, ASCII punctuation out, lower case, white space collapsed."""
    return " ".join(text.replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def clean_canonicalize(text) -> str:
    """SigLIP in open_clip (its `"canonicalize"`): the same after a repair, which straightens quotes for removal."""
    return clean_big_vision(repair(text))


def clean_siglip(text) -> str:
    """SigLIP in transformers: as big_vision, but "_" goes like all punctuation; between special tokens."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def clean_nothing(text) -> str:
    """The text as it is: the tokenizer file holds its own normaliser."""
    return text


CLEANERS = {
    "openai": clean_openai,
    "whitespace": clean_whitespace,
    "canonicalize": clean_canonicalize,
    "big_vision": clean_big_vision,
    "siglip": clean_nothing,  # between special tokens, see `kzoo.preprocessing.special_tokens`
    # SigLIP 2: its vocabularies do not all do it, and all were trained on it; between special tokens, too
    "lowercase": clean_nothing,
    "none": clean_nothing,
}
