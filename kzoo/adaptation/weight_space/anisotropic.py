"""Task vectors that are scaled block by block, with coefficients that are trained (aTLAS)."""

from typing import Any, Self

import numpy as np
from keras import ops

from kzoo.adaptation.classifiers.arrays import labels_of, rows_of
from kzoo.adaptation.classifiers.classifier import SCALE
from kzoo.adaptation.small_fit import fit_in_batches
from kzoo.adaptation.weight_space.composed import TOWER, Composed, Task, composed_weights, joined, numbers_of
from kzoo.adaptation.weight_space.named import MODEL, check_alike, named_weights, with_weights
from kzoo.arguments import AMOUNT, COUNT, FLAG, NOT_NEGATIVE, POSITIVE, SHARE, Checked, able, one_of, sequence, takes
from kzoo.types import Array


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
        own, *others = ([numbers_of(weight) for weight in each.towers()[TOWER].weights] for each in (base, *tuned))
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
        task = self._task(images, labels, zero_shot)
        composed = Composed(self, task.texts, penalty, penalty_weight)
        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
        fit_in_batches(composed, lambda part, _: task.rows(part), task.labels, **options)
        self.coefficients = numbers_of(composed.coefficients)
        return self

    @takes(
        control=sequence(able("__len__"), "images, labels and zero_shot of another task", 3, 3),
        epochs=COUNT,
        learning_rate=POSITIVE,
        batch_size=COUNT,
        least=SHARE,
        penalty=one_of("l1", "l2") | None,
        penalty_weight=NOT_NEGATIVE,
        seed=AMOUNT,
    )
    def forget(
        self,
        images,
        labels,
        zero_shot,
        control,
        epochs=10,
        learning_rate=1e-2,
        batch_size=64,
        least=0.95,
        penalty=None,
        penalty_weight=1e-3,
        seed=0,
    ) -> Self:
        """Train the coefficients to unlearn one task and keep another: `-CE(task) + CE(control)`.

        Args:
            images, labels, zero_shot: the task to forget, as in `fit`.
            control: `(images, labels, zero_shot)` of the task to keep.
            epochs: passes over both, at most.
            learning_rate, batch_size, penalty, penalty_weight, seed: as in `fit`.
            least: share of the base's accuracy on the control task below which it stops; the coefficients are then
                those of the epoch before.

        Returns:
            this object, whose `coefficients` have changed.

        Raises:
            ValueError: as `fit`.
        """
        tasks = self._task(images, labels, zero_shot), self._task(*control)
        both, bound = joined(*tasks), least * tasks[1].accuracy(self._embedded)
        composed = Composed(self, both.texts, penalty, penalty_weight)
        counts = [sign * len(both.labels) / (2 * len(task.labels)) for sign, task in zip((-1.0, 1.0), tasks)]
        counts = np.repeat(counts, [len(task.labels) for task in tasks])  # each task half, whatever its size

        def go_on():
            kept = tasks[1].accuracy(composed.embedded) >= bound
            if kept:
                self.coefficients = numbers_of(composed.coefficients)
            return kept

        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed}
        more = {"sample_weight": counts, "go_on": go_on}
        fit_in_batches(composed, lambda part, _: both.rows(part), both.labels, **more, **options)
        return self

    def _task(self, images, labels, zero_shot):
        texts = rows_of(zero_shot, "zero_shot", self.base.embed_dim)
        pictures = self.base.preprocessor(images=images)
        arrays = [pictures[each.name] for each in self.base.towers()[TOWER].inputs]
        labels = labels_of(labels, len(arrays[0]), len(texts))
        return Task(arrays, labels, texts, np.zeros((len(labels), len(texts)), "float32"))

    def _embedded(self, arrays):
        return self.base.towers()[TOWER](*arrays, training=False)["embedding"]

    def weights(self) -> list[Array]:
        """The weights of the image tower as the coefficients make them, in the order of `tower.weights`."""
        held = [
            [ops.convert_to_tensor(each) for each in group] for group in (self.start, self.vectors, self.parts or ())
        ]
        made = composed_weights(ops.convert_to_tensor(self.coefficients), held[0], held[1], held[2] or None)
        return [numbers_of(each) for each in made]

    def model(self) -> Any:
        """A copy of the base with the weights that the coefficients make."""
        paths = {id(variable): path for path, variable in named_weights(self.base)}
        own = [paths[id(each)] for each in self.base.towers()[TOWER].weights]
        return with_weights(self.base, dict(zip(own, self.weights(), strict=True)))
