"""Pairs per second out of tar shards: kzoo.data.shards beside a DataLoader of PyTorch over the `webdataset` library.

    KERAS_BACKEND=torch python benchmarks/data.py [PICTURES] [WORKERS]

Both read the same JPEG shards into batches of 64, with as many workers: threads in kzoo, processes in PyTorch. Both
decode, resize (bicubic, the shortest side to 224) and crop with Pillow, to the same pixels, which is looked at first,
and tokenize with one vocabulary. What a step costs is left out: batches are read as `evaluate` of Keras reads them, and
thrown away. Each run is a process of its own; the fastest of 3, in turn. Prints pairs per second, the share of the
processors that was busy, and the ratio.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS, BATCH, SIZE, SHARDS = 3, 64, 224, 8
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
WORKERS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
RUNS = ("kzoo", "webdataset")


def write(folder):
    """Pictures of the size of a web page's, smooth as photographs are, in shards."""
    from PIL import Image

    import kzoo

    random, rows = np.random.default_rng(0), []
    for number in range(COUNT):
        coarse = random.integers(0, 256, (12, 16, 3), dtype="uint8")
        picture = Image.fromarray(coarse).resize((500, 375) if number % 3 else (375, 500), Image.Resampling.BICUBIC)
        grain = random.normal(0, 6, (*picture.size[::-1], 1))
        content = io.BytesIO()
        Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype("uint8")).save(content, "JPEG", quality=90)
        rows.append({"image": content.getvalue(), "caption": f"a photo of the colours {coarse[0, 0].tolist()}"})
    kzoo.data.write_shards(rows, folder, shard_size=-(-COUNT // SHARDS))
    return sum(len(row["image"]) for row in rows) / COUNT


def preprocessor():
    from kzoo.preprocessing import ImageSteps, Preprocessor

    steps = Preprocessor(ImageSteps(SIZE), vocabulary={"train": 1024, "context_length": 32})
    steps.adapt(f"a photo of the colours [{a}, {a * 7 % 256}, {a * 13 % 256}]" for a in range(256))
    return steps


def of_kzoo(folder):
    import kzoo

    return kzoo.data.shards(folder, preprocessor(), BATCH, workers=WORKERS)


class Peer:
    """What somebody writes with the `webdataset` library, Pillow and numpy."""

    def __init__(self):
        self.tokenizer = preprocessor().tokenizer

    def pixels(self, content):
        from PIL import Image

        picture = Image.open(io.BytesIO(content)).convert("RGB")
        width, height = picture.size
        short, long = sorted((width, height))
        long = int(SIZE * long / short)
        picture = picture.resize((SIZE, long) if width <= height else (long, SIZE), Image.Resampling.BICUBIC)
        left, top = round((picture.width - SIZE) / 2), round((picture.height - SIZE) / 2)
        return np.asarray(picture.crop((left, top, left + SIZE, top + SIZE)))

    def sample(self, row):
        return self.pixels(row["jpg"]), row["txt"].decode()

    def batch(self, rows):
        import torch

        pictures, texts = zip(*rows)
        tokens = {name: torch.from_numpy(each) for name, each in self.tokenizer(list(texts)).items()}
        return {"images": torch.from_numpy(np.stack(pictures)), **tokens}


def of_webdataset(folder):
    import torch
    import webdataset

    torch.set_num_threads(1)
    urls, peer = [str(path) for path in sorted(Path(folder).glob("*.tar"))], Peer()
    rows = webdataset.WebDataset(urls, shardshuffle=SHARDS, seed=0).shuffle(1000).map(peer.sample)
    rows = rows.batched(BATCH, collation_fn=peer.batch, partial=False)
    return torch.utils.data.DataLoader(rows, batch_size=None, num_workers=WORKERS)


def kzoo_run(data):
    import keras

    class Nothing(keras.Model):
        def call(self, batch):
            return batch["images"]

        def test_step(self, batch):
            seen.append(len(batch["images"]))
            return {}

    seen, model = [], Nothing()
    model.compile(run_eagerly=True)
    model.evaluate(data, verbose=0)
    return sum(seen)


def busy():
    """Seconds of all processors that this process and its workers have used so far."""
    return sum(os.times()[:4])


def measured(name, folder):
    data = {"kzoo": of_kzoo, "webdataset": of_webdataset}[name](folder)
    read = kzoo_run if name == "kzoo" else lambda loader: sum(len(batch["images"]) for batch in loader)
    read(data)  # files are in memory then, and libraries imported
    used, start = busy(), time.perf_counter()
    count = read(data)
    seconds = time.perf_counter() - start
    return {"rate": count / seconds, "busy": (busy() - used) / seconds, "per_pair": (busy() - used) / count}


def check(folder):
    """Both make the same pixels of a picture."""
    rows, peer = of_kzoo(folder).rows, Peer()
    for number in range(8):
        content = rows[number].image
        assert np.array_equal(peer.pixels(content), preprocessor().images(content)), "the pixels differ"


def main():
    if len(sys.argv) == 5:
        print(json.dumps(measured(sys.argv[3], sys.argv[4])))
        return
    with tempfile.TemporaryDirectory() as place:
        folder, results = str(Path(place) / "shards"), {name: [] for name in RUNS}
        size = write(folder)
        check(folder)
        print(f"{COUNT:,} JPEGs of {size / 1000:.0f} kB in {SHARDS} shards, {WORKERS} workers, {os.cpu_count()} cores")
        for _ in range(ROUNDS):
            for name in RUNS:
                command = [sys.executable, __file__, str(COUNT), str(WORKERS), name, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                results[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    best = {name: max(found, key=lambda each: each["rate"]) for name, found in results.items()}
    for name, found in best.items():
        print(
            f"  {name:<10} {found['rate']:7.0f} pairs/s   {found['busy']:.2f} processors busy   "
            f"{1000 * found['per_pair']:.2f} ms of a processor for each"
        )
    print(f"  kzoo / webdataset: {best['kzoo']['rate'] / best['webdataset']['rate']:.2f}")


if __name__ == "__main__":
    main()
