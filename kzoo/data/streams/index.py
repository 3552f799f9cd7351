"""How many samples each shard has: from an index beside the shards, or from their headers."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from kzoo.data.streams.locations import local_path, short
from kzoo.files import limits
from kzoo.files.opening import as_text, read_all
from kzoo.files.schema import Each, Items, Object, Rule, check, whole
from kzoo.files.strict_json import parse_json

INDEX, SIZES = "index.json", "sizes.json"  # of kzoo; of those who write tars for open_clip, with numbers alone
KIND, VERSION = "shards", 1
COUNT = whole(0, "MEMBERS")
BYTES = Rule("a number of bytes", lambda value: isinstance(value, int) and 0 <= value < 2**63)
SHA256 = Rule(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef"),
)
NAME = Rule("the name of a file", lambda value: isinstance(value, str) and value == os.path.basename(value) != "")
SHARD = Object({"name": NAME, "samples": COUNT, "bytes": BYTES, "sha256": SHA256}, ("name", "samples"))
RECORD = Object({"shards": Items(SHARD)}, ("shards",))
MANY = 32  # shards of which the counting is shown
THREADS = 8  # that look at headers, for which they mostly wait


@dataclass(frozen=True)
class Known:
    """What an index says of a shard: `samples`, and `bytes` and `sha256` or None."""

    samples: int
    bytes: int | None = None
    sha256: str | None = None


def read_index(place, opener) -> dict:
    """An index by the names of shards.

    Args:
        place: path or URL, of an `index.json` of kzoo or a `sizes.json`, an object of names and numbers.
        opener: an `Opener`.

    Raises:
        ValueError: it cannot be read, or is none.
    """
    return _table(_content(place, opener), place)


def _table(content, place):
    if _is_index(content):
        check(content, RECORD, place)
        return {
            each["name"]: Known(**{name: each.get(name) for name in ("samples", "bytes", "sha256")})
            for each in content["shards"]
        }
    check(content, Each(COUNT), place)
    return {name: Known(count) for name, count in content.items()}


@dataclass
class Counted:
    """Samples of each shard.

    Attributes:
        counts: list of samples, by shard.
        known: what the index says of each, or None.
        problems: a sentence for each shard that is not whole.
    """

    counts: list
    known: list
    problems: list = field(default_factory=list)


def counted(names, opener, look, index=None) -> Counted:
    """The samples of shards.

    Args:
        names: of all shards.
        opener: an `Opener`.
        look: function of the number of a shard to the shard, as `TarShard`, for those that no index knows.
        index: path or URL of an index; None takes the one that lies beside shards that are files here.

    Raises:
        ValueError: an index that is none.
    """
    tables = {} if index is None else {None: read_index(index, opener)}
    found = Counted([], [])
    for name in names:
        path = local_path(name)
        folder = None if index is not None or path is None else os.path.dirname(path)
        if folder is not None and folder not in tables:
            tables[folder] = _beside(folder, opener)
        known, problem = _fitting(path, tables.get(folder, {}).get(short(name)))
        found.known.append(known)
        found.counts.append(known and known.samples)
        found.problems += [f"{short(name)}: {problem}"] if problem else []
    lacking = [number for number, count in enumerate(found.counts) if count is None]
    with ThreadPoolExecutor(THREADS) as threads:
        results = threads.map(lambda number: _look(look, number), lacking)
        for number, (count, problem) in zip(lacking, shown(results, "counting samples", len(lacking))):
            found.counts[number] = count
            found.problems += [problem] if problem else []
    return found


def shown(steps, what, count, least=MANY) -> Iterator:
    """Steps of long work, under a bar where there are many and somebody looks."""
    console, few = Console(stderr=True), count is not None and count < least
    return track(steps, what, count, console=console, transient=True, disable=few or not console.is_terminal)


def _fitting(path, known):
    """`(known, problem)`: what an index says of a shard, unless the file is another one now."""
    if known is None or path is None or known.bytes is None or not os.path.isfile(path):
        return known, None
    size = os.stat(path).st_size
    if size == known.bytes:
        return known, None
    return None, (
        f"it has {size:,} bytes, but the index beside it records {known.bytes:,}: it is cut off, or another file."
    )


def _look(look, number):
    """`(samples, problem)` of a shard."""
    try:
        shard = look(number)
    except ValueError as error:
        return 0, str(error)
    return len(shard), shard.problem


def _is_index(content):
    return isinstance(content, dict) and content.get("kzoo") == KIND


def _content(place, opener):
    with opener(os.fspath(place)) as file:
        return parse_json(as_text(read_all(file, limits.INDEX, place), place), place)


def _beside(folder, opener):
    """The index that lies in a folder; an `index.json` of something else is none."""
    for place in (Path(folder) / name for name in (INDEX, SIZES)):
        content = _content(place, opener) if place.is_file() else None
        if content is not None and (place.name == SIZES or _is_index(content)):
            return _table(content, place)
    return {}
