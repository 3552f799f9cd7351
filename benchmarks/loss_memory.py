"""What the losses of pairs take beside their inputs: whole, in blocks, and in open_clip.

    KERAS_BACKEND=torch python benchmarks/loss_memory.py
    KERAS_BACKEND=jax python benchmarks/loss_memory.py InfoNCE --rows 2048 16384 --block-sizes 128 256 512

Prints for each loss and batch the peak of memory during value and gradients over what was there before, in MB, and the
CPU time of the process in milliseconds, median of some runs; of blocks and of open_clip both as a part of what the loss
takes whole. Each is measured in a process of its own, on the same random embeddings of 256 numbers, compiled where
there is a compiler. open_clip's losses run on torch whatever the backend is, where they can be imported. Where value or
gradients are not those of the whole loss, a line says so.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import losses
import numpy as np
import peer_losses
from load import give_back, resident
from losses import step_of

EXACT = 1e-5
LOSSES = ("InfoNCE", "SigmoidContrastive", "UnifiedContrastive", "SoftContrastive", "SupCon")
WARM_UP = 1024  # rows, for what a backend keeps for good once it has done such a step


def measured(engine, name, rows, block_size):
    """Peak, CPU time, value and gradients of one loss in this process."""
    if engine != "kzoo":
        try:
            peer_losses.there(engine)
        except ImportError as error:
            return {"missing": str(error)}
    step_of(engine, name, WARM_UP, block_size and 256)()
    step = step_of(engine, name, rows, block_size)
    give_back()  # what the allocator keeps would hide some of what the step needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident()
    value, gradients = step()
    peak = resident(peak=True) - before
    to_numpy = (lambda x: x.detach().numpy()) if hasattr(value, "detach") else np.asarray
    says = [float(to_numpy(value)), *(to_numpy(each).ravel()[:: rows // 8].tolist() for each in gradients)]
    del value, gradients
    seconds = []
    while len(seconds) < 3 or (len(seconds) < 9 and sum(seconds) < 2.0):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return {"seconds": statistics.median(seconds), "bytes": peak, "says": says}


def differ(ours, whole):
    """The largest difference of values and of gradients, as parts of the largest number there is."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(ours["says"], whole["says"], strict=True)]
    return max(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30) for a, b in pairs)


def compare(name, rows, block_sizes, threads, missing):
    """A line for the loss whole, one for each size of blocks, and one for open_clip's."""
    whole = losses.run("kzoo", name, rows, None, threads=threads, script=__file__)
    peers = [each for each in losses.CASES[name].peers if each == "open_clip" and each not in missing]
    others = [("kzoo", each) for each in block_sizes] + [(each, None) for each in peers]
    runs = {other: losses.run(other[0], name, rows, other[1], threads=threads, script=__file__) for other in others}
    for (engine, block_size), each in [(("kzoo", None), whole), *runs.items()]:
        label = f"{name:<20} {rows:>6}  {engine if engine != 'kzoo' else block_size or 'whole':<10}"
        if "failed" in each:
            print(f"{label} does not run: {each['failed']}", flush=True)
        elif "missing" in each:
            missing.add(engine)
            print(f"{engine} cannot be imported and is left out: {each['missing']}", flush=True)
        else:
            line = f"{label} {each['bytes'] / 1e6:>8.1f} {1e3 * each['seconds']:>9.1f}"
            if each is not whole and "failed" not in whole:
                memory, seconds = each["bytes"] / max(whole["bytes"], 1), each["seconds"] / whole["seconds"]
                line += f"   {memory:>6.3f} {seconds:>6.2f}"
                if engine == "kzoo" and differ(each, whole) > EXACT:
                    line += f"   not the same: {differ(each, whole):.1e}"
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", nargs="*", metavar="loss", help=f"default {', '.join(LOSSES)}")
    parser.add_argument("--rows", type=int, nargs="+", default=[2048, 16384], help="rows of the batch")
    parser.add_argument("--block-sizes", nargs="+", default=["auto"], help="rows of a block, numbers or auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch")
    options = parser.parse_args()
    if unknown := set(options.losses) - set(losses.CASES):
        parser.error(f"{', '.join(sorted(unknown))} is not measured; choose among {', '.join(losses.CASES)}")
    sizes = [each if each == "auto" else int(each) for each in options.block_sizes]
    threads, missing = options.threads, set()
    print(f"kzoo on {os.environ.get('KERAS_BACKEND', 'the default backend')}, {threads} threads")
    print(f"{'':<39} {'MB':>8} {'CPU ms':>9}   {'peak':>6} {'time':>6}")
    for name in options.losses or LOSSES:
        for rows in options.rows:
            compare(name, rows, sizes, threads, missing)


if __name__ == "__main__":
    losses.answer(measured, main)
