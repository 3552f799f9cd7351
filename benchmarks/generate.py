"""Captions per second of the sizes of coca_base, random weights: the model, its export, and open_clip's `generate`.

    KERAS_BACKEND=torch python benchmarks/generate.py

Prints tokens per second for greedy search and a beam search of 4, of 1 and of 16 pictures, 29 new ids a caption, and
the ratio to open_clip. Every engine runs in a process of its own, one after the other; a first call compiles and is
not counted. open_clip takes part where it can be imported (3.3 with transformers 4.56: it borrows its search).
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

PRESET, LENGTH = "coca_base", 30
CASES = [(search, rows) for search in ("greedy", "beam") for rows in (1, 16)]
ROUNDS = 2


def pictures(rows):
    return np.random.default_rng(0).integers(0, 256, (rows, 224, 224, 3), dtype="uint8")


def options(search):
    return {"strategy": search, "prefix": [49406], "end_id": None, "max_length": LENGTH} | (
        {"num_beams": 4} if search == "beam" else {}
    )


def kzoo_model(folder):
    import kzoo

    model = kzoo.from_preset(PRESET, load_weights=False)
    return lambda search, rows: model.generate(pictures(rows), **options(search))[0]


def kzoo_export(folder):
    import kzoo
    from kzoo.export import runtime

    kzoo.from_preset(PRESET, load_weights=False).export(folder)
    served = runtime.load(folder)
    return lambda search, rows: served.generate(pictures(rows), **options(search))[0]


def open_clip(folder):
    import open_clip as library
    import torch

    model = library.create_model("coca_ViT-B-32", pretrained=None).eval()
    ways = {
        "greedy": {"generation_type": "top_k", "top_k": 1},
        "beam": {"generation_type": "beam_search", "num_beams": 4, "num_beam_groups": 1},
    }

    def generate(search, rows):
        images = torch.tensor(pictures(rows)).permute(0, 3, 1, 2) / 255.0
        with torch.inference_mode():
            return model.generate(images, seq_len=LENGTH, min_seq_len=LENGTH - 1, **ways[search])

    return generate


ENGINES = {"open_clip": open_clip, "kzoo": kzoo_model, "kzoo export": kzoo_export}


def measured(engine):
    """Tokens per second of each case."""
    with tempfile.TemporaryDirectory() as folder:
        generate, speeds = ENGINES[engine](folder), []
        for search, rows in CASES:
            assert generate(search, rows).shape == (rows, LENGTH)
            seconds = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                generate(search, rows)
                seconds.append(time.perf_counter() - start)
            speeds.append(rows * (LENGTH - 1) / min(seconds))
    return speeds


def main():
    if len(sys.argv) == 2:
        print(json.dumps(measured(sys.argv[1])))
        return
    print(f"{os.environ.get('KERAS_BACKEND', 'the default backend')}: tokens per second, and ratio to open_clip")
    print(f"{'':<12}" + "".join(f"{f'{search}, batch {rows}':>20}" for search, rows in CASES))
    base = None
    for engine in ENGINES:
        done = subprocess.run([sys.executable, __file__, engine], capture_output=True, text=True)
        if done.returncode:
            print(f"{engine:<12} does not run: {done.stderr.strip().splitlines()[-1]}")
            continue
        speeds = json.loads(done.stdout.strip().splitlines()[-1])
        base = base or (speeds if engine == "open_clip" else None)
        ratios = [f"{speed / one:.1f} x" for speed, one in zip(speeds, base)] if base else [""] * len(CASES)
        print(
            f"{engine:<12}" + "".join(f"{speed:>11.1f}{ratio:>9}" for speed, ratio in zip(speeds, ratios)), flush=True
        )


if __name__ == "__main__":
    main()
