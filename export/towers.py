"""The graphs that a model leaves as: one per tower, named arrays in, named rows out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import keras
import numpy as np
from PIL import Image, ImageDraw

from kzoo.export.manifest import following
from kzoo.models import Captioner
from kzoo.models.compiled import compiled
from kzoo.models.slots import names_of

BATCHES = (1, 2, 5)  # differ from each other and from every sequence length a tower could confuse them with


class Graph(keras.layers.Layer):
    """A tower as it is exported: its arrays to unit-length embeddings, in float32; of a captioner's image tower also to
    `image_tokens`, what its decoder attends to.

    It is asked as a user asks, by the model's own call.

    Args:
        model: the model.
        name: of the graph.
        entries: what a batch calls the inputs, in their order.
        outputs: name in the graph -> name of the model's output.
    """

    def __init__(self, model, name, entries, outputs):
        super().__init__(autocast=False, name=f"{name}_graph")
        self.model, self.entries, self.outputs = model, entries, outputs
        self.built = True

    def call(self, *inputs) -> dict:
        batch = dict(zip(self.entries, inputs))
        found = self.model.call(batch, training=False, only=tuple(self.outputs.values()))
        return {name: found[of] for name, of in self.outputs.items()}


@dataclass
class Tower:
    """A graph with what an exporter needs to know of its inputs and outputs.

    Attributes:
        name: of the file.
        graph: the layer; called with its inputs by position, it returns a dict.
        samples: real inputs, for each of `BATCHES` a dict of arrays in the order of the graph's arguments.
        outputs: name -> shape of one row, see `shaped`.
        output_dtype: of all outputs.
        carried: name of an input -> name of the output by which it follows from the sample before, where it has none.
        shared: names of inputs that have a row for each, or one for all.
    """

    name: str
    graph: keras.layers.Layer
    samples: list
    outputs: dict = field(default_factory=dict)
    output_dtype: str = "float32"
    carried: dict = field(default_factory=dict)
    shared: tuple = ()

    @cached_property
    def ask(self) -> Callable:
        """What the running model gives: function of a dict of arrays, in the order of the graph's arguments, to such a
        dict."""
        graph = self.graph
        if keras.config.backend() == "jax":  # which otherwise compiles each operation for each of its shapes
            graph = compiled(self.graph, self.graph)

        def asked(inputs):
            return {name: keras.ops.convert_to_numpy(value) for name, value in graph(*inputs.values()).items()}

        return asked

    @property
    def inputs(self) -> dict:
        """Name -> shape of one row and dtype."""
        return {name: (array.shape[1:], str(array.dtype)) for name, array in self.samples[0].items()}

    @property
    def example(self) -> dict:
        """A sample of more than one row with every input: of a batch of one, torch would take the size for fixed."""
        full = (sample for sample in self.samples if sample.keys() >= self.inputs.keys())
        return next(sample for sample in full if len(next(iter(sample.values()))) > 1)

    def run(self, graph) -> Iterator:
        """What a graph gives on the samples, one after the other, as dicts of arrays.

        Args:
            graph: function of a dict of arrays, in the order of the graph's arguments, to such a dict.
        """
        past = {}
        for sample in self.samples:
            inputs = {name: sample[name] if name in sample else past[name] for name in self.inputs}
            found = graph(inputs)
            past = following(inputs, found, self.carried)
            yield found


def shaped(tower) -> Tower:
    """A tower that knows its outputs, by what it gives on the first sample."""
    tower.outputs = {name: array.shape[1:] for name, array in tower.ask(tower.samples[0]).items()}
    return tower


def writes_captions(model) -> bool:
    """Whether a model is a captioner that can write id by id."""
    return isinstance(model, Captioner) and model.can_write


def towers_of(model) -> list:
    """The towers of a model, with real inputs that exercise every array they read, to verify them on."""
    return [_tower(model, name, slot) for name, slot in zip(model.towers(), model.exported())]


def _tower(model, name, slot):
    tower, stem = model.towers()[name], name.removesuffix("_encoder")
    called = names_of(tower, stem)  # the inputs of the graph, by those of the tower
    batches = [samples(model, tower, called, rows) for rows in BATCHES]
    outputs = {f"{stem}_embeddings": f"{slot.name}_embeddings"}
    if stem == "image" and writes_captions(model):
        outputs["image_tokens"] = "caption_context"
    graph = Graph(model, name, list(slot.arrays.values()), outputs)
    return shaped(Tower(name, graph, batches))


def samples(model, tower, called, rows) -> dict:
    """Arrays for a tower by their names in the graph, in the order of its inputs."""
    arrays, preprocessor = tower.samples(rows, seed=rows), model.preprocessor
    if tower.modality == "image" and preprocessor is not None and preprocessor.images is not None:
        arrays |= sample_images(preprocessor, rows)
    return {name: arrays[each] for each, name in called.items()}


def sample_images(preprocessor, rows) -> dict:
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
