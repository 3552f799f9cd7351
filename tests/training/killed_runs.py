"""A training that is killed again and again and started anew, each time in a process of its own, beside one that is
not.

python killed_runs.py FOLDER SEED KILLS: writes `whole` and `parts`, with losses by step and all values at the end, and
of several devices

- `one` and `devices`, of a training without dropout on one device that is not killed, and of one that is killed in two
  processes, goes on on another number of devices, where it is killed again, and ends in two processes once more;
- on torch `together` and `both`, of two processes with dropout that are not killed and of two that are.
Imports take seconds: all processes are forks of this one, which has imported and made nothing else.
"""

import os
import random
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
warnings.filterwarnings("ignore", message=".*fork.*")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from forked import in_fork, in_two, on_devices  # noqa: E402
from trained import Curve, pairs_of, trainee, values_of  # noqa: E402

import kzoo  # noqa: E402
from kzoo.files import disk  # noqa: E402
from kzoo.training import Resume  # noqa: E402

EPOCHS, STEPS = 3, 4
CHANGES = ("write", "make_folder", "rename", "remove", "remove_folder", "sync")


class Written(Curve):
    """The curve, on disk after each step: a process that is killed tells nothing."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch, logs=None):
        with open(self.path, "a") as file:
            file.write(f"{self.epoch * STEPS + batch} {float(logs['loss'])!r}\n")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # it comes when it comes


class At(Curve):
    """Kills after a step: this process, or of several only one."""

    def __init__(self, step, only=None):
        super().__init__()
        self.step, self.only = step, only

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch * STEPS + batch == self.step and self.only in (None, kzoo.scale.process()[0]):
            kill()


def at_change(number):
    """Let the process be killed before a change of files, wherever it comes: in the thread that writes, mostly."""
    left, lock = [number], threading.Lock()

    def counted(change):
        def killing(*arguments):
            with lock:
                left[0] -= 1
            return kill() if left[0] < 0 else change(*arguments)

        return killing

    for name in CHANGES:
        setattr(disk, name, counted(getattr(disk, name)))


def train(folder, curve, callbacks=(), make=trainee, validated=True, **options):
    model = make()
    held_out, first = pairs_of(model, shuffle=False) if validated else None, kzoo.scale.process()[0] == 0
    callbacks = [*([Written(folder / curve)] if first else []), *callbacks, Resume(folder / "run", every=1)]
    model.fit(pairs_of(model, **options), epochs=EPOCHS, verbose=0, callbacks=callbacks, validation_data=held_out)
    history = [each for values in model.history.history.values() for each in values]
    if first:
        np.savez(folder / "end.npz", np.array(history), *values_of(model))


def train_alike(folder, curve, callbacks=()):
    """A training in which nothing is drawn that differs between one device and several."""
    drawn = {"augmentation": None, "word_dropout": 0.0}
    train(folder, curve, callbacks, lambda: trainee(dropout=0.0), validated=False, **drawn)


def on_many(folder):
    """Trainings on several devices, in the ways of each backend."""
    for name in ("one", "devices"):
        (folder / name).mkdir()
    assert in_fork(lambda: train_alike(folder / "one", "curve-whole")) == 0
    backend, work = keras.config.backend(), folder / "devices"
    # the second worker of TensorFlow dies, and the first with it, as it is left alone
    only = 1 if backend == "tensorflow" else None
    print(f"in two processes: {in_two(lambda: train_alike(work, 'curve-two', [At(3, only)]))}")
    if backend == "torch":
        print(f"on one: {in_fork(lambda: train_alike(work, 'curve-other', [At(7)]))}")
    else:
        print(f"on three: {on_devices(3, lambda: train_alike(work, 'curve-other', [At(7)]))}")
    assert in_two(lambda: train_alike(work, "curve-last")) == [0, 0]
    if backend == "torch":
        for name in ("together", "both"):
            (folder / name).mkdir()
        assert in_two(lambda: train(folder / "together", "curve-whole")) == [0, 0]
        print(f"both: {in_two(lambda: train(folder / 'both', 'curve-killed', [At(6)]))}")
        assert in_two(lambda: train(folder / "both", "curve-last")) == [0, 0]


def main(folder, seed, kills):
    draw = random.Random(seed)
    for name in ("whole", "parts"):
        (folder / name).mkdir(parents=True)
    assert in_fork(lambda: train(folder / "whole", "curve-whole")) == 0
    parts = folder / "parts"
    for number in range(kills):
        step, change = draw.randrange(EPOCHS * STEPS), draw.randrange(12, 90)

        def killed(number=number, step=step, change=change):
            if number % 2:
                at_change(change)
            train(parts, f"curve-{number}", () if number % 2 else [At(step)])

        ended = in_fork(killed)
        print(f"killed after {f'change {change} of files' if number % 2 else f'step {step}'}: {ended}")
        if ended == 0:  # it was done before it came to that
            break

    on_many(folder)
    assert in_fork(lambda: train(parts, "curve-last")) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
