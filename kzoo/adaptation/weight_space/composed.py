"""An image tower whose weights are made of others as it runs, and the tasks that it is trained on."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kzoo.inference.embed import BATCH_SIZE
from kzoo.keras_contact import untracked
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Array, Tensor

TOWER = "image_encoder"
NEVER = -1e9  # of a logit


def composed_weights(coefficients, start, vectors, parts=None) -> list[Tensor]:
    """`theta_0j + sum_k lambda_kj tau_kj` of each weight j, where a part of it may have a coefficient of its own."""
    found = []
    for place, (own, vector) in enumerate(zip(start, vectors)):
        of_block = coefficients[:, place if coefficients.shape[1] > 1 else 0]  # (models, partitions)
        if parts is None:
            found.append(own + ops.tensordot(of_block[:, 0], vector, axes=1))
        else:
            of_entries = ops.take(of_block, parts[place], axis=1)  # (models, *shape)
            found.append(own + ops.sum(of_entries * vector, axis=0))
    return found


class Task(NamedTuple):
    """Pictures to train on.

    Attributes:
        arrays: list of arrays, in the order of the inputs of the tower.
        labels: int array `(n,)`.
        texts: float array `(classes, dim)`.
        apart: float array `(n, classes)`, what is added to the logits: 0, or never for classes of another task.
    """

    arrays: list
    labels: Array
    texts: Array
    apart: Array

    def rows(self, part) -> tuple:
        """Some of them, as `Composed` takes them."""
        return [each[part] for each in self.arrays], self.apart[part]

    def accuracy(self, embedded) -> float:
        """Share of the pictures whose class is found in what a function of arrays gives of them."""
        found = []
        for start in range(0, len(self.labels), BATCH_SIZE):
            arrays, _ = self.rows(slice(start, start + BATCH_SIZE))
            found.append((numbers_of(embedded(arrays)) @ self.texts.T).argmax(axis=1))
        return float(np.mean(np.concatenate(found) == self.labels))


def joined(one, other) -> Task:
    """Two tasks as one, in which a picture of each has the classes of its own alone."""
    arrays = [np.concatenate(both) for both in zip(one.arrays, other.arrays, strict=True)]
    labels = np.concatenate([one.labels, len(one.texts) + other.labels])
    apart = np.full((len(labels), len(one.texts) + len(other.texts)), NEVER, "float32")
    apart[: len(one.labels), : len(one.texts)] = 0.0
    apart[len(one.labels) :, len(one.texts) :] = 0.0
    return Task(arrays, labels, np.concatenate([one.texts, other.texts]), apart)


class Composed(keras.Model):
    """The image tower with composed weights: the rows of a `Task` in, logits out. Only the coefficients are trained."""

    def __init__(self, scaling, texts, penalty, penalty_weight):
        super().__init__(name="composed", dtype="float32")
        untracked(self, "tower", scaling.base.towers()[TOWER])
        self.scale, self.texts, self.penalty, self.penalty_weight = scaling.scale, texts, penalty, penalty_weight
        self.coefficients = self.add_weight(name="coefficients", shape=scaling.coefficients.shape, initializer="zeros")
        self.coefficients.assign(scaling.coefficients)
        # weights of their own, and no constants, which a compiled step would hold once more
        self.start = [self._held("start", place, each) for place, each in enumerate(scaling.start)]
        self.vectors = [self._held("vector", place, each) for place, each in enumerate(scaling.vectors)]
        self.parts = [self._held("part", place, each) for place, each in enumerate(scaling.parts or ())]
        self.built = True

    def _held(self, name, place, array):
        options = {"shape": array.shape, "dtype": str(array.dtype), "initializer": "zeros", "trainable": False}
        weight = self.add_weight(name=f"{name}_{place}", **options)
        weight.assign(array)
        return weight

    def call(self, given) -> Tensor:
        arrays, apart = given
        if self.penalty is not None:
            size = coefficients = ops.convert_to_tensor(self.coefficients)
            size = size * (ops.stop_gradient(ops.sign(coefficients)) if self.penalty == "l1" else coefficients)
            self.add_loss(self.penalty_weight * ops.sum(size))
        embeddings = l2_normalize(ops.cast(self.embedded(arrays), "float32"))
        return self.scale * ops.matmul(embeddings, ops.transpose(self.texts)) + apart

    def embedded(self, arrays) -> Tensor:
        """What the composed tower gives of pictures, not normalised."""
        coefficients = ops.convert_to_tensor(self.coefficients)
        held = [[ops.convert_to_tensor(each) for each in group] for group in (self.start, self.vectors, self.parts)]
        weights = composed_weights(coefficients, held[0], held[1], held[2] or None)
        made = dict(zip(map(id, self.tower.weights), weights))
        groups = [
            [ops.cast(made[id(each)], each.dtype) if id(each) in made else each.value for each in group]
            for group in (self.tower.trainable_variables, self.tower.non_trainable_variables)
        ]
        outputs, _ = self.tower.stateless_call(*groups, *arrays, training=False)
        return outputs["embedding"]


def numbers_of(tensor) -> Array:
    """A tensor as a float32 array."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))
