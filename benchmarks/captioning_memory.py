"""The captioning loss over CLIP's vocabulary: chunked, beside logits that are held as a whole.

    KERAS_BACKEND=torch python benchmarks/captioning_memory.py

Prints, for a batch of 64 captions of 76 tokens, the time, and by how much the peak of memory rises, in units of the
float32 logits; each form in a process of its own. First from decoder states of width 512 to loss and gradients:
`Captioning` of states and kernel, `Captioning` of logits, and under torch that of open_clip's CoCaLoss, `cross_entropy`
of permuted logits. Then `train_on_batch` of a captioner with towers of width 64, with either loss. Needs 7 GB.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

BATCH, LENGTH, VOCABULARY, WIDTH = 64, 76, 49408, 512
ROUNDS = 2


def chunked(states, kernel, labels):
    from kzoo.layers import LinearLogits
    from kzoo.losses import Captioning

    return Captioning(pad_id=0)(LinearLogits(states, kernel), labels)


def dense(states, kernel, labels):
    from keras import ops

    from kzoo.losses import Captioning

    return Captioning(pad_id=0)(ops.matmul(states, kernel), labels)


def open_clip(states, kernel, labels):
    from torch.nn.functional import cross_entropy

    return cross_entropy((states @ kernel).permute(0, 2, 1), labels, ignore_index=0)


def step_of(form):
    """A function of a batch size, which makes its arrays, to one that computes the loss and both gradients of it."""
    import keras

    if keras.config.backend() == "jax":
        import jax

        function, tensor = jax.jit(jax.value_and_grad(form, argnums=(0, 1))), jax.numpy.asarray
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tensor = tf.constant

        @tf.function
        def function(states, kernel, labels):
            with tf.GradientTape() as tape:
                tape.watch((states, kernel))
                value = form(states, kernel, labels)
            return value, tape.gradient(value, (states, kernel))

    else:
        import torch

        tensor = torch.tensor

        def function(states, kernel, labels):
            leaves = [each.detach().requires_grad_() for each in (states, kernel)]
            value = form(*leaves, labels)
            return value, torch.autograd.grad(value, leaves)

    def case(batch):
        random = np.random.default_rng(0)
        states = random.normal(size=(batch, LENGTH, WIDTH)).astype("float32")
        kernel = (WIDTH**-0.5 * random.normal(size=(WIDTH, VOCABULARY))).astype("float32")
        arrays = [tensor(each) for each in (states, kernel, random.integers(1, VOCABULARY, (batch, LENGTH)))]
        return lambda: keras.tree.map_structure(keras.ops.convert_to_numpy, function(*arrays)[0])

    return case


def train_step_of(whole):
    """A function of a batch size to one that trains a captioner on a batch."""
    import kzoo
    from kzoo.encoders import MultimodalDecoder, TextTransformer, VisionTransformer
    from kzoo.losses import Captioning

    class OfLogits(Captioning):
        takes_linear_logits = not whole

    tower = {"width": 64, "depth": 1, "num_heads": 2}
    image_encoder = VisionTransformer(32, 8, embed_dim=16, **tower)
    text_encoder = TextTransformer(VOCABULARY, LENGTH + 1, eot_id=2, embed_dim=16, **tower)
    model = kzoo.Captioner(image_encoder, text_encoder, MultimodalDecoder(VOCABULARY, **tower))
    model.compile("sgd", loss=OfLogits())

    def case(batch):
        random = np.random.default_rng(0)
        token_ids = random.integers(3, VOCABULARY, (batch, LENGTH + 1)).astype("int32")
        token_ids[:, -1] = 2
        pixels = random.integers(0, 256, (batch, 32, 32, 3), dtype="uint8")
        return lambda: model.train_on_batch({"images": pixels, "token_ids": token_ids})

    return case


FORMS = {
    "chunked": lambda: step_of(chunked),
    "dense": lambda: step_of(dense),
    "open_clip": lambda: step_of(open_clip),
    "train_on_batch, chunked": lambda: train_step_of(whole=False),
    "train_on_batch, dense": lambda: train_step_of(whole=True),
}


def measured(name):
    from load import resident

    case = FORMS[name]()
    case(1)()  # imports, starts threads
    step = case(BATCH)
    before = resident()
    step()
    peak = resident(peak=True) - before
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "bytes": peak}


def main():
    if len(sys.argv) == 2:
        print(json.dumps(measured(sys.argv[1])))
        return
    backend = os.environ.get("KERAS_BACKEND", "the default backend")
    logits = 4 * BATCH * LENGTH * VOCABULARY
    print(f"{backend}, {BATCH} x {LENGTH} tokens: logits of {logits / 1e6:.0f} MB")
    for name in FORMS:
        if name == "open_clip" and backend != "torch":
            continue
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        run = json.loads(done.stdout.strip().splitlines()[-1])
        if name.endswith("chunked"):
            chunks = run
        ratios = f"memory {chunks['bytes'] / run['bytes']:.2f}, time {chunks['seconds'] / run['seconds']:.2f}"
        print(
            f"  {name:<24} peak {run['bytes'] / 1e6:5.0f} MB, {run['bytes'] / logits:.2f} x the logits   "
            f"{run['seconds']:5.2f} s   chunked / this: {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
