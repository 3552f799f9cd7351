"""CLIP of keras-hub, on a backend of Keras."""

import numpy as np

from benchmarks.suite.cases import TRAINED
from benchmarks.suite.inputs import scaled, token_ids


def built(case):
    """The untrained model of a case."""
    import keras_hub

    size, models = case.numbers, keras_hub.models
    image = models.CLIPVisionEncoder(
        patch_size=size.patch_size,
        **_stack(size.image),
        image_shape=(size.image_size, size.image_size, 3),
    )
    text = models.CLIPTextEncoder(
        vocabulary_size=size.vocab_size,
        embedding_dim=size.text.width,
        **_stack(size.text),
        max_sequence_length=size.length,
    )
    return models.CLIPBackbone(vision_encoder=image, text_encoder=text, projection_dim=size.embed_dim)


def _stack(stack):
    return {
        "hidden_dim": stack.width,
        "num_layers": stack.depth,
        "num_heads": stack.heads,
        "intermediate_dim": stack.mlp_dim,
    }


def prepare(case, options, about):
    import keras

    if case.kind == "build":
        return lambda: built(case)
    model = built(case)
    about["parameters"] = model.count_params()
    batch = {"images": scaled(case, channels_first=False), "token_ids": token_ids(case)}
    if case.kind in TRAINED:
        # the rows of its logits belong to the columns of the same number: cross-entropies, which are InfoNCE
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(1e-4), loss={"vision_logits": loss, "text_logits": loss})
        rows = np.arange(case.batch)
        return lambda: model.train_on_batch(batch, {"vision_logits": rows, "text_logits": rows})
    name, of = (
        ("images", model.get_vision_embeddings) if case.kind == "image" else ("token_ids", model.get_text_embeddings)
    )
    tensor = next(each for each in model.inputs if each.name == name)
    tower = keras.Model(tensor, of(tensor))
    return lambda: tower.predict_on_batch(batch[name])
