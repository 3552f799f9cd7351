"""The folder that `kzoo train` writes: the best model so far, what is needed to go on, numbers and curves."""

import csv
import io
import json
from pathlib import Path

from kzoo.drawing import draw_curves
from kzoo.files.schema import NULL, OBJECT, Items, Object, Rule, check, is_whole
from kzoo.files.single import replacing
from kzoo.files.strict_json import read_json
from kzoo.files.writing import discard, readable, try_folder

MODEL, STATE = "config.json", "state.json"
LAST = "training"  # the folder in it of what is needed to go on, which is gone when all epochs are done
FLOAT = Rule("a number", lambda value: is_whole(value) or isinstance(value, float))
BEST = Rule("an epoch and its score", lambda value: isinstance(value, list) and _is_best(*value))
EPOCH = Rule("an object of numbers", lambda value: isinstance(value, dict) and all(map(FLOAT.accepts, value.values())))
RECORD = Object({"options": OBJECT, "history": Items(EPOCH), "best": BEST | NULL}, ("options", "history", "best"))
HISTORY, CURVES = "history.csv", "curves.png"


def _is_best(epoch=None, score=None, *more):
    return is_whole(epoch) and (score is None or FLOAT.accepts(score)) and not more


class TrainingFolder:
    """What a training leaves on disk, at every moment that it may be killed.

    Args:
        path: of the folder.

    Attributes:
        options: what the command was asked for, in values of JSON.
        history: a dict of numbers for each epoch that is done.
        best: `(epoch, score)` of the model that is kept, None before there is one.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.options, self.history, self.best = {}, [], None

    @property
    def last(self) -> Path:
        """Folder of the model with its optimizer as the training began, what was asked for, and the checkpoints."""
        return self.path / LAST

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, of `kzoo.training.Resume`."""
        from kzoo.training.checkpoints import CHECKPOINTS  # whose room needs Keras

        return self.last / CHECKPOINTS

    def has_begun(self) -> bool:
        """Whether there is something to go on from: else a training is made anew from its seed."""
        return bool(self.history) or any(self.checkpoints.glob("checkpoint-*"))

    def check(self, resume, overwrite, restart=False, asked=None, writes=True) -> bool:
        """Whether a training goes on; stops with a sentence where nothing can be written, or where something would be
        lost or is lacking.

        Args:
            resume, overwrite, restart: what the command was told.
            asked: dict of its other options: a training that was interrupted goes on if they are the same.
            writes: whether this process writes into it, and not the first of several, which tries the folder for all:
                two that try it at once would take each other for a stranger.

        Raises:
            ValueError: see there.
            OSError: the folder cannot be written.
        """
        if resume and (overwrite or restart):
            word = "--overwrite" if overwrite else "--restart"
            raise ValueError(f"--resume goes on with a training and {word} starts anew; give one of the two.")
        if writes:
            try_folder(self.path, "kzoo", overwrite or resume)
        readable(self.last)  # what a killed save has left is brought to its end
        unfinished, model = (self.last / STATE).is_file(), (self.path / MODEL).is_file()
        if resume and not unfinished:
            known = "is complete, so nothing is left to resume" if model else "has not begun"
            raise ValueError(
                f"the training in {self.path} {known}; to train its model further, give it as --preset and another "
                "folder as --output."
            )
        if unfinished and not (resume or restart):
            self.open()
            difference = _difference(self.options, asked)
            if difference is None:
                return True
            self.options, self.history, self.best = {}, [], None
            if not overwrite:
                raise ValueError(
                    f"{self.path} holds a training that was interrupted, {difference}; go on with it (--resume) or "
                    "begin anew (--restart)."
                )
        if resume:
            self.open()
        if model and not (resume or overwrite or (restart and unfinished)):
            raise ValueError(f"{self.path} holds a model; replace it (--overwrite), or give another --output.")
        return resume

    def begin(self, model, options) -> None:
        """Keep the start: from here on the training can be resumed."""
        from kzoo.presets.folder import save_preset  # which needs Keras

        self.options = options
        if self.last.is_dir():
            discard(self.last)
        state = {"options": self.options, "history": self.history, "best": self.best}
        content = (json.dumps(state, indent=2) + "\n").encode()
        save_preset(model, self.last, optimizer=True, overwrite=True, beside={STATE: content})

    def open(self) -> None:
        """Read what an interrupted training was asked for; its model is in `last`.

        Raises:
            ValueError: the state is damaged.
        """
        state = read_json(self.last / STATE, finite=False)  # of a training that diverged, too
        check(state, RECORD, self.last / STATE)
        self.options, self.history = state["options"], state["history"]
        self.best = None if state["best"] is None else tuple(state["best"])

    def epoch_done(self, model, numbers, score) -> bool:
        """Note an epoch; `score` None keeps its model, else a score above the best does. Returns whether it did."""
        self.history.append(numbers)
        better = score is None or self.best is None or score > self.best[1]
        if better:
            self.best = len(self.history), score
            self.save(model)
        self._write_history()
        draw_curves(self.history, self.path / CURVES)
        return better

    def finish(self) -> None:
        """Take away what only a training that goes on has a use for."""
        discard(self.last)

    def save(self, model) -> None:
        """Keep a model as the one that this training gives; `check` has seen to what it replaces."""
        from kzoo.presets.save import save  # which needs Keras, and waits for no other process

        save(model, self.path, overwrite=True)

    def _write_history(self):
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(self.history[0]))
        table.writeheader()
        table.writerows(self.history)
        with replacing(self.path / HISTORY) as file:
            file.write(text.getvalue().encode())


def _difference(kept, asked):
    """Which option of a training that was interrupted is another one now, in words; None where all are the same."""
    for name, value in (asked or {}).items():
        before = kept.get(f"asked_{name}", kept.get(name))
        if name == "source" and before not in (None, value):
            return f"on {before}, not on {value}"
        if name != "source" and before != value:
            return f"whose --{name.replace('_', '-')} was {before}, not {value}"
    return None
