"""The character map inside a sentencepiece model, applied as sentencepiece applies it. Needs only tokenizers.

`tokenizers` has a normaliser for these maps, `Precompiled`, but it replaces whole grapheme clusters by what their
first characters map to: "e" with two accents loses the second one. So a vocabulary keeps its map in its
`tokenizer.json`, where other programs find it, and here the map is lifted out and applied before the text gets there.
"""

import base64
import json
import struct

from tokenizers import normalizers

from kzoo.files import limits
from kzoo.files.words import said_by

DAMAGED = "the character map of the vocabulary is damaged; fetch the file again"


class Charsmap:
    """Longest-match replacement of characters by a precompiled map, a double-array trie over UTF-8.

    Args:
        blob: the bytes `precompiled_charsmap` of a sentencepiece model.

    Attributes:
        blob: the same.

    Example:
        >>> Charsmap(model.charsmap)("ﬁne\\u3000№ ②")
        'fine No 2'

    Reference:
        Kudo and Richardson, SentencePiece, 2018, arXiv 1808.06226.
    """

    def __init__(self, blob):
        size = int.from_bytes(blob[:4], "little")
        if size % 4 or size < 4 or 4 + size > len(blob):
            raise ValueError(f"{DAMAGED}.")
        self.blob = blob
        self.units = struct.unpack_from(f"<{size // 4}I", blob, 4)
        self.texts = blob[4 + size :]
        # most texts are ASCII, and no released map has a key that begins with two ASCII characters
        firsts = [place for byte in range(128) if (place := self._child(0, byte)) is not None]
        single = all(self._child(place, byte) is None for place in firsts for byte in range(128))
        self.ascii = {byte: self._replaced(chr(byte)) for byte in range(128)} if single else None

    def __call__(self, text) -> str:
        if self.ascii is not None and text.isascii():
            return text.translate(self.ascii)
        return self._replaced(text)

    def _replaced(self, text):
        try:
            return self._replaced_by_units(text)
        except (IndexError, ValueError) as error:  # a unit leads out of the map, or a text has no end
            raise ValueError(f"{DAMAGED} ({said_by(error)}).") from error

    def _replaced_by_units(self, text):
        data, parts, at = text.encode("utf-8"), [], 0
        while at < len(data):
            length, replacement = self._longest(data, at)
            parts.append(data[at : at + length] if replacement is None else replacement)
            at += length
        return b"".join(parts).decode("utf-8")

    def _longest(self, data, at):
        """Bytes that the longest key at a place covers and what stands for it; else one character and None."""
        length, value, place = 0, None, 0
        for position in range(at, len(data)):
            place = self._child(place, data[position])
            if place is None:
                break
            if self.units[place] >> 8 & 1:  # a key ends here, its value is the child of no byte
                value = self.units[place ^ _offset(self.units[place])] & 0x7FFFFFFF
                length = position + 1 - at
        if value is None:
            return _character_length(data[at]), None
        # a map that puts pages in place of a character has no end where one is looked for
        return length, self.texts[value : self.texts.index(b"\0", value, value + limits.INSERTED)]

    def _child(self, place, byte):
        """Place of a unit's child, or None where it has no child for this byte."""
        child = place ^ _offset(self.units[place]) ^ byte
        return child if child < len(self.units) and self.units[child] & 0x800000FF == byte else None


def _offset(unit):
    return unit >> 10 << ((unit & 0x200) >> 6)


def _character_length(first_byte):
    return 1 if first_byte < 0x80 else 2 if first_byte < 0xE0 else 3 if first_byte < 0xF0 else 4


def lift(vocabulary) -> Charsmap | None:
    """Take the map out of a vocabulary whose normaliser starts with one.

    Args:
        vocabulary: a `tokenizers.Tokenizer`; its normaliser keeps only what follows the map.

    Returns:
        the `Charsmap`, None where there is none.
    """
    if vocabulary.normalizer is None:
        return None
    state = json.loads(vocabulary.normalizer.__getstate__())
    steps = state["normalizers"] if state["type"] == "Sequence" else [state]
    if not steps or steps[0]["type"] != "Precompiled":
        return None
    rest = json.dumps({"type": "Sequence", "normalizers": steps[1:]})
    normalizer = normalizers.Sequence([])
    normalizer.__setstate__(rest.encode())
    vocabulary.normalizer = normalizer
    return Charsmap(base64.b64decode(steps[0]["precompiled_charsmap"]))
