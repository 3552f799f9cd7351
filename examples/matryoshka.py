"""Train embeddings that may be cut short (Matryoshka), and measure what is left of recall at each length."""

import numpy as np

import kzoo
from kzoo import keras
from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.losses import InfoNCE, Matryoshka
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.training import AdamW

DIMS, EPOCHS, BATCH_SIZE = [16, 32, 64, 128], 12, 256
train, test = kzoo.data.icons("train", size=32), kzoo.data.icons("test", size=32)
preprocessor = Preprocessor(ImageSteps(32), vocabulary={"train": 1024, "context_length": 12})
preprocessor.adapt(train["captions"])
pairs = preprocessor(train["images"], train["captions"])
steps = EPOCHS * len(train["captions"]) // BATCH_SIZE


def new_model():
    """Towers like those of clip_nano, with embeddings of 128 channels; the same start each time."""
    keras.utils.set_random_seed(0)
    common = {"width": 64, "depth": 2, "num_heads": 4, "embed_dim": 128, "activation": "quick_gelu"}
    return kzoo.models.DualEncoder(
        VisionTransformer(32, 16, name="image_encoder", **common),
        TextTransformer(1024, 12, eot_id=preprocessor.tokenizer.eot_id, name="text_encoder", **common),
        SimilarityHead(scale=4.0, name="similarity"),
        preprocessor,
    )


def cut(embeddings, dim):
    """The first `dim` channels, at unit length again."""
    short = embeddings[:, :dim]
    return short / np.linalg.norm(short, axis=1, keepdims=True)


rows = []
for loss in (InfoNCE(), Matryoshka(InfoNCE(), dims=DIMS)):
    model = new_model()
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=4e-3, warmup_steps=steps // 10)
    model.compile(AdamW(rate), loss=loss)
    model.fit(pairs, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    images, texts = model.encode_image(test["images"]), model.encode_text(test["captions"])
    for dim in DIMS:
        recall = kzoo.evaluation.recall_at_k(cut(images, dim), cut(texts, dim))
        rows.append((type(loss).__name__, dim, *(recall[f"text_to_image_recall@{k}"] for k in (1, 5, 10))))

print(f"caption to icon, {len(test['captions'])} icons never seen")
print(f"{'loss':<12}{'dims':>6}{'@1':>9}{'@5':>9}{'@10':>9}")
for name, dim, *recalls in rows:
    print(f"{name:<12}{dim:>6}" + "".join(f"{each:>9.1%}" for each in recalls))
