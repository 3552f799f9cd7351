"""The graphs that a model leaves as: one per tower, named arrays in, named rows out."""

from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image, ImageDraw

from kzoo.layers.numerics import l2_normalize
from kzoo.models.dual_encoder import tower_inputs

BATCHES = (1, 2, 5)  # differ from each other and from every sequence length a tower could confuse them with


class Graph(keras.layers.Layer):
    """A tower as it is exported: raw pixels or token ids to unit-length embeddings, in float32."""

    def __init__(self, encoder, output_name):
        super().__init__(autocast=False, name=f"{encoder.name}_graph")
        self.encoder, self.output_name = encoder, output_name
        self.built = True

    def call(self, *inputs):
        return {self.output_name: l2_normalize(self.encoder(*inputs, training=False)["embedding"])}


@dataclass
class Tower:
    """A graph with what an exporter needs to know of its inputs and outputs.

    Attributes:
        name: of the file.
        graph: the layer; called with its inputs by position, it returns a dict.
        samples: real inputs, for each of `BATCHES` a dict of arrays in the order of the graph's arguments.
        outputs: name -> shape of one row.
    """

    name: str
    graph: keras.layers.Layer
    samples: list
    outputs: dict

    @property
    def inputs(self):
        """Name -> shape of one row and dtype."""
        return {name: (array.shape[1:], str(array.dtype)) for name, array in self.samples[0].items()}


def towers_of(model):
    """The towers of a `DualEncoder`, with real inputs to verify them on."""
    image, text = model.image_encoder, model.text_encoder
    shape = (model.embed_dim,)
    images = [sample_images(model.preprocessor, rows) for rows in BATCHES]
    images = [{name: batch[name] for name in tower_inputs(image, "image")} for batch in images]
    ids = [{"token_ids": sample_token_ids(text, model.preprocessor, rows)} for rows in BATCHES]
    return [
        Tower("image_encoder", Graph(image, "image_embeddings"), images, {"image_embeddings": shape}),
        Tower("text_encoder", Graph(text, "text_embeddings"), ids, {"text_embeddings": shape}),
    ]


def sample_images(preprocessor, rows):
    """Pictures with edges, gradients and noise, through the model's own image steps."""
    random = np.random.default_rng(rows)
    pictures = []
    for _ in range(rows):
        sides = preprocessor.images.image_size or random.integers(16, 64, 2)
        height, width = (2 * int(side) + 7 for side in sides)
        slope = np.linspace(0, 255, width)[None, :, None] * random.uniform(0.3, 1.0, (height, 1, 3))
        noisy = np.clip(slope + random.normal(0, 12, (height, width, 3)), 0, 255)
        picture = Image.fromarray(noisy.astype("uint8"))
        draw = ImageDraw.Draw(picture)
        for _ in range(4):
            left, right = sorted(random.integers(0, width, 2))
            top, bottom = sorted(random.integers(0, height, 2))
            draw.ellipse((left, top, right, bottom), fill=tuple(int(c) for c in random.integers(0, 256, 3)))
        pictures.append(picture)
    return preprocessor.encode_images(pictures)


def sample_token_ids(text_encoder, preprocessor, rows):
    """Rows of ids of different lengths, closed by the end of text and padded as the model's tokenizer does."""
    random = np.random.default_rng(rows)
    tokenizer = preprocessor.tokenizer
    pad_id = tokenizer.pad_id if tokenizer else getattr(text_encoder, "pad_id", 0)
    eot_id = text_encoder.eot_id if getattr(text_encoder, "pool", None) == "end_of_text" else None
    length = text_encoder.context_length
    ids = np.full((rows, length), pad_id, "int32")
    for row in ids:
        end = int(random.integers(2, length))
        words = random.integers(0, text_encoder.vocab_size, end)
        row[:end] = np.where(words == eot_id, pad_id, words)
        if eot_id is not None:
            row[end] = eot_id
    return ids
