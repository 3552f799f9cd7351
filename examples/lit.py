"""Locked-image tuning (LiT): an image tower of keras-hub stays as it is, a fresh text tower learns to read it."""

import numpy as np

import kzoo
from kzoo.encoders import TextTransformer, from_keras_hub
from kzoo.preprocessing import ImageSteps, Preprocessor

icons = kzoo.data.icons("train", size=32)
icons = {name: values[:1024] for name, values in icons.items()}


def vision_backbone():
    """A tower of keras-hub, built small and untrained, so that the example downloads nothing."""
    from keras_hub import models  # here: it imports Keras, which is to find the backend that kzoo has chosen

    # for work of your own take a trained one: models.Backbone.from_preset("vit_base_patch16_224_imagenet21k")
    return models.ViTBackbone((32, 32, 3), 8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=256)


image_encoder = from_keras_hub(vision_backbone(), mean=0.5, std=0.5, name="image_encoder")  # the texts learn its space
image_encoder.trainable = False

preprocessor = Preprocessor(ImageSteps(32), vocabulary={"train": 512, "context_length": 16})
preprocessor.adapt(icons["captions"])
text_encoder = TextTransformer(
    vocab_size=512,
    context_length=16,
    width=64,
    depth=2,
    num_heads=4,
    embed_dim=image_encoder.embed_dim,
    eot_id=preprocessor.tokenizer.eot_id,
    name="text_encoder",
)
model = kzoo.models.DualEncoder(image_encoder, text_encoder, preprocessor=preprocessor)

before = image_encoder.get_weights()
model.compile(kzoo.training.AdamW(3e-3))
data = kzoo.data.pairs(icons, preprocessor, batch_size=128)
history = model.fit(data, epochs=10, verbose=2).history
same = all(np.array_equal(old, new) for old, new in zip(before, image_encoder.get_weights()))
print(f"loss {history['loss'][0]:.2f} -> {history['loss'][-1]:.2f}; the image tower's weights did not change: {same}")
assert same
