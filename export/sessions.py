"""The sessions of an export, each opened as it is first used. No Keras here."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from kzoo.export.manifest import fingerprints


class Sessions(Mapping):
    """Name -> session of the graphs of an export: whoever encodes pictures alone holds no weights of texts.

    That the files are there, and are those of the export, is seen at once. A graph that no fingerprint vouches for is
    opened at once, too, to see whether it can be, and so are all with options that only that tries.

    Args:
        engine: `kzoo.export.engine.Engine` of the export.
        verify: whether files must be those that the manifest was written with.

    Raises:
        ValueError: a file that is not there or another one than was exported; also of a graph when it is opened.
    """

    def __init__(self, engine, verify=True):
        self.engine, self._one_at_a_time = engine, Lock()
        folder, manifest = Path(engine.folder), engine.manifest
        vouched = manifest.get("fingerprints", {}) if verify else {}
        self._files = {path: _stamp(path) for path in (folder / name for name in vouched) if path.is_file()}
        self._opened = dict.fromkeys(manifest["graphs"])
        with fingerprints(folder, manifest, verify):
            for name, graph in manifest["graphs"].items():
                engine.check(name)
                if engine.untried or graph["file"] not in vouched:
                    self._opened[name] = engine.open(name)

    def __getitem__(self, name) -> Any:
        if self._opened[name] is None:
            with self._one_at_a_time:
                if self._opened[name] is None:
                    self._check_unchanged()
                    self._opened[name] = self.engine.open(name)
        return self._opened[name]

    def __contains__(self, name) -> bool:
        return name in self._opened

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened)

    def __len__(self) -> int:
        return len(self._opened)

    @property
    def open(self) -> list[str]:
        """Names of the graphs that are open."""
        return [name for name, session in self._opened.items() if session is not None]

    def _check_unchanged(self):
        """An export that is written where this one lay is another model, perhaps."""
        for path, stamp in self._files.items():
            if not path.is_file() or _stamp(path) != stamp:
                raise ValueError(
                    f"{path} is not the file that it was when this export was opened, of which a graph is needed "
                    "only now; open the export anew."
                )


def _stamp(path):
    """What a file has another of once it is written anew."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
