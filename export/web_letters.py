"""What is a letter, a mark or a sign to `tokenizers`, as ranges in an expression that a browser reads.

Browsers have tables of their own year of Unicode; so has `tokenizers`, and of 2015 for the steps of BERT.
"""

import re
from functools import lru_cache
from itertools import pairwise

from tokenizers import Regex, normalizers, pre_tokenizers

# where Unicode has put anything, but for planes of private use
CODES = (*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0xE0200))
EVERY = "".join(map(chr, CODES))
APART = "$"  # no other character has a part that is this one


def ranges(codes) -> str:
    """Code points in ascending order as what stands between the brackets of an expression."""
    codes = list(codes)
    if not codes:
        raise ValueError("there are no code points, and so no ranges.")
    ends = [code for pair in pairwise(codes) if pair[1] - pair[0] > 1 for code in pair]
    ends = [codes[0], *ends, codes[-1]]
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in zip(ends[::2], ends[1::2]))


@lru_cache
def of_property(name) -> str:
    """Those that an expression finds by `\\p{name}`."""
    split = pre_tokenizers.Split(Regex(f"\\p{{{name}}}"), "removed", invert=True)
    return ranges(ord(found) for found, _ in split.pre_tokenize_str(EVERY))


@lru_cache
def controls() -> str:
    """Those that BERT's cleaning takes out."""
    return r"\p{Co}" + _gone(normalizers.BertNormalizer(True, False, False, False))


@lru_cache
def marks() -> str:
    """Those that BERT takes off as accents."""
    return _gone(normalizers.BertNormalizer(False, False, True, False))


@lru_cache
def punctuation() -> str:
    """Those that BERT takes for words of their own."""
    text = "a".join(each for each in EVERY if not each.isspace())
    found = {piece for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)} & set(EVERY) - {"a"}
    return ranges(sorted(map(ord, found)))


def _gone(normalizer):
    text = normalizer.normalize_str(APART.join(each for each in EVERY if each != APART))
    left = iter(text.split(APART))
    return ranges(code for code in CODES if chr(code) != APART and not next(left))


def spelt_out(expression) -> str:
    """An expression with ranges in the place of its properties."""

    def of(match):
        if match[1]:
            return f"[{of_property(match[1])}]"
        return re.sub(r"\\p\{(\w+)\}", lambda inner: of_property(inner[1]), match[0])

    return re.sub(r"\\p\{(\w+)\}|\[(?:\\.|[^\]\\])*\]|\\.", of, expression)
