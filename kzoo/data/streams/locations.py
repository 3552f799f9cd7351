"""Which shards a pattern stands for, and how one is opened: a file where it lies, any other fetched whole before."""

import glob
import hashlib
import itertools
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlparse
from urllib.request import url2pathname

from kzoo.arguments import shown
from kzoo.data.streams.braces import braced
from kzoo.extras import require
from kzoo.files import disk
from kzoo.files.opening import open_regular
from kzoo.files.single import replacing
from kzoo.files.words import on_one_line, said_by

TAR, PARQUET = ".tar", ".parquet"
PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst")
PACKED_TARS = (".tgz", *(f"{TAR}{ending}" for ending in PACKED))
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: one is a disk of Windows
COMMAND = "pipe"
WEB = ("http", "https", "ftps", "sftp")  # what `webdataset` fetches with curl
IN_A_URL = "%/:?#[]@!$&'()*+,;=~"  # what may stand in one beside letters and digits
EXIT = re.compile(r": exit (-?\d+) \(")  # how `webdataset` says that the program which fetches has failed
OF_CURL = {
    3: "the address is none",
    6: "the name of the server is unknown",
    7: "the server takes no connection",
    18: "it was cut off on the way",
    22: "the server does not give it: it is not there, or not for everybody",
    28: "the server does not answer in time",
    35: "the connection cannot be made secure",
    56: "the connection broke off",
    60: "the server's certificate cannot be trusted",
}
PIECE = 2**20  # bytes that are fetched at a time
PATIENCE = 0.2  # seconds between looks at what another process fetches


def is_shards(source) -> bool:
    """Whether a source, of which others are tables and folders of pictures, is of shards.

    Example:
        >>> is_shards("data-{0000..0009}.tar"), is_shards("photos.csv")
        (True, False)
    """
    if isinstance(source, (list, tuple)):
        return bool(source) and all(isinstance(each, (str, os.PathLike)) and is_shards(each) for each in source)
    if not isinstance(source, (str, os.PathLike)):
        return False
    name = os.fspath(source)
    if scheme_of(name) == COMMAND or _ending(name) in (TAR, PARQUET) or _is_packed(name):
        return True
    return os.path.isdir(name) and any(_ending(each) in (TAR, PARQUET) for each in os.listdir(name))


def expanded(source) -> list[str]:
    """The names of all shards of a source, in order.

    Args:
        source: see `kzoo.data.shards`.

    Raises:
        TypeError: a source of another type.
        ValueError: no shard, too many, or one twice.
    """
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if not isinstance(source, (list, tuple)) or not all(isinstance(each, (str, os.PathLike)) for each in source):
        raise TypeError(
            f"the source is {shown(source, typed=True)}; give the path, URL or pattern of shards, such as "
            "'data-{0000..0999}.tar', a folder of them, a list of these, or a data set of Hugging Face."
        )
    names = [name for each in source for name in _expanded(os.fspath(each))]
    if not names:
        raise ValueError("the source is an empty list; give at least one shard.")
    twice = next((name for name, again in itertools.pairwise(sorted(names)) if name == again), None)
    if twice is not None:
        raise ValueError(
            f"the source names {twice} twice, whose samples would be read twice in an epoch; name it once."
        )
    return names


def _expanded(name):
    if not name.strip() or "\0" in name or name == "-":
        raise ValueError(f"the source names {name!r}, which is no shard; give a path or a URL.")
    if scheme_of(name) is None and os.path.lexists(name) and not os.path.isdir(name):
        return [name]  # whatever stands in its name
    if scheme_of(name) == COMMAND:
        return braced(name)
    names = [each for part in braced(name) for each in ([part] if scheme_of(part) else _globbed(part))]
    packed = next((each for each in names if _ending(each) in PACKED), None)
    if packed is not None:
        raise ValueError(
            f"{packed} is compressed, and a sample within could be read only after all before it; unpack it to .tar, "
            "which pictures lose nothing by."
        )
    return names


def _globbed(name):
    if os.path.isdir(name):
        wanted = [each for each in os.listdir(name) if _ending(each) in (TAR, PARQUET) or _is_packed(each)]
        found = sorted(os.path.join(name, each) for each in wanted)
        what = f"the folder {name} holds no file that ends in {TAR} or {PARQUET}"
    elif glob.has_magic(name):
        found, what = sorted(glob.glob(name)), f"no file fits the pattern {name}"
    else:
        return [name]
    if not found:
        raise ValueError(f"{what}; give the paths of shards.")
    return found


def scheme_of(name) -> str | None:
    """How a name is fetched, such as `"https"`; None of a path."""
    found = SCHEME.match(name)
    return found and found[1].lower()


def _ending(name):
    path = urlparse(name).path if scheme_of(name) not in (None, COMMAND) else name
    return os.path.splitext(path)[1].lower()


def _is_packed(name):
    return name.lower().endswith(PACKED_TARS)


