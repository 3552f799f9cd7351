"""The patch projection as a matmul against a strided convolution, side by side.

    KERAS_BACKEND=jax python benchmarks/patch_embedding.py

Prints the time of a training step of each and their ratio.
"""

import time

import keras
import numpy as np

from kzoo.layers import PatchEmbedding

CASES = {"224 pixels, patch 32, width 768": (224, 32, 768, 16), "64 pixels, patch 16, width 192": (64, 16, 192, 128)}
ROUNDS = 12


class Convolution(keras.layers.Layer):
    """The same projection by `Conv2D` with stride = kernel size."""

    def __init__(self, size, patch, width):
        super().__init__()
        self.tokens, self.width = (size // patch) ** 2, width
        self.convolution = keras.layers.Conv2D(width, patch, strides=patch, use_bias=False)

    def build(self, shape):
        self.convolution.build(shape)

    def call(self, images):
        return keras.ops.reshape(self.convolution(images), (-1, self.tokens, self.width))


def step_time(model, x, y, batch):
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, verbose=0)
    return (time.perf_counter() - start) * batch / len(x)


def main():
    random = np.random.default_rng(0)
    for name, (size, patch, width, batch) in CASES.items():
        x = random.normal(size=(6 * batch, size, size, 3)).astype("float32")
        y = random.normal(size=(6 * batch, (size // patch) ** 2, width)).astype("float32")
        models = []
        for layer in (PatchEmbedding((size, size), patch, width, class_token=False), Convolution(size, patch, width)):
            model = keras.Sequential([keras.layers.Input((size, size, 3)), layer])
            model.compile("sgd", loss="mse")
            step_time(model, x, y, batch)  # compiles
            models.append(model)
        rounds = [[step_time(model, x, y, batch) for model in models] for _ in range(ROUNDS)]
        ours, theirs = np.min(rounds, axis=0)  # the fastest round: what else the machine did only ever adds
        print(
            f"{keras.config.backend()}, {name}: matmul {1e3 * ours:.0f} ms, convolution {1e3 * theirs:.0f} ms, "
            f"ratio {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()
