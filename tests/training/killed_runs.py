"""A training that is killed again and again and started anew, each time in a process of its own, beside one that is
not.

python killed_runs.py FOLDER SEED KILLS: writes `whole` and `parts`, with losses by step and all values at the end, and
of several devices

- on jax `together`, of one that is not killed, and `devices`, of a training that is killed in two processes, goes on on
  three devices of one, where it is killed again, and ends on one;
- on torch `together` and `both`, of two processes that are not killed and of two that are;
- on TensorFlow the same of two replicas, and `devices`, where one replica ends what two of them began.
Imports take seconds: all processes are forks of this one, which has imported and made nothing else.
"""

import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
warnings.filterwarnings("ignore", message=".*fork.*")

import keras  # noqa: E402
import numpy as np  # noqa: E402
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
    """Kills after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch * STEPS + batch == self.step:
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


def train(folder, curve, callbacks=(), **options):
    model = trainee()
    held_out, first = pairs_of(model, shuffle=False), kzoo.scale.process()[0] == 0
    callbacks = [*([Written(folder / curve)] if first else []), *callbacks, Resume(folder / "run", every=1)]
    model.fit(pairs_of(model, **options), epochs=EPOCHS, verbose=0, callbacks=callbacks, validation_data=held_out)
    history = [each for values in model.history.history.values() for each in values]
    if first:
        np.savez(folder / "end.npz", np.array(history), *values_of(model))


def forked(work):
    """Do some work in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_fork(work):
    """How a process of its own has ended, minus the signal that ended it."""
    status = os.waitpid(forked(work), 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def in_two(work):
    """The same of two processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if keras.config.backend() == "jax":
        meeting = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2"}

    def one_of(rank):
        os.environ.update(meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "JAX_PROCESS_ID": str(rank)})
        with kzoo.scale.start():
            work()

    children = [forked(lambda rank=rank: one_of(rank)) for rank in (0, 1)]
    found = [os.waitpid(child, 0)[1] for child in children]
    return [-os.WTERMSIG(each) if os.WIFSIGNALED(each) else os.WEXITSTATUS(each) for each in found]


def on_devices(number, work):
    """The same of one process with so many devices of the CPU."""

    def split():
        if keras.config.backend() == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", number)
        else:
            import tensorflow as tf

            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        with kzoo.scale.start(number):
            work()

    return in_fork(split)


def on_many(folder):
    """Trainings on several devices, which the backends have in their ways."""
    backend = keras.config.backend()
    for name in ("together", "devices") if backend == "jax" else ("together", "both"):
        (folder / name).mkdir()
    if backend == "jax":
        work, plain = (
            folder / "devices",
            {"augmentation": None, "word_dropout": 0.0},
        )  # drawn by each process for itself
        assert in_fork(lambda: train(folder / "together", "curve-whole", **plain)) == 0
        print(f"killed in two processes: {in_two(lambda: train(work, 'curve-two', [At(3)], **plain))}")
        print(f"killed on three devices: {on_devices(3, lambda: train(work, 'curve-three', [At(7)], **plain))}")
        assert in_fork(lambda: train(work, "curve-one", **plain)) == 0
    elif backend == "torch":
        assert in_two(lambda: train(folder / "together", "curve-whole")) == [0, 0]
        print(f"both killed: {in_two(lambda: train(folder / 'both', 'curve-killed', [At(6)]))}")
        assert in_two(lambda: train(folder / "both", "curve-last")) == [0, 0]
    else:
        assert on_devices(2, lambda: train(folder / "together", "curve-whole")) == 0
        print(f"both killed: {on_devices(2, lambda: train(folder / 'both', 'curve-killed', [At(6)]))}")
        shutil.copytree(folder / "both", folder / "devices")
        assert on_devices(2, lambda: train(folder / "both", "curve-last")) == 0
        assert in_fork(lambda: train(folder / "devices", "curve-last")) == 0


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

    def terminated():
        asks = At(-1)
        asks.on_train_batch_end = lambda batch, logs=None: os.kill(os.getpid(), signal.SIGTERM)
        train(parts, "curve-terminated", [asks])

    on_many(folder)
    if not (parts / "end.npz").exists():
        print(f"asked to leave: {in_fork(terminated)}")
    assert in_fork(lambda: train(parts, "curve-last")) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
