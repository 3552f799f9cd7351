"""Teach a model the order of words (NegCLIP): swapped captions as hard negatives, beside plain InfoNCE."""

from itertools import permutations, product

import numpy as np
from PIL import Image, ImageDraw

import kzoo
from kzoo import keras
from kzoo.losses import HardNegativeContrastive, InfoNCE
from kzoo.training import AdamW

COLOURS = ("red", "green", "blue", "orange", "purple", "black", "cyan", "brown")
SHAPES = {"triangle": (3, 0), "square": (4, 0), "diamond": (4, 45), "pentagon": (5, 0), "circle": (24, 0)}
SWAPS = {"colours": [(1, 6)], "shapes": [(2, 7)], "both": [(1, 6), (2, 7)]}  # places in "a red circle left of a ..."


def draw(*things):
    """A picture of two things beside each other, each a colour and a shape."""
    picture = Image.new("RGB", (32, 32), "white")
    for place, (colour, shape) in enumerate(things):
        sides, rotation = SHAPES[shape]
        ImageDraw.Draw(picture).regular_polygon((8 + 16 * place, 16, 7), sides, rotation, fill=colour)
    return np.asarray(picture)


def swapped(caption, swaps):
    words = caption.split()
    for i, j in swaps:
        words[i], words[j] = words[j], words[i]
    return " ".join(words)


# every picture of two colours and two shapes, so that swapped words make another caption; one in eight is held out
scenes = [tuple(zip(c, s)) for c, s in product(permutations(COLOURS, 2), permutations(SHAPES, 2))]
scenes = [scenes[index] for index in np.random.default_rng(0).permutation(len(scenes))]
images = np.stack([draw(*scene) for scene in scenes])
captions = ["a {} {} left of a {} {}".format(*scene[0], *scene[1]) for scene in scenes]
wrong = [[swapped(caption, swaps) for swaps in SWAPS.values()] for caption in captions]
held_out = len(scenes) // 8
epochs, batch_size = 12, 32
steps = epochs * (len(scenes) - held_out) // batch_size

print(f"{'loss':<26}" + "".join(f"{f'{name} swapped':>18}" for name in SWAPS) + f"{'recall@1':>12}")
for loss in (InfoNCE(), HardNegativeContrastive()):
    keras.utils.set_random_seed(0)
    model = kzoo.from_preset("clip_nano", load_weights=False)
    model.preprocessor.adapt(captions[held_out:])
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=steps // 10)
    model.compile(AdamW(rate), loss=loss)
    # where the loss reads `negatives`, the model embeds them; InfoNCE does not
    batch = model.preprocessor(images[held_out:], captions[held_out:], negatives=wrong[held_out:])
    model.fit(batch, batch_size=batch_size, epochs=epochs, verbose=0)

    # order accuracy: is the right caption nearer to the held-out picture than the swapped one?
    seen, texts = model.encode_image(images[:held_out]), model.encode_text(captions[:held_out])
    hard = model.encode_text(sum(wrong[:held_out], [])).reshape(held_out, len(SWAPS), -1)
    order = np.mean(np.sum(seen * texts, axis=1)[:, None] > np.einsum("id,ind->in", seen, hard), axis=0)
    recall = kzoo.evaluation.recall_at_k(seen, texts)["image_to_text_recall@1"]
    print(f"{type(loss).__name__:<26}" + "".join(f"{each:>18.1%}" for each in order) + f"{recall:>12.1%}")
