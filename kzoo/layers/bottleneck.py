"""A bottleneck beside a layer that stays as it is: two small linear layers with an activation between them."""

import keras
from keras import ops

from kzoo.arguments import FLAG, POSITIVE, whole
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.matrices import EinsumMatrix, Matrix
from kzoo.layers.numerics import activation_function
from kzoo.layers.places import Branch
from kzoo.types import Tensor

STDDEV = 0.01  # of what begins small, as in the code of the first paper


@keras.saving.register_keras_serializable(package="kzoo")
class Bottleneck(Configured, keras.layers.Layer):
    """What is added to the output `y` of a layer: `s up(g(down(y)))`, or of its input, `s up(g(down(x)))`.

    Args:
        bottleneck_dim: channels between `down` and `up`.
        activation: g.
        scale: s.
        parallel: it reads what the layer reads.

    Inputs:
        x: float tensor `(..., d_in)`, what the layer got.
        y: float tensor `(..., d_out)`, what it gave.

    Returns:
        float tensor as `y`.

    Example:
        >>> update = Bottleneck(bottleneck_dim=8)
        >>> update.follow(place_of(dense))
        >>> y = dense(x) + update(x, dense(x))

    Reference:
        Houlsby et al., Parameter-Efficient Transfer Learning for NLP, 2019, arXiv 1902.00751.
    """

    arguments = {"bottleneck_dim": whole(1), "scale": POSITIVE, "parallel": FLAG}
    merges, rate_ratio = False, 1.0

    def __init__(self, bottleneck_dim, activation="gelu", scale=1.0, parallel=False, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck_dim, self.scale, self.parallel = bottleneck_dim, scale, parallel
        self.activation = activation_function(activation)

    @staticmethod
    def fits(place, parallel=False) -> bool:
        """Whether it can stand at a place: behind a layer with one axis of channels, or beside an MLP."""
        if parallel:
            return isinstance(place, Branch)
        return isinstance(place, Matrix) and not (isinstance(place, EinsumMatrix) and len(place.free) > 1)

    def shapes(self, place) -> dict[str, tuple]:
        """Name -> shape of the weights that are trained, at a place of `kzoo.layers.places`."""
        d_in, d_out = place.shape
        reads, dim = d_in if self.parallel else d_out, self.bottleneck_dim
        return {"down": (reads, dim), "down_bias": (dim,), "up": (dim, d_out), "up_bias": (d_out,)}

    def follow(self, place) -> None:
        """Take the channels of a place, of `kzoo.layers.places`."""
        for name, shape in self.shapes(place).items():
            initializer = Normal(stddev=STDDEV) if name == "down" else "zeros"
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        once = {"shape": (), "dtype": "float32", "trainable": False, "autocast": False}
        self.weight = self.add_weight(name="weight", initializer="ones", **once)  # with which it is added
        self.built = True

    def call(self, x, y) -> Tensor:
        x = ops.cast(x if self.parallel else y, self.compute_dtype)
        hidden = self.activation(ops.matmul(x, self.down) + self.down_bias)  # (..., bottleneck_dim)
        added = self.scale * (ops.matmul(hidden, self.up) + self.up_bias)
        return ops.cast(added, y.dtype) * ops.cast(self.weight, y.dtype)

    def trained(self) -> list:
        """The weights that are trained while it is added."""
        return [self.down, self.down_bias, self.up, self.up_bias]
