"""What happens to a text before it is cut into tokens. Needs only the standard library."""

import html
import re
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
_TABLE = _QUOTES | _LIGATURES | _FULL_WIDTH | _CONTROLS


def clean_openai(text):
    """The cleaning of OpenAI's CLIP and of open_clip.

    HTML entities resolved twice, ligatures and full-width letters taken apart, curly quotes straightened,
    control characters removed, NFC, white space collapsed, lower case. For this open_clip calls the library
    ftfy, which also repairs text that was decoded with a wrong encoding. That repair is not made here: an
    exported model reads a text as its training did, without a library to install.
    """
    text = html.unescape(html.unescape(text)).translate(_TABLE)
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip().lower()


def clean_nothing(text):
    """The text as it is: the tokenizer file holds its own normaliser."""
    return text


CLEANERS = {"openai": clean_openai, "none": clean_nothing}
