"""Training in 16 bits beside float32: how far the losses are apart, and how many steps were left out.

    KERAS_BACKEND=torch python benchmarks/precision.py
    KERAS_BACKEND=jax python benchmarks/precision.py clip_nano --steps 50

Each form of model begins with the same weights and sees the same batch at every step, in float32, mixed_bfloat16 and
mixed_float16. Its learning rate rises for a fifth of the steps and falls as a cosine, as recipes have it. Only applied
steps count: what loss scaling has left out is done again, and printed. `apart` is the largest difference of a loss to
that of float32 after as many applied steps, as a share of that where it is more than 1: 16 bits are digits of a number,
and these losses begin at 3 to 16. `beside` is what float32 itself makes of weights that were rounded to bfloat16 at the
start: nearer than that no two trainings stay.
"""

import argparse

import keras
import numpy as np

import kzoo
from kzoo.encoders import ConvNeXt
from kzoo.models import DualEncoder
from kzoo.training import AdamW

FORMS = ("clip_nano", "coca_nano", "siglip_nano", "convolutions")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
ROWS, MOST, RATE = 16, 0.01, 2e-4


def built(form, policy):
    """A model with random weights; of the convolutional one, the texts are those of CLIP."""
    if form != "convolutions":
        return kzoo.from_preset(form, load_weights=False, dtype=policy)
    text = kzoo.from_preset("clip_nano", load_weights=False, dtype=policy).text_encoder
    sizes = {"depths": (1, 1, 2, 1), "widths": (16, 32, 48, 64), "embed_dim": text.embed_dim}
    return DualEncoder(ConvNeXt(64, **sizes, dtype=policy), text, kzoo.layers.SimilarityHead(), dtype=policy)


def losses_of(model, batch, steps):
    """The loss at each applied step, and how many were left out."""
    rise = max(1, steps // 5)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - rise, warmup_target=RATE, warmup_steps=rise)
    model.compile(AdamW(rate))
    losses, left_out = [], 0
    while len(losses) < steps:
        before = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        loss = float(model.train_on_batch(batch, return_dict=True)["loss"])
        model.reset_metrics()
        applied = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) > before
        left_out += not applied
        if applied:
            losses.append(loss)
        elif left_out > steps:
            raise FloatingPointError(f"{left_out} steps were left out, and {len(losses)} applied.")
    return np.array(losses), left_out


def rounded(array):
    """The nearest numbers of bfloat16, in float32; ids and seeds as they are."""
    if array.dtype.kind != "f":
        return array
    return keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(array, "bfloat16"), "float32"))


def compare(form, steps):
    """A line for each policy of 16 bits."""
    reference = built(form, "float32")
    weights = [keras.ops.convert_to_numpy(each) for each in reference.weights]
    batch = reference.image_encoder.samples(ROWS) | reference.text_encoder.samples(ROWS)
    expected, _ = losses_of(reference, batch, steps)

    def apart(policy, weights):
        model = built(form, policy)
        model.set_weights(weights)
        losses, left_out = losses_of(model, batch, steps)
        return np.abs(losses - expected) / np.maximum(1.0, expected), left_out

    beside = apart("float32", [rounded(each) for each in weights])[0].max()
    for policy in POLICIES[1:]:
        found, left_out = apart(policy, weights)
        line = f"{form:<13} {policy:<15} {expected[0]:>7.3f} {expected[-1]:>7.3f} {found.max():>8.4f} {beside:>8.4f}"
        more = "" if found.max() <= MOST else f"   more than {MOST}, at step {found.argmax() + 1}"
        print(f"{line} {left_out:>8}{more}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forms", nargs="*", metavar="form", help=", ".join(FORMS))
    parser.add_argument("--steps", type=int, default=100, help="applied steps")
    options = parser.parse_args()
    print(f"kzoo on {keras.config.backend()}, {options.steps} applied steps, {ROWS} pairs at each")
    print(f"{'':<29} {'first':>7} {'last':>7} {'apart':>8} {'beside':>8} {'left out':>8}")
    for form in options.forms or FORMS:
        compare(form, options.steps)


if __name__ == "__main__":
    main()
