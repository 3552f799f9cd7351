"""What every loss shares: named inputs, composition by `+` and `*`, the weighted mean over a batch."""

import re

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.linear_logits import LinearLogits


class Loss(Configured, keras.layers.Layer):
    """Base of every loss: a layer that maps tensors, given by position, to one float32 scalar.

    A loss knows tensors, not models. Attached to a model by `compile(loss=...)` it reads the tensors called
    `input_names` from the model's outputs and the batch, and those of `optional_inputs` that are there.
    Losses add up and take weights: `InfoNCE() + 2.0 * Captioning()`; each term is logged under its name.

    To write one: set `default_inputs`, keep hyper-parameters in the constructor and the formula in `call`.

    Args:
        inputs: names of the tensors that the positional arguments of `call` read; default `default_inputs`.

    Example:
        >>> class SquaredDistance(Loss):
        ...     default_inputs = ("image_embeddings", "text_embeddings")
        ...     def call(self, a, b, sample_weight=None):
        ...         return weighted_mean(ops.sum(ops.square(a - b), axis=-1), sample_weight)
    """

    default_inputs = ("image_embeddings", "text_embeddings")
    optional_inputs = {"sample_weight": "sample_weight"}  # keyword of `call` -> name of the tensor
    takes_linear_logits = False  # whether `call` reads `LinearLogits` as they are; else they are multiplied out for it

    def __init__(self, inputs=None, name=None, **kwargs):
        super().__init__(name=name, **(kwargs | {"dtype": "float32"}))
        self.term = name or _snake_case(type(self).__name__)  # Keras numbers layer names, logs do not
        self.supports_masking = True  # a `mask` argument is the loss's own business
        self.input_names = tuple(inputs or self.default_inputs)
        if len(self.input_names) != len(self.default_inputs):
            raise ValueError(
                f"{type(self).__name__} reads {len(self.default_inputs)} tensors, but inputs names "
                f"{len(self.input_names)}: {self.input_names}."
            )
        self.built = True

    @property
    def reads(self):
        """Names of the tensors that the loss cannot do without."""
        return self.input_names

    @property
    def term_names(self):
        """Names under which `from_tensors` reports the terms."""
        return (self.term,)

    def from_tensors(self, tensors):
        """The loss of a dict of named tensors.

        Args:
            tensors: name -> tensor, the model's outputs and the batch.

        Returns:
            `(total, values)`: the scalar to minimise and the value of each term, as `term_names`.

        Raises:
            ValueError: a tensor that the loss reads is not there.
        """
        missing = [name for name in self.input_names if name not in tensors]
        if missing:
            raise ValueError(
                f"{type(self).__name__} reads {missing[0]!r}, but the model and the batch give only "
                f"{', '.join(sorted(tensors))}; name other tensors with {type(self).__name__}(inputs=(...))."
            )
        optional = {key: tensors[name] for key, name in self.optional_inputs.items() if name in tensors}
        inputs = [tensors[name] for name in self.input_names]
        if not self.takes_linear_logits:
            inputs = [each.whole() if isinstance(each, LinearLogits) else each for each in inputs]
        value = self(*inputs, **optional)
        return value, (value,)

    def compute_mask(self, inputs, previous_mask):
        return None

    def get_config(self):
        return super().get_config() | {"name": self.term}  # the number that Keras appends belongs to one process

    def __add__(self, other):
        return WeightedSum([*_terms(self), *_terms(other)])

    def __radd__(self, other):
        return self if other == 0 else NotImplemented  # lets sum([...]) start from 0

    def __mul__(self, weight):
        return WeightedSum([(float(weight) * own, term) for own, term in _terms(self)])

    __rmul__ = __mul__


@keras.saving.register_keras_serializable(package="kzoo")
class WeightedSum(Loss):
    """`sum_k weight_k * term_k`, made by `+` and `*`. Called with one dict of named tensors.

    Example:
        >>> loss = InfoNCE() + 0.5 * SigmoidContrastive(scale=10.0, bias=-10.0)
        >>> loss({"image_embeddings": a, "text_embeddings": b})
    """

    default_inputs = ()

    def __init__(self, terms, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.weights_of_terms = [float(weight) for weight, _ in terms]
        self.terms = [term for _, term in terms]

    @property
    def reads(self):
        return tuple(dict.fromkeys(name for term in self.terms for name in term.reads))

    @property
    def term_names(self):
        names = []
        for term in self.terms:
            taken = sum(other.term == term.term for other in self.terms[: len(names)])
            names.append(term.term if not taken else f"{term.term}_{taken + 1}")
        return tuple(names)

    def from_tensors(self, tensors):
        values = tuple(term.from_tensors(tensors)[0] for term in self.terms)
        return sum(weight * value for weight, value in zip(self.weights_of_terms, values)), values

    def call(self, tensors):
        return self.from_tensors(tensors)[0]


def weighted_mean(values, sample_weight=None):
    """`sum_i w_i v_i / max(sum_i w_i, 1e-12)`; the plain mean without weights. Float32 scalar."""
    values = ops.cast(values, "float32")
    if sample_weight is None:
        return ops.mean(values)
    weight = ops.cast(sample_weight, "float32")
    return ops.sum(weight * values) / ops.maximum(ops.sum(weight), 1e-12)


def _terms(loss):
    if isinstance(loss, WeightedSum):
        return list(zip(loss.weights_of_terms, loss.terms))
    if isinstance(loss, Loss):
        return [(1.0, loss)]
    raise TypeError(f"a kzoo loss adds to kzoo losses, but got {type(loss).__name__}; see kzoo.losses.")


def _snake_case(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
