"""One tar shard of WebDataset: which members make a sample, and what is read of it."""

import re
from collections.abc import Iterator

import numpy as np

from kzoo.data.captions import captions_of
from kzoo.data.folders import IMAGE_SUFFIXES
from kzoo.data.sources import Row
from kzoo.data.streams.members import Damaged, members, reader
from kzoo.files import limits
from kzoo.files.strict_json import parse_json
from kzoo.files.words import on_one_line

# as WebDataset divides names: the key ends at the first point of the last part; what begins with one is hidden
PARTS = re.compile(r"((?:.*/|)[^./][^./]*)\.([^/]+)", re.DOTALL)
META = re.compile(r"__[^/]*__($|/)")  # what WebDataset keeps in a shard for itself
PICTURES = frozenset(ending[1:] for ending in (*IMAGE_SUFFIXES, ".jp2", ".ppm"))
TEXT, RECORD = "txt", "json"
LIST, ONE = "captions", "caption"  # fields of a .json
PICTURE_AT, TEXT_AT, RECORD_AT = 0, 2, 4  # columns of `TarShard.places`, each a start and a size
NONE, TWICE = -1, -2  # in place of a start


class TarShard:
    """The samples of a tar, found by one look at its headers and read one by one.

    Args:
        file: the tar, open.
        name: what it is called in sentences.
        asked: `Asked`: what is read of a sample.

    Attributes:
        keys: of the samples, in their order.
        problem: why the tar is not whole, or None.
    """

    def __init__(self, file, name, asked):
        self.file, self.name, self.asked = file, name, asked  # the file stays open as long as somebody reads here
        self.size = file.seek(0, 2)
        self.read, self.problem = reader(file), None
        self.keys, places = [], []
        for key, place in self._samples():
            self.keys.append(key)
            places.append(place)
        self.places = np.array(places, "int64").reshape(-1, 6)

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, number) -> str:
        """Where a sample stands, for a sentence."""
        return f"{self.name}: {on_one_line(self.keys[number])[:200]}"

    def row(self, number) -> Row:
        """A sample, with the bytes of its picture.

        Raises:
            ValueError: no picture, no caption, or what cannot be read; the sentence names shard and key.
        """
        captions, more = self.texts(number)
        return Row(self.picture(number), captions, self.place(number), more)

    def picture(self, number) -> bytes:
        """The picture of a sample as it is packed; for the errors see `row`."""
        return self._content(number, PICTURE_AT, "picture", limits.PICTURE)

    def texts(self, number) -> tuple:
        """`(captions, more)` of a sample, without its picture.

        Raises:
            ValueError: see `row`.
        """
        asked, record = self.asked, None
        if self.places[number, RECORD_AT] != NONE and (asked.caption_key != TEXT or asked.columns):
            record = self._record(number)
        captions, problem = self._captions(number, record)
        if problem:
            raise ValueError(f"{self.place(number)}: {on_one_line(problem)}.")
        return captions, self._more(number, record, len(captions))

    def _samples(self) -> Iterator[tuple]:
        """Keys, each with starts and sizes of picture, text and record."""
        key, place, seen = None, None, set()
        try:
            for member in members(self.read, self.size):
                parts = PARTS.fullmatch(member.name)
                if parts is None or META.match(member.name):
                    continue
                if parts[1] != key:
                    if key is not None:
                        yield key, place
                    key, place, seen = parts[1], [NONE] * 6, set()
                ending = parts[2].lower()
                at, twice = self._column(ending), ending in seen
                seen.add(ending)
                if at is not None and (twice or place[at] == NONE):  # of several pictures the first is read
                    place[at], place[at + 1] = (TWICE, 0) if twice else (member.start, member.size)
        except Damaged as error:
            self.problem = f"{self.name}: {error}."
        if key is not None:
            yield key, place

    def _column(self, ending):
        """Where the place of a member is noted, None for what is not read."""
        wanted = self.asked.image_key
        if ending == wanted or (wanted is None and ending in PICTURES):
            return PICTURE_AT
        return {TEXT: TEXT_AT, RECORD: RECORD_AT}.get(ending)

    def _content(self, number, at, what, limit):
        start, size = self.places[number, at : at + 2].tolist()
        if start == TWICE:
            raise ValueError(f"{self.place(number)}: it has two members for its {what}.")
        if start == NONE:
            wanted = f" .{self.asked.image_key}" if at == PICTURE_AT and self.asked.image_key else ""
            raise ValueError(
                f"{self.place(number)}: it has no {what}{wanted}; the members of a sample have one name up to the "
                "first point, and lie beside each other."
            )
        if size > limit:
            raise ValueError(
                f"{self.place(number)}: its {what} has {size:,} bytes, more than the {limit:,} that are read; "
                "kzoo.files.limits raises that."
            )
        content = self.read(start, size)
        if len(content) < size:
            raise ValueError(f"{self.place(number)}: the shard ends within its {what}.")
        return content

    def _decoded(self, number, at, what):
        content = self._content(number, at, what, limits.CONFIG)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.place(number)}: its {what} is not UTF-8: {error.reason}.") from error

    def _record(self, number):
        record = parse_json(self._decoded(number, RECORD_AT, "record (.json)"), f"{self.place(number)}: it", False)
        if not isinstance(record, dict):
            raise ValueError(f"{self.place(number)}: its record (.json) holds no object.")
        return record

    def _captions(self, number, record):
        """`(captions, problem)`: a list in the record goes before the text, and that before a single one there."""
        wanted, record = self.asked.caption_key, record or {}
        if wanted is not None and wanted != TEXT:
            if wanted not in record:
                return None, f"its record (.json) has no {wanted!r}, only {', '.join(map(str, record)) or 'nothing'}"
            return captions_of(record[wanted], wanted)
        if wanted is None and isinstance(record.get(LIST), list):
            return captions_of(record[LIST], LIST)
        if self.places[number, TEXT_AT] != NONE or wanted == TEXT or not {LIST, ONE} & set(record):
            return captions_of(self._decoded(number, TEXT_AT, "caption (.txt)").strip(), "caption")
        return captions_of(record[LIST if LIST in record else ONE], "caption")

    def _more(self, number, record, count):
        """What goes with the captions, by column."""
        found = {}
        for name in self.asked.columns:
            if record is None or name not in record:
                raise ValueError(f"{self.place(number)}: its record (.json) has no {name!r}.")
            found[name] = [self.asked.number(name, record[name], self.place(number))] * count
        return found
