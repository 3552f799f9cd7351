"""The graphs that a model leaves as: one per tower, one array in, named rows out."""

from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image, ImageDraw

from kzoo.layers.numerics import l2_normalize

BATCHES = (1, 2, 5)  # differ from each other and from every sequence length a tower could confuse them with


class Graph(keras.layers.Layer):
    """A tower as it is exported: raw pixels or token ids to unit-length embeddings, in float32."""

    def __init__(self, encoder, output_name):
        super().__init__(autocast=False, name=f"{encoder.name}_graph")
        self.encoder, self.output_name = encoder, output_name
        self.built = True

    def call(self, x):
        return {self.output_name: l2_normalize(self.encoder(x, training=False)["embedding"])}


@dataclass
class Tower:
    """A graph with what an exporter needs to know of its input.

    Attributes:
        name: of the file.
        graph: the layer.
        input_name: of the only input.
        shape: of one row.
        dtype: of the input.
        samples: input arrays, one for each of `BATCHES`.
    """

    name: str
    graph: Graph
    input_name: str
    shape: tuple
    dtype: str
    samples: list

    @property
    def embed_dim(self):
        return self.graph.encoder.embed_dim

    @property
    def output_names(self):
        return [self.graph.output_name]


def towers_of(model):
    """The towers of a `DualEncoder`, with real inputs to verify them on."""
    image, text = model.image_encoder, model.text_encoder
    return [
        Tower(
            "image_encoder",
            Graph(image, "image_embeddings"),
            "images",
            (*image.image_size, 3),
            "uint8",
            [sample_images(model.preprocessor, rows) for rows in BATCHES],
        ),
        Tower(
            "text_encoder",
            Graph(text, "text_embeddings"),
            "token_ids",
            (text.context_length,),
            "int32",
            [sample_token_ids(text, model.preprocessor, rows) for rows in BATCHES],
        ),
    ]


def sample_images(preprocessor, rows):
    """Pictures with edges, gradients and noise, through the model's own image steps."""
    random = np.random.default_rng(rows)
    pictures = []
    for _ in range(rows):
        height, width = (2 * side + 7 for side in preprocessor.images.image_size)
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
    pad_id = preprocessor.tokenizer.pad_id if preprocessor.tokenizer else 0
    pools_at_the_end = text_encoder.pool == "end_of_text"
    eot_id = text_encoder.eot_id
    length = text_encoder.context_length
    ids = np.full((rows, length), pad_id, "int32")
    for row in ids:
        end = int(random.integers(2, length))
        words = random.integers(0, text_encoder.vocab_size, end)
        row[:end] = np.where(words == eot_id, pad_id, words)
        if pools_at_the_end:
            row[end] = eot_id
    return ids
