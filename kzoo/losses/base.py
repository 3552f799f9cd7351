"""What every loss shares: named inputs, composition by `+` and `*`, the weighted mean over a batch."""

import inspect
import re

import keras
import numpy as np
from keras import ops

from kzoo.bases import Layer
from kzoo.layers.configured import Configured
from kzoo.layers.linear_logits import LinearLogits
from kzoo.losses.parts.arguments import GOES_WITH, LOSS_BY_NAME
from kzoo.losses.parts.called import Called
from kzoo.losses.parts.description import description, what_lacks
from kzoo.losses.parts.looks import Looks
from kzoo.losses.parts.shapes import MORE, check_rank, is_of_batch, shape_of
from kzoo.types import Tensor


class Loss(Configured, Looks, Called, Layer):
    """Base of every loss: a layer that maps tensors, given by position, to one float32 scalar.

    A loss knows tensors, not models. Attached to a model by `compile(loss=...)` it reads the tensors called
    `input_names` from the model's outputs and the batch, and those of `optional_inputs` that are there.
    Losses add up and take weights: `InfoNCE() + 2.0 * Captioning()`; each term is logged under its name.

    To write one: set `default_inputs`, keep hyper-parameters in the constructor and the formula in `call`. State
    (queues, prototypes) are weights, changed where `call` is given `training=True`.

    Args:
        inputs: names of the tensors that the positional arguments of `call` read; default `default_inputs`.
        **kwargs: `name`, under which the value is logged; for each keyword of `optional_inputs` that is not an
            argument of the constructor the name of the tensor it reads: `SupCon(labels="species")`, which must then be
            there; and `constants`, a dict of the name of a tensor to an array that stands in its place, for what has no
            row for each sample, such as `HaversineGeocell(constants={"centroids": centroids})`. They are weights that
            are not trained: a config has only their shapes, a loss made from it has zeros until weights are loaded.

    Inputs:
        as each loss says. One number for each sample, such as labels and `sample_weight`, may be a column `(batch, 1)`.
        Lists of numbers are taken as arrays.

    Raises:
        TypeError: called without a tensor that the loss needs, or with what is no array.
        ValueError: another number of `inputs` than `call` takes; a constant that the loss does not read, or of which a
            row belongs to each sample, or of another rank; and called, tensors of shapes that do not go together, or
            arrays of numbers that are not what they stand for, see `numbers`.

    Example:
        >>> class SquaredDistance(Loss):
        ...     default_inputs = ("image_embeddings", "text_embeddings")
        ...     def call(self, a, b, sample_weight=None):
        ...         return weighted_mean(ops.sum(ops.square(a - b), axis=-1), sample_weight)
    """

    default_inputs = ("image_embeddings", "text_embeddings")
    optional_inputs = {"sample_weight": "sample_weight"}  # keyword of `call` -> name of the tensor
    required_inputs = ()  # keywords of `optional_inputs` that the loss cannot do without
    pair_inputs = ()  # keywords of `optional_inputs` that are matrices over the pairs of a batch: they have no features
    shapes = {"sample_weight": "batch", "scale": "scalar | 1", "bias": "scalar | 1"}  # argument of `call` -> its axes
    numbers = {"sample_weight": "weight"}  # argument of `call` -> what its numbers are, see `check_numbers`
    input_counts = None  # least and most positional tensors, most None: any number; default those of `default_inputs`
    block_size = None  # rows that are compared at a time, in losses of pairs
    takes_linear_logits = False  # whether `call` reads `LinearLogits` as they are; else they are multiplied out for it
    arguments = GOES_WITH  # of the constructor -> what they may be
    by_name = LOSS_BY_NAME

    def __init__(self, inputs=None, name=None, **kwargs):
        constants = kwargs.pop("constants", None) or {}
        renamed = {keyword: kwargs.pop(keyword) for keyword in self.optional_inputs if keyword in kwargs}
        super().__init__(name=name, **(kwargs | {"dtype": "float32"}))
        self.term = name or snake_case(type(self).__name__)  # Keras numbers layer names, logs do not
        self.supports_masking = True  # a `mask` argument is the loss's own business
        self.inputs_given, self.input_names = inputs is not None, tuple(inputs or self.default_inputs)
        self.optional_names = self.optional_inputs | renamed
        self.asked_for = tuple(key for key, name in renamed.items() if name is not None)  # what was named must be there
        self._check_count(len(self.input_names), f"inputs names {len(self.input_names)}: {self.input_names}")
        self.constants = {name: self._constant(name, value) for name, value in constants.items()}
        self.built = True

    def __repr__(self) -> str:
        return self.as_called()

    @classmethod
    def more_arguments(cls) -> tuple:
        return (*cls.optional_inputs, "constants")

    def _check_count(self, count, received):
        least, most = self.input_counts or [len(self.default_inputs)] * 2
        if count < least or (most is not None and count > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"{type(self).__name__} reads {wanted} tensors, but {received}.")

    def _constant(self, name, value):
        """The weight that holds a constant: an array, or a dict of its shape and dtype."""
        arguments = dict(zip(self.input_names, self._positional(len(self.input_names))))
        arguments |= {name: keyword for keyword, name in self.optional_names.items()}
        able = [each for each, argument in arguments.items() if not is_of_batch(self.shapes.get(argument, MORE))]
        if name not in able:
            takes = f"it takes {', '.join(able)}" if able else "all that it reads has a row for each sample"
            raise ValueError(f"{type(self).__name__} cannot take {name!r} as a constant; {takes}.")
        if isinstance(value, dict):
            shape, dtype, initializer = tuple(value["shape"]), value["dtype"], "zeros"
        else:
            value = np.asarray(value)
            check_rank(name, value, self.shapes.get(arguments[name], MORE))
            shape, dtype = value.shape, "float32" if value.dtype.kind == "f" else "int32"
            initializer = lambda shape, dtype=None: ops.convert_to_tensor(value, dtype)  # noqa: E731
        return self.add_weight(
            name=name, shape=shape, dtype=dtype, initializer=initializer, trainable=False, autocast=False
        )

    @classmethod
    def _positional(cls, count):
        """Names of the first arguments of `call` that are given by position, that of `*name` repeated."""
        names, rest = [], None
        for name, parameter in inspect.signature(cls.call).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                rest = name
            elif parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and rest is None:
                names.append(name)
        names = names[1:]  # without self
        return [*names, *[rest] * (count - len(names))][:count]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the tensors that the loss cannot do without."""
        return self.reading()

    def reading(self, given=()) -> tuple:
        """Names of the tensors that the loss cannot do without where it is attached to a model.

        Args:
            given: names that a loss of any number of tensors reads if it was not told which, such as all embeddings of
                a model.
        """
        needed = (self.optional_names[keyword] for keyword in (*self.required_inputs, *self.asked_for))
        names = dict.fromkeys((*self._inputs_of(given), *needed))
        return tuple(name for name in names if name not in self.constants)

    def may_read(self, given=()) -> tuple:
        """Names of all tensors that the loss reads if they are there; `given` as in `reading`."""
        names = dict.fromkeys((*self._inputs_of(given), *self.optional_names.values()))
        return tuple(name for name in names if name not in self.constants)

    def _inputs_of(self, given):
        takes_any = self.input_counts is not None and self.input_counts[1] is None
        return tuple(given) if given and takes_any and not self.inputs_given else self.input_names

    @property
    def term_names(self) -> tuple:
        """Names under which `from_tensors` reports the terms."""
        return (self.term,)

    def from_tensors(self, tensors, training=None, given=()) -> tuple:
        """The loss of a dict of named tensors.

        Args:
            tensors: name -> tensor, the model's outputs and the batch. Constants of the loss are not looked for there.
            training: whether state such as a queue is updated.
            given: as in `reading`.

        Returns:
            `(total, values)`: the scalar to minimise and the value of each term, as `term_names`.

        Raises:
            ValueError: a tensor that the loss reads is not there.
        """
        terms, values = self.by_term(tensors, training, given)
        return sum(terms), values

    def by_term(self, tensors, training=None, given=()) -> tuple:
        """As `from_tensors`, but `(terms, values)`, with what each term adds to the scalar."""
        self.check_there(tensors, given)
        tensors = tensors | self.constants
        keywords = {key: tensors[name] for key, name in self.optional_names.items() if name in tensors}
        inputs = [self.taken(name, tensors[name]) for name in self._inputs_of(given)]
        if "training" in inspect.signature(self.call).parameters:
            keywords["training"] = training
        value = self(*inputs, **keywords)
        return (value,), (value,)

    def check_there(self, names, given=()) -> None:
        """Stops with a sentence where a tensor that the loss reads is not among `names`; `given` as in `reading`."""
        missing = [name for name in self.reading(given) if name not in names]
        if missing:
            raise ValueError(f"{type(self).__name__} {what_lacks(missing[0], names, self._renaming(missing[0]))}")

    def taken(self, name, tensor) -> Tensor:
        """A tensor of a model or a batch as `call` takes it by position."""
        whole = isinstance(tensor, LinearLogits) and not self.takes_linear_logits
        return tensor.whole() if whole else tensor

    def _renaming(self, name):
        keyword = {self.optional_names[key]: key for key in (*self.required_inputs, *self.asked_for)}.get(name)
        return f"{type(self).__name__}({f'{keyword}=...' if keyword else 'inputs=(...)'})"

    def pairs(self, batch_size) -> tuple | None:
        """`(rows, columns)` of the matrix of scores that a batch is compared in; None where it is in none."""
        return None

    def negatives(self, batch_size) -> int:
        """How many others each anchor is told apart from; 0 where the loss compares with none."""
        pairs = self.pairs(batch_size)
        return pairs[1] - 1 if pairs else 0

    def needs_two(self) -> bool:
        """Whether it tells the rows of a batch apart from each other and from nothing else: of one row it is 0."""
        return self.negatives(2) > 0 and self.negatives(1) < 1

    def describe(self, batch_size, devices=1) -> None:
        """Print what the loss reads, how many negatives an anchor has, and what memory its pairs take.

        Args:
            batch_size: rows on each device; losses see those of all.
            devices: how many.

        Example:
            >>> InfoNCE(block_size=256).describe(4096, devices=8)
            info_nce
              reads       image_embeddings, text_embeddings; if there: sample_weight, logit_scale
              negatives   32,767 per anchor, in a batch of 8 x 4,096
              memory      about 192 MiB for blocks of 256 x 32,768 scores
        """
        print(description(self, batch_size, devices))

    def compute_mask(self, inputs, previous_mask) -> None:
        return None

    def get_config(self) -> dict:
        config = super().get_config() | {"name": self.term}  # the number that Keras appends belongs to one process
        config.pop("constants", None)
        if self.constants:  # their values are weights
            shapes = {name: {"shape": list(each.shape), "dtype": each.dtype} for name, each in self.constants.items()}
            config["constants"] = shapes
        return config

    def __add__(self, other) -> "WeightedSum":
        return WeightedSum([*_terms(self), *_terms(other)])

    def __radd__(self, other) -> "Loss":
        return self if other == 0 else NotImplemented  # lets sum([...]) start from 0

    def __mul__(self, weight) -> "WeightedSum":
        weight = weight if callable(weight) else float(weight)
        return WeightedSum([(_product(weight, own), term) for own, term in _terms(self)])

    __rmul__ = __mul__


@keras.saving.register_keras_serializable(package="kzoo")
class WeightedSum(Loss):
    """`sum_k weight_k * term_k`, made by `+` and `*`. Called with one dict of named tensors.

    A weight is a number or a schedule: a function of the training step, such as a
    `keras.optimizers.schedules.LearningRateSchedule` (those are saved with the loss). The step, the number of calls
    with `training=True`, is a weight of the sum.

    Example:
        >>> loss = InfoNCE() + 0.5 * SigmoidContrastive(scale=10.0, bias=-10.0)
        >>> loss({"image_embeddings": a, "text_embeddings": b})
        >>> ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 1000, end_learning_rate=0.4)
        >>> loss = InfoNCE() + ramp * SupCon(labels="species")
    """

    default_inputs = ()

    def __init__(self, terms, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.weights_of_terms = [weight if callable(weight) else float(weight) for weight, _ in terms]
        self.terms = [term for _, term in terms]
        self.step = None
        if any(map(callable, self.weights_of_terms)):
            self.step = self.add_weight(name="step", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def __repr__(self) -> str:
        weights = ["" if weight == 1.0 else f"{weight!r} * " for weight in self.weights_of_terms]
        return " + ".join(f"{weight}{term!r}" for weight, term in zip(weights, self.terms))

    def reading(self, given=()) -> tuple:
        return tuple(dict.fromkeys(name for term in self.terms for name in term.reading(given)))

    def may_read(self, given=()) -> tuple:
        return tuple(dict.fromkeys(name for term in self.terms for name in term.may_read(given)))

    def check_there(self, names, given=()) -> None:
        for term in self.terms:
            term.check_there(names, given)

    def look(self, tensors, outputs=None) -> None:
        for term in self.terms:
            term.look(tensors, outputs)

    def rows_of(self, tensors) -> dict:
        return {name: each for term in self.terms for name, each in term.rows_of(tensors).items()}

    def needs_two(self) -> bool:
        return any(term.needs_two() for term in self.terms)

    @property
    def term_names(self) -> tuple:
        names = []
        for term in self.terms:
            taken = sum(other.term == term.term for other in self.terms[: len(names)])
            names.append(term.term if not taken else f"{term.term}_{taken + 1}")
        return tuple(names)

    def by_term(self, tensors, training=None, given=()) -> tuple:
        values = tuple(term.from_tensors(tensors, training, given)[0] for term in self.terms)
        terms = tuple(self._weight(weight) * value for weight, value in zip(self.weights_of_terms, values))
        if training and self.step is not None:
            self.step.assign_add(1)
        return terms, values

    def call(self, tensors, training=None) -> Tensor:
        return self.from_tensors(tensors, training)[0]

    def ready(self, arguments, keywords) -> tuple:
        if len(arguments) != 1 or not isinstance(arguments[0], dict):
            raise TypeError("a sum of losses takes one dict of named tensors; its terms take theirs from it.")
        return arguments, keywords

    def describe(self, batch_size, devices=1) -> None:
        for term in self.terms:
            term.describe(batch_size, devices)

    def _weight(self, weight):
        return ops.cast(weight(ops.convert_to_tensor(self.step)), "float32") if callable(weight) else weight


def weighted_mean(values, sample_weight=None) -> Tensor:
    """`sum_i w_i v_i / max(sum_i w_i, 1e-12)`; the plain mean without weights. Float32 scalar."""
    values = ops.cast(values, "float32")
    if sample_weight is None:
        return ops.mean(values)
    weight = ops.cast(sample_weight, "float32")
    if len(shape_of(weight) or ()) == len(shape_of(values) or ()) + 1:
        weight = weight[..., 0]  # a column: times a row it would be a matrix
    return ops.sum(weight * values) / ops.maximum(ops.sum(weight), 1e-12)


def _terms(loss):
    if isinstance(loss, WeightedSum):
        return list(zip(loss.weights_of_terms, loss.terms))
    if isinstance(loss, Loss):
        return [(1.0, loss)]
    raise TypeError(f"a kzoo loss adds to kzoo losses, but got {type(loss).__name__}; see kzoo.losses.")


def _product(weight, other):
    """The product of two weights, of which one may be a schedule if the other is 1."""
    if weight == 1.0 or other == 1.0:
        return other if weight == 1.0 else weight
    if callable(weight) or callable(other):
        raise TypeError("a schedule is the whole weight of a loss; let it return the product with the other weight.")
    return weight * other


def snake_case(name) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
