"""Train steps in micro-batches beside the plain one: how far the peak of memory rises, and the time.

    KERAS_BACKEND=torch python benchmarks/activation_memory.py
    KERAS_BACKEND=jax python benchmarks/activation_memory.py coca_nano 1024 32 128    # preset, batch, micro-batches

Each form runs in a process of its own, on one core: what imports, starts and compiles is done first, then all take
steps of the whole batch in turn. Memory is the highest of these above the built model at rest; time is that of the
processor, the median of them. Losses are in blocks, so that memory is that of the towers. Beside it stands what
`kzoo.scale.memory_estimate` says, in a process of its own too, and as a part of what was measured. Needs
3 GB.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = (("clip_nano", 2048, 128), ("coca_nano", 1024, 128))
ROUNDS = 7


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


def measure(preset, rows, micro):
    """Prints the seconds and the memory of a step for each line that is read."""
    import keras
    from load import give_back, resident

    model = compiled(preset, micro)
    batch = batch_of(model, rows)
    # on jax a program is for so many rows; TensorFlow, which gives back nothing, traces one for a few, then one for any
    few = {"jax": [rows], "tensorflow": [2, 3, 4]}.get(keras.config.backend(), [2 * (micro or 32)])
    for count in few:
        model.train_on_batch({name: each[:count] for name, each in batch.items()})
    give_back()
    before = resident()
    while sys.stdin.readline().strip():
        give_back()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        start = time.process_time()
        model.train_on_batch(batch)
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "bytes": resident(peak=True) - before}), flush=True)


def estimate(preset, rows, *sizes):
    import kzoo

    model = compiled(preset, None)
    print(json.dumps([kzoo.scale.memory_estimate(model, rows, size).step for size in sizes]))


def process(*arguments):
    """One that does what is asked by a JSON list, on one core: where threads wait for others, that takes time too."""
    core = {max(os.sched_getaffinity(0))}
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )


def answer(helper):
    """The last line of JSON, of those that a process has printed."""
    for line in helper.stdout:
        if line.startswith(("{", "[")):
            return json.loads(line)
    raise RuntimeError("a measurement has ended without an answer; see above.")


def compare(preset, rows, micro):
    sizes = [None, *micro]
    with process("estimate", preset, rows, *sizes) as helper:
        estimates = answer(helper)
    helpers = [process("measure", preset, rows, size) for size in sizes]
    runs = [[] for _ in sizes]
    for _ in range(ROUNDS):
        for helper, found in zip(helpers, runs):
            print("step", file=helper.stdin, flush=True)
            found.append(answer(helper))
    for helper in helpers:
        helper.communicate("")
    memory = [max(each["bytes"] for each in found) for found in runs]
    seconds = [statistics.median(each["seconds"] for each in found[1:]) for found in runs]
    for place, size in enumerate(sizes):
        label, peak = f"{preset:<10} {rows:>6} {size or 'plain':>6}", memory[place]
        print(
            f"{label} {peak / 1e6:>8.1f} MB {peak / memory[0]:>6.2f} {seconds[place]:>8.3f} s "
            f"{seconds[place] / seconds[0]:>6.2f}   {estimates[place] / 1e6:>8.1f} MB {estimates[place] / peak:>6.2f}",
            flush=True,
        )


def main():
    if len(sys.argv) == 2:
        kind, *arguments = json.loads(sys.argv[1])
        {"measure": measure, "estimate": estimate}[kind](*arguments)
        return
    given = [(sys.argv[1], *map(int, sys.argv[2:]))] if len(sys.argv) > 3 else CASES
    print(os.environ.get("KERAS_BACKEND", "the default backend"))
    print(f"{'':<24} {'peak':>11} {'/plain':>6} {'CPU':>10} {'/plain':>6}   {'estimated':>11} {'/peak':>6}")
    for preset, rows, *micro in given:
        compare(preset, rows, micro)


if __name__ == "__main__":
    main()