def is_parquet(name) -> bool:
    return _ending(name) == PARQUET


def local_path(name) -> str | None:
    """The path of a shard that is a file here, None for what is fetched."""
    scheme = scheme_of(name)
    if scheme is None:
        return name
    return url2pathname(urlparse(name).path) if scheme == "file" else None


def short(name) -> str:
    """What a shard is called in sentences: the last part of its path, a command as it is."""
    scheme = scheme_of(name)
    if scheme != COMMAND:
        name = os.path.basename(name if scheme is None else unquote(urlparse(name).path)) or name
    return on_one_line(name)[:200]


class Opener:
    """Opens shards.

    Args:
        cache: path of a folder in which fetched shards are kept; None: they lie in the folder for temporary files for
            as long as they are read, and no longer than this process lives.
        allow_pipes: whether commands are run.
    """

    def __init__(self, cache=None, allow_pipes=False):
        self.cache, self.allow_pipes = None if cache is None else Path(cache), allow_pipes

    def check(self, names) -> None:
        """Stops before anything is read: at a command that nobody allowed, at an unknown scheme, at the lacking extra.

        Raises:
            ValueError, ImportError: see above.
        """
        for name in {scheme_of(name): name for name in names}.values():
            self._check(name)
        if self.cache is not None and not self.cache.is_dir() and any(local_path(name) is None for name in names):
            raise ValueError(f"cache is {self.cache}, which is no folder; make it first.")

    def __call__(self, name, sha256=None) -> BinaryIO:
        """A shard, open for reading, which can be sought in.

        Args:
            name: path or URL.
            sha256: what was fetched must have, None where that is not known.

        Raises:
            ValueError: no regular file, or what cannot be fetched or is another than was recorded.
        """
        self._check(name)
        path = local_path(name)
        try:
            if path is not None:
                return open_regular(path)
            return self._temporary(name, sha256) if self.cache is None else self._kept(name, sha256)
        except FileNotFoundError as error:
            raise ValueError(f"there is no shard {name}.") from error
        except OSError as error:
            raise ValueError(f"{short(name)}: it cannot be read: {said_by(error)}.") from error

    def _check(self, name):
        """Whatever is opened goes through here: an index, too, may be called by a command."""
        scheme = scheme_of(name)
        if scheme == COMMAND and not self.allow_pipes:
            raise ValueError(
                f"{on_one_line(name)[:200]} is a command, which a shell would run; it is not run unless you say that "
                "it is yours: allow_pipes=True."
            )
        if local_path(name) is None:
            known = require("webdataset.gopen", "shards", "Reading shards from elsewhere").gopen_schemes
            if scheme not in known:
                schemes = ", ".join(each for each in known if not each.startswith("__"))
                raise ValueError(f"{name} begins with {scheme}:, which is unknown; choose a path, or one of {schemes}.")

    def _temporary(self, name, sha256):
        file = tempfile.TemporaryFile()  # without a name: it is gone with the process, whatever ends that
        with disk.in_words(f"what is fetched into {tempfile.gettempdir()}", "set TMPDIR, or give cache="):
            _fetch(name, file, sha256)
        file.seek(0)
        return file

    def _kept(self, name, sha256):
        path = self.cache / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}-{os.path.basename(urlparse(name).path)}"
        while not path.is_file():
            with suppress(BlockingIOError):  # another process fetches it
                with replacing(path) as file:
                    _fetch(name, file, sha256)
                break
            time.sleep(PATIENCE)
        return open_regular(path)


def _fetch(name, file, sha256):
    """Write a shard that lies elsewhere into a file."""
    digest = hashlib.sha256()
    try:
        with require("webdataset.gopen", "shards", "Reading shards from elsewhere").gopen(_address(name)) as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
                file.write(piece)
    except OSError as error:
        if error.errno in disk.NO_ROOM:  # of this disk, not of theirs
            raise
        raise ValueError(f"{short(name)}: it cannot be fetched: {_why(name, error)}.") from error
    if sha256 not in (None, digest.hexdigest()):
        raise ValueError(
            f"{short(name)}: its sha256 is {digest.hexdigest()[:12]}..., but {sha256[:12]}... is recorded in the index."
        )
    file.flush()


def _address(name):
    """A URL as servers take it: what may not stand in one, such as a space, by its number."""
    return quote(name, safe=IN_A_URL) if scheme_of(name) in WEB else name


def _why(name, error):
    """What an error of fetching says, without the call of a program that has failed."""
    found, scheme = EXIT.search(str(error)), scheme_of(name)
    if found is None:
        return said_by(error)
    code = int(found[1])
    program = "the command" if scheme == COMMAND else "curl" if scheme in WEB else f"what fetches {scheme}: addresses"
    reason = f", {OF_CURL[code]}" if scheme in WEB and code in OF_CURL else ""
    return f"{program} ended with exit {code}{reason}"
