"""The members of a tar file by their headers alone: where each regular file lies, and where a tar stops being one.

Python's `tarfile` takes four times as long for the headers of a shard, and reads records of any size that a header
asks for. Here nothing is read but headers and records of names, each within a limit; contents are never touched.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kzoo.files import limits

BLOCK = 512
REGULAR, LONG_NAME, EXTENDED, SPARSE = b"0\x007", b"L", b"xX", b"S"  # kinds of members, by the byte that says them
# how what gzip, bzip2, xz, zstd and zip have written begins
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\3\4")
OLD_FOLDER = "/"  # how the name of a folder ends in tars that know no other kind than files


@dataclass(frozen=True)
class Member:
    """A regular file in a tar.

    Attributes:
        name: as the tar has it; nothing is ever written under it.
        start: byte of its content.
        size: bytes of it.
    """

    name: str
    start: int
    size: int


class Damaged(ValueError):
    """A tar that is cut off or is none from some byte on; all members before it are good."""


def members(read, size) -> Iterator[Member]:
    """Regular files of a tar (ustar, GNU or pax), in their order; folders, links, pipes and devices are passed over.

    Args:
        read: function `(start, count)` that gives so many bytes, fewer at the end.
        size: bytes of the tar.

    Yields:
        `Member`. The last may reach over the end of the file, after which `Damaged` is raised.

    Raises:
        Damaged: the file ends within a member or without the blocks of zeros that close a tar; a header that is none;
            more than `limits.MEMBERS`.
    """
    place, count, named, sized = 0, 0, None, None
    while True:
        header = read(place, BLOCK)
        if len(header) < BLOCK:
            raise Damaged(
                f"it ends at byte {size:,} without the blocks of zeros that close a tar: it is cut off there"
                if place == size and size
                else f"it ends at byte {size:,}, within a header"
            )
        if not any(header):
            return
        length = _checked(header, place)
        kind, start = header[156:157], place + BLOCK
        count += 1
        if count > limits.MEMBERS:
            raise Damaged(
                f"it has more than {limits.MEMBERS:,} members; write smaller shards, or raise kzoo.files.limits.MEMBERS"
            )
        if kind == SPARSE:
            raise Damaged(f"the member at byte {place:,} is sparse, and where it ends is not read; pack it as it is")
        if kind in EXTENDED or kind == LONG_NAME:
            if length > limits.RECORD:
                raise Damaged(f"the record of a name at byte {place:,} has {length:,} bytes, which no name needs")
            record = read(start, length)
            if kind == LONG_NAME:
                named = _text(record.split(b"\0")[0])
            else:
                named, sized = _extended(record, place)
        else:
            length = length if sized is None else sized
            name = _name(header) if named is None else named
            named = sized = None
            if kind in REGULAR and not name.endswith(OLD_FOLDER):
                yield Member(name, start, length)
        place = start + -(-length // BLOCK) * BLOCK
        if place > size:
            raise Damaged(f"it ends at byte {size:,}, within a member that goes on to byte {start + length:,}")


def reader(file) -> Callable:
    """The function `(start, count)` to bytes of an open file, for several threads at once."""
    lock = threading.Lock()

    def sought(handle, count, start):  # on Windows, which reads only where it is
        with lock:
            file.seek(start)
            return file.read(count)

    once = getattr(os, "pread", sought)

    def read(start, count):
        found = once(file.fileno(), count, start)
        while len(found) < count:  # a read may end early
            more = once(file.fileno(), count - len(found), start + len(found))
            if not more:
                break
            found += more
        return found

    return read


def _checked(header, place):
    """The size that a header gives, if the header is one."""
    try:
        told = _number(header[148:156])
        length = _number(header[124:136])
    except ValueError:
        told = length = None
    whole = sum(header) - sum(header[148:156]) + 8 * 32  # the sum is made as if blanks stood in its place
    if told != whole or length is None or length < 0:
        if place == 0 and header.startswith(COMPRESSED):
            raise Damaged(
                "what stands at byte 0 is no header of a tar: it is compressed, and a sample within could be read only "
                "after all before it; unpack it to .tar, which pictures lose nothing by"
            )
        raise Damaged(f"what stands at byte {place:,} is no header of a tar, and what lies behind it cannot be read")
    return length


def _number(field):
    """Digits of base 8 or, of what is too large for them, bytes behind one that is 128."""
    if field[0] == 128:
        return int.from_bytes(field[1:], "big")
    return int(field.split(b"\0")[0].strip() or b"0", 8)


def _name(header):
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name):
    return name.decode("utf-8", "replace")


def _extended(record, place):
    """Name and size as a record of pax says them, None for what it does not say."""
    named = sized = None
    while record.strip(b"\0"):
        count = record.partition(b" ")[0]
        if not count.isdigit() or not 0 < int(count[:9]) <= len(record):
            raise Damaged(f"the record of pax at byte {place:,} cannot be read")
        key, _, value = record[len(count) + 1 : int(count) - 1].partition(b"=")
        if key == b"path":
            named = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 19:
                raise Damaged(f"the record of pax at byte {place:,} says no size")
            sized = int(value)
        record = record[int(count) :]
    return named, sized
