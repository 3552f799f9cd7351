"""What a `.keras` file holds, looked at before Keras reads it: its members, their sizes, and the weights among them."""

import zipfile
from collections import Counter

from kzoo.files import limits
from kzoo.files.layouts import is_within
from kzoo.files.opening import as_text, check_unpacked, open_regular, read_all
from kzoo.files.strict_json import parse_json
from kzoo.files.words import on_one_line, said_by
from kzoo.weights.blocks import check_blocks
from kzoo.weights.hdf5 import Hdf5

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
SAID = ("module", "class_name", "config")  # of the model, in its config


def weights_in(path) -> Hdf5:
    """The weights in a `.keras` file, by their names and shapes.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: no file that `model.save` wrote: no zip, members that are lacking, twice, elsewhere, or unpack to
            far more than the file holds; a config that is no JSON or describes no object; weights that are no numbers
            or lie in other files.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_members(archive, path)
                with archive.open(CONFIG) as member:
                    text = as_text(read_all(member, limits.VOCABULARY, path), f"{CONFIG} in {path}")
                config = parse_json(text, f"{CONFIG} in {path}", finite=False)
                if not isinstance(config, dict) or any(key not in config for key in SAID):
                    raise ValueError(f"{CONFIG} in {path} describes no model: it lacks one of {', '.join(SAID)}.")
                with archive.open(WEIGHTS) as member:
                    held = Hdf5(path, member)
                _check_blocks(config, len(held.shapes), path)
                return held
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise ValueError(
                f"{path} is no file that model.save wrote, or not the whole of it ({said_by(error)}); save it anew."
            ) from error


def _check_members(archive, path):
    infos = archive.infolist()
    counts = Counter(info.filename for info in infos)
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"{path} holds {on_one_line(name)[:100]} {count} times; which is meant cannot be told.")
        if not is_within(name):
            raise ValueError(f"{path} holds a member called {on_one_line(name)[:100]!r}, which lies outside of it.")
    lacking = [name for name in (CONFIG, WEIGHTS) if name not in counts]
    if lacking:
        raise ValueError(f"{path} lacks {' and '.join(lacking)}, so it is no file that model.save wrote; save it anew.")
    check_unpacked(sum(info.file_size for info in infos), path)


def _check_blocks(config, count, path):
    for each in config.values() if isinstance(config, dict) else config:
        if isinstance(each, (dict, list)):
            _check_blocks(each, count, path)
    if isinstance(config, dict):
        check_blocks(config, count, path)
