"""A train step in micro-batches beside the plain one: how far the peak of memory rises, and the time.

    KERAS_BACKEND=torch python benchmarks/activation_memory.py
    KERAS_BACKEND=jax python benchmarks/activation_memory.py coca_nano 1024 128    # preset, batch, micro-batch

Each form runs in a process of its own: a first step, which imports, starts and compiles, then steps of the whole
batch. Memory is the highest of these, above what the process had before; time is that of the processor, the least of
them. Losses are in blocks, so that memory is that of the towers. Beside it stands what `kzoo.scale.memory_estimate`
says, in a process of its own too. Needs 3 GB.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CASES = (("clip_nano", 2048, 128), ("coca_nano", 1024, 128))
ROUNDS = 3


def batch_of(model, rows):
    """Pictures and captions of made-up ids."""
    return model.image_encoder.samples(rows) | model.text_encoder.samples(rows)


def compiled(preset, micro):
    """A preset's model, compiled with a loss in blocks."""
    import keras

    import kzoo
    from kzoo.losses import Captioning, InfoNCE

    model = kzoo.from_preset(preset, load_weights=False)
    loss = InfoNCE(block_size=256)
    loss = loss + 2.0 * Captioning() if isinstance(model, kzoo.Captioner) else loss
    model.compile(keras.optimizers.SGD(0.1), loss=loss, micro_batch_size=micro)
    return model


def _give_back():
    """What was freed goes back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def measured(preset, rows, micro, form):
    import keras
    from load import resident

    model = compiled(preset, micro if form == "micro" else None)
    batch = batch_of(model, rows)
    first = batch if keras.config.backend() == "jax" else {name: each[: 2 * micro] for name, each in batch.items()}
    model.train_on_batch(first)  # on jax it is the program itself that takes memory, compiled for so many rows
    _give_back()
    before, seconds = resident(), []
    for _ in range(ROUNDS):
        _give_back()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        start = time.process_time()
        model.train_on_batch(batch)
        seconds.append(time.process_time() - start)
    return {"seconds": min(seconds[1:]), "bytes": resident(peak=True) - before}


def estimated(preset, rows, micro):
    import kzoo

    model = compiled(preset, None)
    sizes = {"plain": None, "micro": micro}
    return {form: kzoo.scale.memory_estimate(model, rows, size).step for form, size in sizes.items()}


def asked(*arguments):
    """What a process of its own answers."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    if len(sys.argv) == 5:
        preset, rows, micro, form = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        answer = estimated(preset, rows, micro) if form == "estimate" else measured(preset, rows, micro, form)
        print(json.dumps(answer))
        return
    given = [(sys.argv[1], *map(int, sys.argv[2:]))] if len(sys.argv) == 4 else CASES
    print(os.environ.get("KERAS_BACKEND", "the default backend"))
    for case in given:
        print("{}, batch {}, micro-batches of {}".format(*case))
        estimates, plain = asked(*case, "estimate"), None
        for form in ("plain", "micro"):
            run = asked(*case, form)
            plain = plain or run
            print(
                f"  {form:<6} peak {run['bytes'] / 1e6:5.0f} MB, estimated {estimates[form] / 1e6:5.0f} MB   "
                f"{run['seconds']:6.2f} s   this / plain: memory {run['bytes'] / plain['bytes']:.2f}, "
                f"time {run['seconds'] / plain['seconds']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
