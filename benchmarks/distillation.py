"""What a small dual encoder gains from a teacher, on icons that neither has seen.

    KERAS_BACKEND=torch python benchmarks/distillation.py

A teacher with towers of width 96 and 4 blocks learns the icons' captions; students of width 48 and 2 blocks learn the
same pairs for a few epochs: alone, with `LogitDistillation` beside the contrast (affinity mimicking), with weights
taken over from the teacher, and with both. Prints parameters, and recall@10 of both directions in the mean, as the mean
and the range over seeds.
"""

import argparse

import numpy as np

import kzoo
from kzoo import keras
from kzoo.adaptation import inherit_weights, with_teacher
from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.losses import InfoNCE, LogitDistillation
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.training import AdamW

BATCH, DIM = 256, 64
TRAIN, TEST = kzoo.data.icons("train", size=32), kzoo.data.icons("test", size=32)
PREPROCESSOR = Preprocessor(ImageSteps(32), vocabulary={"train": 1024, "context_length": 12})
PREPROCESSOR.adapt(TRAIN["captions"])
PAIRS = PREPROCESSOR(TRAIN["images"], TRAIN["captions"])


def new_model(width, depth, seed):
    keras.utils.set_random_seed(seed)
    common = {"width": width, "depth": depth, "num_heads": width // 16, "embed_dim": DIM}
    return kzoo.DualEncoder(
        VisionTransformer(32, 8, **common),
        TextTransformer(1024, 12, eot_id=PREPROCESSOR.tokenizer.eot_id, **common),
        SimilarityHead(scale=4.0, name="similarity"),
        PREPROCESSOR,
    )


def train(model, data, loss, epochs):
    steps = epochs * (len(TRAIN["captions"]) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=2e-3, warmup_steps=steps // 10)
    model.compile(AdamW(rate), loss=loss)
    model.fit(data, batch_size=BATCH, epochs=epochs, verbose=0)
    images, texts = model.encode_image(TEST["images"]), model.encode_text(TEST["captions"])
    found = kzoo.evaluation.recall_at_k(images, texts, ks=(10,))
    return float(np.mean([*found.values()]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher-epochs", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    teacher = new_model(96, 4, seed=0)
    reached = train(teacher, PAIRS, InfoNCE(), asked.teacher_epochs)
    taught = with_teacher(PAIRS, teacher, batch_size=BATCH)
    mimicking = LogitDistillation(teacher_temperature=1.0 / teacher.scale_and_bias()[0])
    print(f"{len(TEST['captions'])} icons never seen, recall@10; students of {asked.epochs} epochs")
    print(f"{'model':32} {'parameters':>11} {'mean':>7} {'least':>7} {'most':>7}")
    print(f"{f'teacher of {asked.teacher_epochs} epochs':32} {teacher.count_params():11,} {reached:7.1%}")
    for name, inherits, distils in (
        ("student alone", False, False),
        ("with affinity mimicking", False, True),
        ("with the teacher's weights", True, False),
        ("with both", True, True),
    ):
        found = []
        for seed in range(asked.seeds):
            model = new_model(48, 2, seed)
            if inherits:
                inherit_weights(model, teacher)
            loss = InfoNCE() + mimicking if distils else InfoNCE()
            found.append(train(model, taught if distils else PAIRS, loss, asked.epochs))
        print(f"{name:32} {model.count_params():11,} {np.mean(found):7.1%} {min(found):7.1%} {max(found):7.1%}")
