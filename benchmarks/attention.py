"""Attention as kzoo computes it, written out against `keras.ops.dot_product_attention`, side by side.

    KERAS_BACKEND=tensorflow python benchmarks/attention.py

Prints, for the towers of CLIP B/32, the time of a training step with each form and their ratio.
"""

import time

import keras
import numpy as np
from keras import ops

CASES = {"image, 50 tokens x 768": (50, 768, 12, False, 8), "text, 77 tokens x 512, causal": (77, 512, 8, True, 16)}
ROUNDS = 12


class Attention(keras.layers.Layer):
    """Three projections, attention in one of the two forms, one projection."""

    def __init__(self, width, heads, causal, written_out):
        super().__init__()
        self.width, self.heads, self.causal, self.written_out = width, heads, causal, written_out
        self.qkv = keras.layers.Dense(3 * width)
        self.out = keras.layers.Dense(width)

    def build(self, shape):
        self.qkv.build(shape)
        self.out.build(shape)

    def call(self, x):
        length = x.shape[1]
        parts = ops.split(self.qkv(x), 3, axis=-1)
        query, key, value = (ops.reshape(part, (-1, length, self.heads, self.width // self.heads)) for part in parts)
        if self.written_out:
            mixed = self.explicit(query, key, value, length)
        else:
            mixed = ops.dot_product_attention(query, key, value, is_causal=self.causal)
        return x + self.out(ops.reshape(mixed, (-1, length, self.width)))

    def explicit(self, query, key, value, length):
        query = ops.transpose(query * query.shape[-1] ** -0.5, (0, 2, 1, 3))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
        if self.causal:
            scores = ops.add(scores, np.triu(np.full((length, length), -1e30, "float32"), k=1))
        mixed = ops.matmul(ops.softmax(scores, axis=-1), ops.transpose(value, (0, 2, 1, 3)))
        return ops.transpose(mixed, (0, 2, 1, 3))


def step_time(model, x, batch):
    start = time.perf_counter()
    model.fit(x, x, batch_size=batch, verbose=0)
    return (time.perf_counter() - start) * batch / len(x)


def main():
    for name, (length, width, heads, causal, batch) in CASES.items():
        x = np.random.default_rng(0).normal(size=(8 * batch, length, width)).astype("float32")
        models = []
        for written_out in (True, False):
            model = keras.Sequential([Attention(width, heads, causal, written_out) for _ in range(3)])
            model.compile("sgd", loss="mse")
            step_time(model, x, batch)  # compiles
            models.append(model)
        rounds = [[step_time(model, x, batch) for model in models] for _ in range(ROUNDS)]
        ours, theirs = np.min(rounds, axis=0)  # the fastest round: what else the machine did only ever adds
        print(
            f"{keras.config.backend()}, {name}: written out {1e3 * ours:.0f} ms, dot_product_attention "
            f"{1e3 * theirs:.0f} ms, ratio {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()
