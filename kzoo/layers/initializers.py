"""How weights start: drawn from a normal distribution, or with nothing where a checkpoint is about to fill them."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from kzoo.handed_over import handed_over
from kzoo.keras_contact import Unfilled, can_be_given_later, initializer_of
from kzoo.layers.random_numbers import drawn_ahead, processors, taken
from kzoo.types import Tensor

_empty = ContextVar("empty_weights", default=False)  # whether weights start with nothing, in this thread alone
_most = ContextVar("at_most", default=None)  # how many numbers may still be made, in this thread alone


@contextmanager
def empty_weights() -> Iterator:
    """Inside, weights hold nothing: drawing random numbers takes longer than reading a checkpoint over them.

    What another thread builds meanwhile gets its numbers; a thread that builds for this one enters by itself.

    Example:
        >>> with empty_weights():
        ...     model = build(row)
        >>> load_tensors(entries, drop, model, tensors, place)
    """
    token = _empty.set(True)
    try:
        yield
    finally:
        _empty.reset(token)


@contextmanager
def at_most(count, place) -> Iterator:
    """Inside, weights of so many numbers can be made: what a config asks for is not allocated before it is known to be
    there.

    Args:
        count: of numbers.
        place: what holds no more, for the sentence.

    Raises:
        TooMany: where the next weight would be one too many.

    Example:
        >>> with at_most(84_161, "model.weights.h5"), empty_weights():
        ...     model = build(row)
    """
    token = _most.set(_Budget(count, place))
    try:
        yield
    finally:
        _most.reset(token)


class TooMany(ValueError):
    """More weights than `at_most` lets be made."""


class _Budget:
    def __init__(self, count, place):
        self.count, self.place, self.made = count, place, 0

    def take(self, shape) -> None:
        self.made += math.prod(shape)
        if self.made > self.count:
            raise TooMany(
                f"with a weight of shape {tuple(shape)} it has at least {self.made:,} parameters, but {self.place} "
                f"holds {self.count:,} numbers."
            )


def without_values(build, *args) -> Any:
    """What `build(*args)` returns, with weights that have names and shapes but no values and take no memory.

    It is built in a thread of its own, so that the numbers in the names of layers, which Keras counts by thread, do not
    go on for what is built later.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(unfilled, build, *args).result().built


def unfilled(build, *args) -> Unfilled:
    """What `build(*args)` builds, with weights that have names and shapes, for a file to give them values.

    On torch a layer looks at each weight as it takes it, which is shown nothing rather than what would be drawn.

    Example:
        >>> made = unfilled(build, row)
        >>> with filling(made) as model:
        ...     load_tensors(entries, model, tensors, {})
    """
    with empty_weights():
        return Unfilled(build, *args)


@contextmanager
def filling(made) -> Iterator:
    """`Unfilled.filling`, where weights that are assigned nothing start with nothing, see `empty_weights`."""
    with empty_weights(), made.filling() as built:
        yield built


def _nothing(shape, dtype):
    """A tensor that costs no memory until it is filled, where the backend has one."""
    dtype = keras.backend.standardize_dtype(dtype)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=dtype)
    if keras.config.backend() == "torch":
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype))
    return ops.zeros(shape, dtype)


def built_together(build, parts, *args) -> dict:
    """Name -> layer, with random weights that are drawn together, by as many threads as there are processors: each has
    a seed of its own, so they are the same as if they were drawn one by one. They are drawn while layers are built.

    Args:
        build: function of a config, a name and `args` that gives a layer, all of whose weights have initializers.
        parts: dict, name -> config.
        *args: what it is called with besides.

    Example:
        >>> towers = built_together(build_tower, parts_of(row))
    """
    if processors() == 1 or _empty.get() or _most.get() is not None or not can_be_given_later():
        return {name: build(config, name, *args) for name, config in parts.items()}
    made = {}
    with drawn_ahead() as ahead:

        def drawn(variable):
            start, shape = initializer_of(variable), tuple(variable.shape)
            if isinstance(start, Normal | HeNormal):
                ahead.add(start.seed, shape, *start.spread(shape))

        for name, config in parts.items():
            made[name] = Unfilled(build, config, name, *args, told=drawn)
        for each in made.values():
            each.fill()
    return {name: each.built for name, each in made.items()}


def _draw(initializer, shape, dtype):
    if _most.get() is not None:
        _most.get().take(shape)
    if _empty.get():
        return _nothing(shape, dtype)
    values = taken(initializer.seed, tuple(shape), *initializer.spread(shape))
    return handed_over(values, dtype or keras.config.floatx())


@keras.saving.register_keras_serializable(package="kzoo")
class Normal(keras.initializers.RandomNormal):
    """`N(0, stddev^2)`."""

    def __call__(self, shape, dtype=None) -> Tensor:
        return _draw(self, shape, dtype)

    def spread(self, shape) -> tuple:
        """The standard deviation of a weight of this shape, and where its distribution is cut off: nowhere."""
        return self.stddev, None


@keras.saving.register_keras_serializable(package="kzoo")
class HeNormal(keras.initializers.HeNormal):
    """`N(0, 2 / fan_in)`, cut at two standard deviations: for convolutions before a rectifier.

    Reference:
        He et al., Delving Deep into Rectifiers, 2015, arXiv 1502.01852.
    """

    # the standard deviation of what the cut leaves of N(0, 1)
    LEFT = 0.87962566103423978

    def __init__(self, depthwise=False, seed=None):
        super().__init__(seed)
        self.depthwise = depthwise

    def __call__(self, shape, dtype=None) -> Tensor:
        return _draw(self, shape, dtype)

    def spread(self, shape) -> tuple:
        """The standard deviation of a kernel of this shape before it is cut, and where it is, in such deviations."""
        # an output of a depthwise kernel (height, width, channels, 1) reads one channel
        fan_in = math.prod(shape[:-2] if self.depthwise else shape[:-1])
        return math.sqrt(2.0 / fan_in) / self.LEFT, 2.0

    def get_config(self) -> dict:
        return {"depthwise": self.depthwise, "seed": super().get_config()["seed"]}
