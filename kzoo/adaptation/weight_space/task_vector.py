"""Task vectors: what a training has added to the weights of a model."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from kzoo.adaptation.weight_space.named import MODEL, check_alike, named_weights, weights_of, with_weights
from kzoo.arguments import FINITE, TABLE, Checked, names, takes
from kzoo.files.numbers import check_finite
from kzoo.files.single import replacing_by_name
from kzoo.files.tensor_file import write_tensors
from kzoo.files.tensor_reading import Safetensors


class TaskVector(Checked):
    """Differences of weights by their paths, which can be added, negated and scaled: `tau = theta_tuned - theta_base`.

    - `base + (a + b)`: a model that does both tasks;
    - `base - a`: a model that has forgotten one;
    - `base + (c + (b - a))`: an analogy, c is to the answer as a is to b.

    Args:
        weights: dict of the path of a weight -> float array. `between` makes it of two models.

    Raises:
        ValueError: no weights, or one that is not finite.

    Example:
        >>> birds = TaskVector.between(base, trained_on_birds)
        >>> cars = TaskVector.between(base, trained_on_cars)
        >>> both = (0.4 * (birds + cars)).added_to(base)

    Reference:
        Ilharco et al., Editing Models with Task Arithmetic, 2022, arXiv 2212.04089.
    """

    arguments = {"weights": TABLE}

    def __init__(self, weights: Mapping):
        self.weights = {name: np.asarray(each, "float32") for name, each in weights.items()}
        if not self.weights:
            raise ValueError("weights is empty; give at least one difference, or two models to TaskVector.between.")
        for name, each in self.weights.items():
            check_finite(each, name)

    @classmethod
    @takes(base=MODEL, tuned=MODEL, towers=names("names of towers, such as ('image_encoder',)") | None)
    def between(cls, base, tuned, towers=None) -> "TaskVector":
        """What a training has added.

        Args:
            base: the model before.
            tuned: the model after.
            towers: names of the towers that count, such as `("image_encoder",)`; None for all weights.

        Raises:
            ValueError: models of two architectures; a tower that there is not.
        """
        check_alike([base, tuned])
        unknown = [name for name in towers or () if name not in base.towers()]
        if unknown:
            raise ValueError(f"towers holds {unknown[0]!r}; this model has {', '.join(base.towers())}.")
        before, after = weights_of(base), weights_of(tuned)
        counted = {id(weight) for name in towers or () for weight in base.towers()[name].weights}
        paths = {path for path, weight in named_weights(base) if towers is None or id(weight) in counted}
        return cls({path: after[path] - each for path, each in before.items() if path in paths})

    def __repr__(self) -> str:
        return f"<TaskVector of {len(self.weights)} weights, length {self.length():.4g}>"

    def length(self) -> float:
        """The root of the sum of all squares."""
        return float(np.sqrt(sum(np.sum(each.astype("float64") ** 2) for each in self.weights.values())))

    # -- arithmetic --
    def __add__(self, other) -> Self:
        if not isinstance(other, TaskVector):
            return NotImplemented
        _check_names(self.weights, other.weights)
        return type(self)({name: each + other.weights[name] for name, each in self.weights.items()})

    def __sub__(self, other) -> Self:
        return self + -other if isinstance(other, TaskVector) else NotImplemented

    def __neg__(self) -> Self:
        return -1.0 * self

    def __mul__(self, factor) -> Self:
        FINITE("the factor of a task vector", factor)
        return self.scaled({name: factor for name in self.weights})

    __rmul__ = __mul__

    @takes(factors=TABLE)
    def scaled(self, factors) -> Self:
        """Each weight times a factor of its own.

        Args:
            factors: dict of the name of each weight -> number, or an array that fits it.

        Raises:
            ValueError: other names than those of the weights.
        """
        _check_names(self.weights, factors)
        return type(self)({name: each * np.asarray(factors[name], "float32") for name, each in self.weights.items()})

    @takes(model=MODEL)
    def added_to(self, model) -> Any:
        """A copy of a model with what the vector says added to its weights.

        Args:
            model: of the architecture of those that the vector was made of; it stays as it is.

        Raises:
            ValueError: another architecture.
        """
        own = weights_of(model)
        for name, each in self.weights.items():
            if name not in own or own[name].shape != each.shape:
                have = f"of shape {own[name].shape}" if name in own else "missing"
                raise ValueError(
                    f"the task vector has {name} of shape {each.shape}, which in {model.name} is {have}; add it to a "
                    "model of the architecture that it was made of."
                )
        return with_weights(model, {name: own[name] + each for name, each in self.weights.items()})

    # -- files --
    def save(self, path) -> None:
        """Write the vector to a safetensors file; one that is there is replaced whole."""

        def give(put):
            for name, each in self.weights.items():
                put(name, each)

        with replacing_by_name(path) as place:
            write_tensors(place, give, {"kzoo_task_vector": "1"})

    @classmethod
    def load(cls, path) -> "TaskVector":
        """Open a file that `save` wrote.

        Raises:
            ValueError: no safetensors file, or numbers in it that are none.
        """
        file = Safetensors(path)
        return cls({name: file.read(name) for name in file.shapes})


def _check_names(own, others):
    different = sorted({*own} ^ {*others})
    if different:
        where = "lacks" if different[0] in own else "has"
        raise ValueError(
            f"the other {where} {different[0]} ({len(different)} names differ); give both of the same weights."
        )
