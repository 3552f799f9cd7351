"""The memory of steps on a CPU where what ran before tells: each is measured in a process of its own.

TensorFlow gives back nothing that it once had. A helper imports the libraries once and forks for each question, before
they have started a thread in it.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Self

import keras
import numpy as np

MODEL, BATCH = "model.keras", "batch.npz"
STEPS = 4  # that are measured together: what an allocator holds grows for some


class Apart:
    """A context in which a copy of a model is asked what its steps take.

    Args:
        model: a compiled model.
        batch: dict of arrays.
        batch_size: rows of the batch that is asked for, see `step_of_loss`.
    """

    def __init__(self, model, batch, batch_size):
        self.folder = tempfile.TemporaryDirectory()
        model.save(Path(self.folder.name) / MODEL)
        np.savez(Path(self.folder.name) / BATCH, **batch)
        command = [sys.executable, "-m", "kzoo.scale.apart", self.folder.name, str(batch_size)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.helper = subprocess.Popen(command, env=os.environ | {"KERAS_BACKEND": keras.config.backend()}, **pipes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.helper.stdin.close()
        self.helper.wait()
        self.helper.stdout.close()
        self.folder.cleanup()

    def peak(self, what, rows, micro_batch_size=None) -> int:
        """Bytes that a `"step"`, or the `"loss"` alone, takes on so many rows."""
        print(json.dumps([what, rows, micro_batch_size]), file=self.helper.stdin, flush=True)
        line = self.helper.stdout.readline()
        if not line.strip():
            raise RuntimeError(f"a {what} of {rows} rows could not be measured; see what was printed before.")
        return json.loads(line)


def main(folder, batch_size) -> None:
    """Answer the questions of an `Apart`, one line each."""
    import kzoo.models  # noqa: F401, what takes seconds, once

    for line in sys.stdin:
        read, write = os.pipe()
        if not os.fork():
            os.dup2(2, 1)  # what is printed is no answer
            try:
                os.write(write, f"{_measured(Path(folder), batch_size, *json.loads(line))}\n".encode())
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(write)
        os.wait()
        with os.fdopen(read) as answer:
            print(answer.read().strip(), flush=True)


def _measured(folder, batch_size, what, rows, micro_batch_size):
    import kzoo
    from kzoo.keras_contact import untracked
    from kzoo.scale.loss_memory import step_of_loss
    from kzoo.scale.peak import peak_of
    from kzoo.scale.rows import resized

    with np.load(folder / BATCH) as file:
        batch = {name: file[name] for name in file}
    model = kzoo.load_model(folder / MODEL)
    untracked(model, "micro_batch_size", micro_batch_size)
    run = (
        step_of_loss(model, batch, batch_size)
        if what == "loss"
        else lambda count: model.train_on_batch(resized(batch, count))
    )
    for few in (2, 3, 4):  # traced for one number of rows, then for any
        run(few)
    return peak_of(lambda: [run(rows) for _ in range(STEPS)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
