"""Quantised exports of a dual encoder, with random weights and with gains as trained ones have them.

    KERAS_BACKEND=torch python -m benchmarks.quantize
    KERAS_BACKEND=torch python -m benchmarks.quantize --preset clip_large_patch14 --quantize float16

Prints for each graph the level that was taken, the smallest cosine to float32 on pictures and texts, its size, and how
many times as fast it is as in float32: batches of 8, one thread, in turn.
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import kzoo
from kzoo.keras_contact import layers_within

VOCABULARY = 8192  # of its own, as no released one is here
WORDS = "a photo of the small large red green blue old new cat dog house tree car street river on under beside".split()


def pictures(count):
    """Smooth pictures, no two alike."""
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 256, (*random.integers(2, 14, 2), 3)).astype("uint8") for _ in range(count)]
    return [np.asarray(Image.fromarray(each).resize((320, 240), Image.Resampling.BICUBIC)) for each in coarse]


def texts(count):
    random = np.random.default_rng(1)
    return [" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(count)]


def outliers(model, times=20.0, channels=4):
    """Make some gains of every norm large, as trained transformers have them."""
    for number, layer in enumerate(each for each in layers_within(model) if hasattr(each, "gamma")):
        gains = keras.ops.convert_to_numpy(layer.gamma).copy()
        gains[np.random.default_rng(number).choice(len(gains), channels, replace=False)] *= times
        layer.gamma.assign(gains)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="clip_base")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    model = kzoo.from_preset(options.preset, load_weights=False, vocab_size=VOCABULARY)
    model.preprocessor.adapt(texts(256))
    samples = {"images": pictures(options.samples), "texts": texts(options.samples)}
    print("| weights | graph | level | smallest cosine | MB | times as fast |\n|---|---|---|---|---|---|")
    for weights in ("random", "with outliers"):
        if weights != "random":
            outliers(model)
        with tempfile.TemporaryDirectory() as folder:
            manifest = model.export(Path(folder) / "onnx", quantize=options.quantize, samples=samples)
        for name, graph in manifest["quantized"]["graphs"].items():
            sizes = [graph["bytes"][each] / 1e6 for each in ("float32", "quantized")]
            cosine, speed = graph.get("cosine", {"min": 1.0})["min"], graph.get("speed", 1.0)
            row = (weights, name, graph["level"], f"{cosine:.5f}", f"{sizes[0]:.0f} to {sizes[1]:.0f}", f"{speed:.2f}")
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
