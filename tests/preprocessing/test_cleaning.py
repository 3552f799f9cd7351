"""Cleaners: against the library that open_clip cleans with, and by hand."""

import html
import re
import string

import ftfy
import pytest

from kzoo.preprocessing.cleaning import CLEANERS

TEXTS = [
    "a photo of a cat",
    "Hello, World!! it's 2024 and we're HERE",
    "café naïve straße",
    "日本語 テスト 😀 👍🏽",
    " lots   of\n\twhite space ",
    "",
    "A&amp;B &lt;tag&gt; #1 @home e=mc^2...",
    "“curly” ‘quotes’",
    "ﬁne ﬂow ＡＢＣ",
    "tab\x00control",
    "e\u0301",
    "&amp;lt;",
    "snake_case_name",
]


def open_clip_cleans(text):
    """The steps that its three cleaners share, and collapsed white space."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text)))).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_cleaners_of_open_clip(text):
    expected = open_clip_cleans(text)
    assert CLEANERS["whitespace"](text) == expected
    assert CLEANERS["openai"](text) == expected.lower()
    without = "".join(c for c in expected.replace("_", " ") if c not in string.punctuation)
    assert CLEANERS["canonicalize"](text) == re.sub(r"\s+", " ", without.lower()).strip()


@pytest.mark.parametrize(
    "clean, text, expected",
    [
        ("big_vision", "A_b, C-d!\n &amp; “Ä”", "a b cd amp “ä”"),
        ("canonicalize", "A_b, C-d!\n &amp; “Ä”", "a b cd ä"),
        ("whitespace", "A_b, C-d!\n &amp; “Ä”", 'A_b, C-d! & "Ä"'),
        ("openai", "A_b, C-d!\n &amp; “Ä”", 'a_b, c-d! & "ä"'),
        ("none", "A_b, C-d!\n &amp; “Ä”", "A_b, C-d!\n &amp; “Ä”"),
    ],
)
def test_what_each_cleaner_does(clean, text, expected):
    assert CLEANERS[clean](text) == expected
