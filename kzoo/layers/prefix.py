"""Keys and values beside those of an attention layer, that are learned and have no position."""

import keras
from keras import ops

from kzoo.arguments import whole
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.places import Heads
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class Prefix(Configured, keras.layers.Layer):
    """What is added to that which the heads mixed: `tanh(g) softmax(q K^T / sqrt(d)) V`, with a gate g for each head.

    Args:
        num_prefix: keys and values.

    Inputs:
        x: float tensor `(batch, T, heads, d)`, the queries.
        y: float tensor of that shape, what the heads mixed.

    Returns:
        float tensor as `y`.

    Example:
        >>> update = Prefix(num_prefix=4)
        >>> update.follow(place_of(attention))

    Reference:
        Li and Liang, Prefix-Tuning, 2021, arXiv 2101.00190; the gate: Zhang et al., LLaMA-Adapter, 2023, arXiv
        2303.16199.
    """

    arguments = {"num_prefix": whole(1)}
    merges, rate_ratio = False, 1.0

    def __init__(self, num_prefix, **kwargs):
        super().__init__(**kwargs)
        self.num_prefix = num_prefix

    @staticmethod
    def fits(place) -> bool:
        """Whether it can stand at a place: among the heads of an attention layer."""
        return isinstance(place, Heads)

    def shapes(self, place) -> dict[str, tuple]:
        """Name -> shape of the weights that are trained, at a place of `kzoo.layers.places`."""
        heads, channels = place.shape
        vectors = (heads, self.num_prefix, channels)
        return {"keys": vectors, "values": vectors, "gates": (heads,)}

    def follow(self, place) -> None:
        """Take heads and channels of a place, of `kzoo.layers.places`."""
        for name, shape in self.shapes(place).items():
            initializer = "zeros" if name == "gates" else Normal(stddev=1.0)  # as keys and values of the layer are
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        once = {"shape": (), "dtype": "float32", "trainable": False, "autocast": False}
        self.weight = self.add_weight(name="weight", initializer="ones", **once)  # with which it is added
        self.built = True

    def call(self, x, y) -> Tensor:
        query = ops.transpose(x * x.shape[-1] ** -0.5, (0, 2, 1, 3))  # (batch, heads, T, d)
        keys, values = (ops.cast(ops.convert_to_tensor(each), x.dtype) for each in (self.keys, self.values))
        scores = ops.cast(ops.matmul(query, ops.transpose(keys, (0, 2, 1))), "float32")  # (batch, heads, T, num_prefix)
        mixed = ops.matmul(ops.cast(ops.softmax(scores, axis=-1), x.dtype), values)  # (batch, heads, T, d)
        gates = ops.tanh(ops.cast(ops.convert_to_tensor(self.gates), "float32")) * ops.convert_to_tensor(self.weight)
        return ops.cast(ops.transpose(mixed, (0, 2, 1, 3)), y.dtype) * ops.cast(gates[:, None], y.dtype)

    def trained(self) -> list:
        """The weights that are trained while it is added."""
        return [self.keys, self.values, self.gates]
