"""A product with a matrix as kzoo takes it, against the operations of Keras, side by side.

    KERAS_BACKEND=torch python benchmarks/linear.py

Prints, for layers of CLIP B/32, how often ours fits into the time of theirs: forward, and forward with gradients.
On jax and TensorFlow the two are the same.
"""

import time

import keras
import numpy as np
from keras import ops

from kzoo.layers.linear import multiplied

CASES = {  # rows, width, units
    "a query, 8 pictures": (400, 768, 768),
    "an MLP, 8 pictures": (400, 768, 3072),
    "an MLP, 8 texts": (616, 512, 2048),
    "an MLP, 1 picture": (50, 768, 3072),
    "an MLP, 1 position": (1, 512, 2048),
    "an MLP of clip_nano": (64, 64, 256),
}
ROUNDS = 15


def of_keras(x, kernel, bias):
    return ops.add(ops.matmul(x, kernel), bias)


def forward(product, *tensors):
    import torch

    with torch.no_grad():
        product(*tensors)


def with_gradients(product, *tensors):
    import torch

    y = product(*tensors)
    torch.autograd.grad(y, tensors, torch.ones_like(y))


def seconds(run, product, tensors, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        run(product, *tensors)
    return (time.perf_counter() - start) / repeats


def main():
    if keras.config.backend() != "torch":
        print("multiplied() is ops.matmul and ops.add there; set KERAS_BACKEND=torch")
        return
    import torch

    generator = np.random.default_rng(0)
    for name, (rows, width, units) in CASES.items():
        arrays = [generator.normal(size=size).astype("float32") for size in ((rows, width), (width, units), (units,))]
        tensors = [torch.tensor(each, requires_grad=True) for each in arrays]
        repeats = max(1, int(2e8 / (rows * width * units)))
        said = []
        for run in (forward, with_gradients):
            rounds = [[seconds(run, each, tensors, repeats) for each in (multiplied, of_keras)] for _ in range(ROUNDS)]
            ratios = [theirs / ours for ours, theirs in rounds]
            said.append(f"{run.__name__} {np.median(ratios):.2f} ({np.min(ratios):.2f} to {np.max(ratios):.2f})")
        print(f"{name}: {', '.join(said)}")


if __name__ == "__main__":
    main()
