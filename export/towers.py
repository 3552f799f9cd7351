"""The graphs that a model leaves as: one per tower, named arrays in, named rows out."""

from dataclasses import dataclass, field

import keras
import numpy as np
from PIL import Image, ImageDraw

from kzoo.layers.numerics import l2_normalize
from kzoo.models.dual_encoder import tower_inputs

BATCHES = (1, 2, 5)  # differ from each other and from every sequence length a tower could confuse them with


class Graph(keras.layers.Layer):
    """A tower as it is exported: raw pixels or token ids to unit-length embeddings, in float32; of a captioner also to
    `image_tokens`, what its decoder attends to."""

    def __init__(self, encoder, output_name, captioner=None):
        super().__init__(autocast=False, name=f"{encoder.name}_graph")
        self.encoder, self.output_name, self.captioner = encoder, output_name, captioner
        self.built = True

    def call(self, *inputs):
        features = self.encoder(*inputs, training=False)
        outputs = {self.output_name: l2_normalize(features["embedding"])}
        if self.captioner is not None:
            outputs["image_tokens"] = self.captioner.image_tokens({"image": features})
        return outputs


@dataclass
class Tower:
    """A graph with what an exporter needs to know of its inputs and outputs.

    Attributes:
        name: of the file.
        graph: the layer; called with its inputs by position, it returns a dict.
        samples: real inputs, for each of `BATCHES` a dict of arrays in the order of the graph's arguments.
        outputs: name -> shape of one row.
        output_dtype: of all outputs.
        carried: name of an input -> name of the output that it takes from the sample before, where it has none.
    """

    name: str
    graph: keras.layers.Layer
    samples: list
    outputs: dict
    output_dtype: str = "float32"
    carried: dict = field(default_factory=dict)

    @property
    def inputs(self):
        """Name -> shape of one row and dtype."""
        return {name: (array.shape[1:], str(array.dtype)) for name, array in self.samples[0].items()}

    @property
    def example(self):
        """A sample of more than one row with every input: of a batch of one, torch would take the size for fixed."""
        full = (sample for sample in self.samples if sample.keys() >= self.inputs.keys())
        return next(sample for sample in full if len(next(iter(sample.values()))) > 1)

    def run(self, graph):
        """What a graph gives on the samples, one after the other, as dicts of arrays.

        Args:
            graph: function of a dict of arrays, in the order of the graph's arguments, to such a dict.
        """
        found = {}
        for sample in self.samples:
            inputs = {name: sample[name] if name in sample else found[self.carried[name]] for name in self.inputs}
            found = graph(inputs)
            yield found


def writes_captions(model):
    """Whether a model is a captioner."""
    return hasattr(model, "caption_step")


def towers_of(model):
    """The image tower and the text tower of a model, with real inputs to verify them on."""
    image, text = model.image_encoder, model.text_encoder
    images = [sample_images(model.preprocessor, rows) for rows in BATCHES]
    images = [{name: batch[name] for name in tower_inputs(image, "image")} for batch in images]
    outputs = {"image_embeddings": (model.embed_dim,)}
    captioner = model if writes_captions(model) else None
    if captioner is not None:
        outputs["image_tokens"] = model.image_tokens(model.features(images[0])).shape[1:]
    towers = [Tower("image_encoder", Graph(image, "image_embeddings", captioner), images, outputs)]
    if text is not None:
        ids = [{"token_ids": sample_token_ids(text, model.preprocessor, rows)} for rows in BATCHES]
        outputs = {"text_embeddings": (model.embed_dim,)}
        towers.append(Tower("text_encoder", Graph(text, "text_embeddings"), ids, outputs))
    return towers


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
