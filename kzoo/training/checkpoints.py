"""The checkpoints of a training on disk: what is in them, and the newest that can be read."""

import json
import logging
import os
import re
from contextlib import AbstractContextManager
from typing import Any

from safetensors import SafetensorError, safe_open

from kzoo.files import disk, limits
from kzoo.files.numbers import check_finite
from kzoo.files.opening import check_regular
from kzoo.files.schema import FLAG, OBJECT, Object, check, whole
from kzoo.files.series import Series
from kzoo.files.strict_json import read_json
from kzoo.files.tensor_file import write_tensors
from kzoo.files.words import on_one_line, said_by

logger = logging.getLogger("kzoo")

STATE, TENSORS = "state.json", "tensors.safetensors"
CHECKPOINTS = "checkpoints"  # what their folder is called in that of a model whose training they are of
VARIABLES = re.compile(r"(trained|fixed|optimizer|metrics)/(\d{5})")  # names of what is numbered, from 0
COMPUTED_WITH = ("trained/", "fixed/")
VERSION = 1  # of what is written; another one is refused
AT = whole(0, "STEPS")
OBJECTS = ("description", "callbacks", "lost", "noted", "noted_at_begin", "random", "random_of_epoch")
KINDS = {
    **{name: AT for name in ("kzoo_checkpoint", "epoch", "batch", "step", "order_seed", "epochs")},
    **{name: FLAG for name in ("finished", "stopped")},
    **{name: OBJECT for name in OBJECTS},
}
FIELDS = Object(KINDS, needs=tuple(KINDS))


class Checkpoints:
    """The folder of a training that can go on.

    Args:
        folder: path.
        keep: how many stay.
    """

    def __init__(self, folder, keep):
        self.series = Series(folder, "checkpoint", keep)

    @property
    def folder(self) -> os.PathLike:
        return self.series.folder

    def open(self) -> AbstractContextManager:
        """Around all writing, see `Series.open`."""
        return self.series.open()

    def write(self, state, arrays) -> int:
        """Write one: a dict of JSON and name -> array."""

        def fill(place):
            def give(take):
                for name, array in arrays.items():
                    take(name, array)

            content = json.dumps({"kzoo_checkpoint": VERSION} | state).encode()
            write_tensors(place / TENSORS, give)
            disk.write(place / STATE, content)

        return self.series.add(fill)

    def newest(self, fits=lambda state: True) -> tuple[dict, dict] | None:
        """The newest that can be read; what cannot is said, and the one before it is taken.

        Args:
            fits: function of the state of one that can be read, whether it is wanted.

        Returns:
            `(state, arrays)`, the number among the state; None where there are none.

        Raises:
            ValueError: there are some, and none of them can be read.
        """
        numbers, problems = self.series.numbers()[::-1], []
        for number in numbers:
            try:
                found = self.read(number)
            except (OSError, ValueError) as error:
                problems.append(said_by(error))
                before = "the one before it is taken" if number != numbers[-1] else "there is none before it"
                logger.warning("%s cannot be gone on from: %s; %s.", self.series.path(number), problems[-1], before)
                continue
            if fits(found[0]):
                return found
        if problems and len(problems) == len(numbers):
            raise ValueError(
                f"none of the {len(numbers)} checkpoints in {self.folder} can be read, the newest because "
                f"{problems[0]}; put the files back, or remove the folder to begin anew."
            )
        return None

    def read(self, number) -> tuple[dict, dict]:
        """One by its number; see `newest`.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        self.series.check(number)
        folder = self.series.path(number)
        state = read_json(folder / STATE, limits.VOCABULARY, finite=False)
        check(state, FIELDS, folder / STATE)
        if state["kzoo_checkpoint"] != VERSION:
            raise ValueError(f"{folder} is of another version of kzoo ({state['kzoo_checkpoint']})")
        arrays = _arrays(folder / TENSORS)
        _check_whole(arrays, folder / TENSORS)
        return state | {"number": number}, arrays


def _arrays(path) -> dict[str, Any]:
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as safetensors ({said_by(error)})") from error


def _check_whole(arrays, path):
    """Stops where numbers are left out among the variables, and at weights from which nobody can go on."""
    for name, array in arrays.items():
        found = VARIABLES.fullmatch(name)
        before = found and f"{found[1]}/{int(found[2]) - 1:05d}"
        if before and int(found[2]) and before not in arrays:
            raise ValueError(f"{path} has {on_one_line(name)}, but lacks {before}")
        if name.startswith(COMPUTED_WITH):
            check_finite(array, f"{on_one_line(name)} in {path}")
