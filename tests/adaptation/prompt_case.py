"""What tests of prompts need: models with text towers that pool in different ways, and pictures of three classes."""

import numpy as np
from shared_case import numpy, spread, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import BertEncoder, M2M100Encoder, TextTransformer
from kzoo.models import DualEncoder

NAMES = ["red circle", "green_square", "blue"]
LABELS = np.arange(12) % 3
IMAGES = toy_pairs(12, 16)["images"]
BATCH = {"images": IMAGES, "labels": LABELS}
TOWERS = {
    "clip": {},
    "siglip": {"pool": "last", "causal": False},
    "coca": {"pool": "class_embedding", "pad_id": 0},
    "averaged": {"pool": "average", "mask_padding": True, "causal": False},
    "align": {"kind": BertEncoder},
    "nllb": {"kind": M2M100Encoder, "pad_id": 0},
}


def made(kind=TextTransformer, **options):
    """A model with a text tower of one block, and numbers so large that its outputs depend on its inputs."""
    model = tiny_model(depth=1)
    options |= {"eot_id": 2} if kind is TextTransformer else {}
    text = kind(320, 10, 24, 1, 2, embed_dim=12, name="text_encoder", **options)
    model = DualEncoder(model.image_encoder, text, kzoo.layers.SimilarityHead(8.0, bias=-1.0), model.preprocessor)
    spread(model)
    return model


def state(layer):
    return {each.path: numpy(each) for each in layer.weights}


def zero_shot(model, template):
    texts = model.encode_text([template.format(name.replace("_", " ")) for name in NAMES])
    return model.logits(IMAGES, texts)


def logits_of(classifier):
    return np.asarray(classifier.predict({"images": IMAGES}, verbose=0)["logits"])
