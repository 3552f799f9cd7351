"""Task vectors that are scaled block by block, with coefficients that are trained (aTLAS)."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.classifiers.arrays import labels_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE
from kzoo.adaptation.small_fit import fit_in_batches
from kzoo.adaptation.weight_space.named import MODEL, check_alike, named_weights, with_weights
from kzoo.arguments import AMOUNT, COUNT, FLAG, NOT_NEGATIVE, POSITIVE, Checked, one_of, sequence, takes
from kzoo.keras_contact import untracked
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Array, Tensor

TOWER = "image_encoder"


class AnisotropicScaling(Checked):
    """What several trainings have added to the image tower, with a learned coefficient for each weight of each:
    `theta_j = theta_0j + sum_k lambda_kj tau_kj`.

    So few numbers are trained that a few pictures of a class are enough, and what comes out is a combination of what
    the others know. At 0, where it begins, it is the base.

    Args:
        base: a model with a tower of pictures called `image_encoder`.
        tuned: models that were fine-tuned from it.
        blockwise: a coefficient for each weight of the tower; False: one for each model.
        partitions: parts that each weight is split into at random, each with a coefficient of its own ("aTLAS x K").
        scale: of the logits, `base.scale_and_bias()[0]`.
        seed: of the parts.

    Attributes:
        coefficients: float32 array `(models, weights, partitions)`, or `(models, 1, partitions)`.

    Raises:
        ValueError: models of two architectures, or without an image tower.

    Example:
        >>> scaling = AnisotropicScaling(base, [on_birds, on_cars])
        >>> model = scaling.fit(shots, labels, texts, epochs=10).model()

    Reference:
        Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (aTLAS), 2024, arXiv
        2407.02880.
    """

    arguments = {
        "base": MODEL,
        "tuned": sequence(MODEL, "a list of at least one model of kzoo", 1),
        "blockwise": FLAG,
        "partitions": COUNT,
        "scale": POSITIVE,
        "seed": AMOUNT,
    }

    def __init__(self, base, tuned, blockwise=True, partitions=1, scale=SCALE, seed=0):
        if TOWER not in base.towers():
            raise ValueError(
                f"base has no {TOWER}, but {', '.join(base.towers())}; give a model of pictures and texts."
            )
        check_alike([base, *tuned])
        self.base, self.scale, random = base, float(scale), np.random.default_rng(seed)
        own, *others = ([_numbers(weight) for weight in each.towers()[TOWER].weights] for each in (base, *tuned))
        self.start = own
        self.vectors = [np.stack([other[place] - each for other in others]) for place, each in enumerate(own)]
        self.parts = None
        if partitions > 1:
            self.parts = [random.integers(partitions, size=each.shape, dtype="int32") for each in own]
        self.coefficients = np.zeros((len(tuned), len(own) if blockwise else 1, partitions), "float32")

    def __repr__(self) -> str:
        models, blocks, parts = self.coefficients.shape
        return f"<AnisotropicScaling of {models} models, {blocks} blocks, {parts} partitions>"

    @takes(
        epochs=COUNT,
        learning_rate=POSITIVE,
        batch_size=COUNT,
        penalty=one_of("l1", "l2") | None,
        penalty_weight=NOT_NEGATIVE,
        seed=AMOUNT,
    )
    def fit(
        self,
        images,
        labels,
        zero_shot,
        epochs=10,
        learning_rate=1e-2,
        batch_size=64,
        penalty=None,
        penalty_weight=1e-3,
        seed=0,
    ) -> Self:
        """Train the coefficients on the cross-entropy of pictures with the texts of their classes.

        Args:
            images: as `base.preprocessor` takes them; as arrays of its size they are in memory.
            labels: int array `(n,)`, places of their classes.
            zero_shot: float array `(classes, dim)`, the texts of the classes.
            epochs: passes over the pictures.
            learning_rate: of AdamW, falling to 0 as a cosine; the authors take 1e-1 to 1e-3, by task.
            batch_size: pictures per step.
            penalty: `"l1"` or `"l2"` of the coefficients, or None.
            penalty_weight: of it.
            seed: of the order of the pictures.

        Returns:
            this object, whose `coefficients` have changed; they go on from where they were.

        Raises:
            ValueError: labels out of range, texts of another width.
        """
        texts = rows_of(zero_shot, "zero_shot", self.base.embed_dim)
        pictures = self.base.preprocessor(images=images)
        labels = labels_of(labels, len(next(iter(pictures.values()))), len(texts))
        tower = self.base.towers()[TOWER]
        arrays = [pictures[each.name] for each in tower.inputs]
        composed = _Composed(self, tower, texts, penalty, penalty_weight)
        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
        fit_in_batches(composed, lambda part, _: [each[part] for each in arrays], labels, **options)
        self.coefficients = ops.convert_to_numpy(composed.coefficients)
        return self

    def weights(self) -> list[Array]:
        """The weights of the image tower as the coefficients make them, in the order of `tower.weights`."""
        held = [
            [ops.convert_to_tensor(each) for each in group] for group in (self.start, self.vectors, self.parts or ())
        ]
        made = composed_weights(ops.convert_to_tensor(self.coefficients), held[0], held[1], held[2] or None)
        return [_numbers(each) for each in made]

    def model(self) -> Any:
        """A copy of the base with the weights that the coefficients make."""
        paths = {id(variable): path for path, variable in named_weights(self.base)}
        own = [paths[id(each)] for each in self.base.towers()[TOWER].weights]
        return with_weights(self.base, dict(zip(own, self.weights(), strict=True)))


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


class _Composed(keras.Model):
    """The image tower with composed weights: arrays of pictures in, logits out. Nothing but coefficients is trained."""

    def __init__(self, scaling, tower, texts, penalty, penalty_weight):
        super().__init__(name="composed", dtype="float32")
        untracked(self, "tower", tower)
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

    def call(self, arrays) -> Tensor:
        coefficients = ops.convert_to_tensor(self.coefficients)
        held = [[ops.convert_to_tensor(each) for each in group] for group in (self.start, self.vectors, self.parts)]
        weights = composed_weights(coefficients, held[0], held[1], held[2] or None)
        made = dict(zip(map(id, self.tower.weights), weights))
        groups = [
            [ops.cast(made[id(each)], each.dtype) if id(each) in made else each.value for each in group]
            for group in (self.tower.trainable_variables, self.tower.non_trainable_variables)
        ]
        outputs, _ = self.tower.stateless_call(*groups, *arrays, training=False)
        if self.penalty is not None:
            size = coefficients * (ops.stop_gradient(ops.sign(coefficients)) if self.penalty == "l1" else coefficients)
            self.add_loss(self.penalty_weight * ops.sum(size))
        return self.scale * ops.matmul(
            l2_normalize(ops.cast(outputs["embedding"], "float32")), ops.transpose(self.texts)
        )


def _numbers(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))
