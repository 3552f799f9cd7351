"""What several commands do."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from kzoo.cli.terminal import console
from kzoo.data.folders import pictures_of
from kzoo.files.writing import readable
from kzoo.types import Array


def needs_keras() -> Any:
    """Keras, imported now that the backend is set."""
    from kzoo.backend import explain_missing

    try:
        import keras
    except ModuleNotFoundError as error:
        raise explain_missing(error) from error
    return keras


def open_model(folder) -> Any:
    """A saved model, or an export in the runtime."""
    from kzoo.export.manifest import MANIFEST_FILE, is_export

    # what is wrong with a manifest is said by who reads it
    place = readable(Path(folder))
    if is_export(place) or ((place / MANIFEST_FILE).exists() and not (place / "config.json").exists()):
        from kzoo.export import runtime

        return runtime.load(folder)
    needs_keras()
    import kzoo

    return kzoo.from_preset(folder)


def image_files(places) -> list:
    files = []
    for place in places:
        files += pictures_of(place) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"there are no images in {', '.join(map(str, places))}.")
    return files


def in_steps(encode, sources, batch_size, name) -> Array:
    steps = range(0, len(sources), batch_size)
    rows = [encode(sources[start : start + batch_size], batch_size) for start in track(steps, name, console=console)]
    return np.concatenate(rows) if rows else encode([])
