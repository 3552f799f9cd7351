"""Parts of an embedding that are trained for different ends (SepCLR, SIE)."""

import itertools

import keras
from keras import ops

from kzoo.arguments import TABLE, names
from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import activation_function
from kzoo.layers.projector import Projector
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SplitProjector(Configured, keras.layers.Layer):
    """A projector for each part of what an embedding holds: common and salient, invariant and equivariant.

    The parts come as they are, not of unit length.

    Args:
        parts: dict of the name of a part -> width of each layer of its projector, as in `Projector`.
        widths: channels of the embedding that each part reads, one after another, as many numbers as parts; None: each
            reads all.
        activation, batch_norm: as in `Projector`.

    Inputs:
        float tensor `(batch, width)`.

    Returns:
        dict: name of a part -> float tensor `(batch, last of its sizes)`.

    Raises:
        ValueError: fewer than two parts, widths that do not add up to the channels.

    Example:
        >>> parts = SplitProjector({"common": (64, 32), "salient": (64, 32)})
        >>> head = Head(parts, reads="*_features", gives=("*_common", "*_salient"))
        >>> halves = SplitProjector({"invariant": (64, 32), "equivariant": (64, 32)}, widths=(384, 128))

    Reference:
        Louiset et al., SepCLR, 2024, arXiv 2402.11928; with `widths`: Garrido et al., SIE, 2023, arXiv 2302.10283.
    """

    arguments = {"parts": (names() | TABLE).said("the names of the parts, such as ('common', 'salient')")}

    def __init__(self, parts, widths=None, activation="relu", batch_norm=True, **kwargs):
        super().__init__(**kwargs)
        if len(parts) < 2:
            raise ValueError(f"parts name {len(parts)}; give two or more, such as 'common' and 'salient'.")
        if widths is not None and len(widths) != len(parts):
            raise ValueError(f"there are {len(parts)} parts, but {len(widths)} widths; give one for each part.")
        self.parts = {name: tuple(sizes) for name, sizes in parts.items()}
        self.widths = None if widths is None else tuple(widths)
        options = {"activation": activation, "batch_norm": batch_norm, "dtype": self.dtype_policy}

        # -- layers --
        self.projectors = [Projector(sizes, **options, name=name) for name, sizes in self.parts.items()]

    def build(self, x_shape) -> None:
        if self.widths is not None and sum(self.widths) != x_shape[-1]:
            raise ValueError(
                f"the widths {self.widths} add up to {sum(self.widths)}, but the embedding has {x_shape[-1]} channels."
            )
        for projector, width in zip(self.projectors, self.widths or [x_shape[-1]] * len(self.projectors)):
            projector.build((None, width))

    def compute_output_shape(self, x_shape) -> dict:
        return {name: (*x_shape[:-1], sizes[-1]) for name, sizes in self.parts.items()}

    # -- forward --
    def call(self, x, training=None) -> dict:
        start, read = 0, []
        for width in self.widths or ():
            read.append(x[..., start : start + width])
            start += width
        read = read or [x] * len(self.projectors)
        parts = (projector(part, training=training) for projector, part in zip(self.projectors, read))
        return dict(zip(self.parts, parts))


@keras.saving.register_keras_serializable(package="kzoo")
class HypernetworkPredictor(Configured, keras.layers.Layer):
    """Foretells a part of another view from how that view was made: a map whose weights are made of the parameters.

    A hypernetwork turns the parameters `p` of a row's transformation into `h(p)`, and each layer of the predictor is
    `x W(p)` with `W(p) = W_0 + sum_k h_k(p) W_k`. The matrices `W(p)` of a batch are never held: `x W_k` is summed.

    Args:
        num_parameters: how many numbers say how a view was made.
        hidden_dims: widths within the predictor, with a rectifier behind each; `()` for one linear map.
        hyper_dims: widths of the hypernetwork before its last, linear layer, with a rectifier behind each; `()`: `h` is
            `p` itself.
        bias: also make a bias of each layer.
        output_dim: width of the output; default that of `x`.

    Inputs:
        x: float tensor `(batch, width)`, the part of one view.
        parameters: float tensor `(batch, num_parameters)`, such as the quaternion of a rotation between the views.

    Returns:
        float tensor `(batch, output_dim)`.

    Example:
        >>> head = Head(HypernetworkPredictor(4), reads=("view_1_equivariant", "parameters"), gives="prediction")

    Reference:
        Garrido et al., Self-Supervised Learning of Split Invariant Equivariant Representations, 2023, arXiv 2302.10283.
    """

    def __init__(self, num_parameters, hidden_dims=(), hyper_dims=(), bias=False, output_dim=None, **kwargs):
        super().__init__(**kwargs)
        self.num_parameters = num_parameters
        self.hidden_dims, self.hyper_dims = tuple(hidden_dims), tuple(hyper_dims)
        self.use_bias, self.output_dim = bias, output_dim
        self.activation = activation_function("relu")

    def build(self, x_shape, parameters_shape=None) -> None:
        self.hyper = None
        count = self.num_parameters
        if self.hyper_dims:
            self.hyper = Projector(self.hyper_dims, batch_norm=False, dtype=self.dtype_policy, name="hyper")
            self.hyper.build((None, count))
            count = self.hyper_dims[-1]
        widths = (x_shape[-1], *self.hidden_dims, self.output_dim or x_shape[-1])
        self.kernels, self.biases = [], []
        for number, (width, size) in enumerate(itertools.pairwise(widths)):
            # W_0 first: where all parameters are 0
            initializer = Normal(stddev=(width * (count + 1)) ** -0.5)
            shape = (width, count + 1, size)
            self.kernels.append(self.add_weight(name=f"kernel_{number}", shape=shape, initializer=initializer))
            if self.use_bias:
                self.biases.append(self.add_weight(name=f"bias_{number}", shape=shape[1:], initializer="zeros"))

    def compute_output_shape(self, x_shape, parameters_shape=None) -> tuple:
        return (*x_shape[:-1], self.output_dim or x_shape[-1])

    # -- forward --
    def call(self, x, parameters) -> Tensor:
        h = ops.cast(parameters, x.dtype)
        if self.hyper is not None:
            h = self.activation(self.hyper(h))
        h = ops.pad(h, ((0, 0), (1, 0)), constant_values=1.0)  # (batch, 1 + count), the 1 for W_0
        for number, kernel in enumerate(self.kernels):
            width, count, size = kernel.shape
            of_each = ops.matmul(x, ops.reshape(kernel, (width, count * size)))
            of_each = ops.reshape(of_each, (-1, count, size))
            if self.use_bias:
                of_each = of_each + self.biases[number]
            x = ops.squeeze(ops.matmul(ops.expand_dims(h, 1), of_each), axis=1)  # (batch, size)
            if number < len(self.kernels) - 1:
                x = self.activation(x)
        return x
