"""Which layer gave the first number of a step that is not finite."""

from typing import Any

import keras
from keras import ops

from kzoo.keras_contact import children_of, outputs_shown


def watched_layers(model) -> list:
    """Layers whose outputs a step looks at: towers, heads and decoders, and what each holds, such as its blocks."""
    parts = list({id(each): each for each in (*model.towers().values(), *model.heads)}.values())
    found = [layer for part in parts for layer in (*children_of(part), part)]
    return list({id(each): each for each in found}.values())


class Watch:
    """Looks at what layers give while a model is called once.

    A layer is noted when its call has ended, so what it holds comes before it. Its `flags` are one number per watched
    layer, in the order in which they were called: 1 where a float of an output was not finite.

    Args:
        layers: list of layers.

    Attributes:
        names: paths of the layers that were called, in the order of `flags`.

    Example:
        >>> watch = Watch(watched_layers(model))
        >>> with watch.looking():
        ...     outputs = model(batch)
        >>> watch.flags()
    """

    def __init__(self, layers):
        self.layers, self.found = layers, {}

    def looking(self) -> Any:
        """A context within which calls are looked at."""
        return outputs_shown(self.layers, self._look)

    def _look(self, layer, outputs):
        floats = [each for each in keras.tree.flatten(outputs) if ops.is_tensor(each) and _is_float(each)]
        bad = [ops.logical_not(ops.all(ops.isfinite(ops.stop_gradient(each)))) for each in floats]
        if bad:
            before = self.found.get(layer.path)
            now = ops.any(ops.stack(bad))
            self.found[layer.path] = now if before is None else ops.logical_or(before, now)

    @property
    def names(self) -> tuple:
        return tuple(self.found)

    def flags(self) -> Any:
        """int32 `(watched layers,)`, zeros behind those that were called."""
        flags = [ops.cast(each, "int32") for each in self.found.values()]
        rest = [ops.zeros((), "int32")] * (len(self.layers) - len(flags))
        return ops.stack([*flags, *rest]) if self.layers else ops.zeros((0,), "int32")


def _is_float(tensor):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def all_finite(tensors) -> Any:
    """Whether all numbers of some tensors are finite: bool scalar. None is passed over."""
    return ops.all(ops.stack([ops.all(ops.isfinite(each)) for each in tensors if each is not None]))


def bad_gradients(gradients) -> Any:
    """int32 `(gradients,)`, 1 where a number of it is not finite."""
    flags = [0 if each is None else ops.logical_not(ops.all(ops.isfinite(each))) for each in gradients]
    return ops.stack([ops.cast(each, "int32") for each in flags])
