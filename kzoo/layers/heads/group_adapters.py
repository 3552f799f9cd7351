"""What differs between groups, before what they share."""

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import activation_function
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class GroupAdapters(Configured, keras.layers.Layer):
    """A small adapter of each group in front of a body that all groups share: `x + activation(x A_g) B_g`.

    A group is whatever the body shall not have to tell apart: the subject of a recording, a camera, a language. All
    start as the identity, and a row whose group is -1 or unknown passes as it is, which is how a new group begins.

    Args:
        num_groups: how many; groups are numbered from 0.
        hidden_dim: width within an adapter.
        activation: within an adapter.

    Inputs:
        x: float tensor `(batch, width)` or `(batch, tokens, width)`.
        groups: int tensor `(batch,)`.

    Returns:
        float tensor like `x`.

    Raises:
        ValueError: no group.

    Example:
        >>> head = Head(GroupAdapters(8, 32), reads=("signal_features", "groups"), gives="adapted")

    Reference:
        Adapters: Houlsby et al., 2019, arXiv 1902.00751; one for each subject before a shared body: Liu et al., See
        Through Their Minds, 2024, arXiv 2403.06361.
    """

    def __init__(self, num_groups, hidden_dim=32, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.num_groups, self.hidden_dim = num_groups, hidden_dim
        self.activation = activation_function(activation)

    def build(self, x_shape, groups_shape=None) -> None:
        width = x_shape[-1]
        shape = (self.num_groups, width, self.hidden_dim)
        self.down = self.add_weight(name="down", shape=shape, initializer=Normal(stddev=width**-0.5))
        self.up = self.add_weight(name="up", shape=(self.num_groups, self.hidden_dim, width), initializer="zeros")

    def compute_output_shape(self, x_shape, groups_shape=None) -> tuple:
        return tuple(x_shape)

    # -- forward --
    def call(self, x, groups) -> Tensor:
        # a product, where a gather would give an unknown group the adapter of another one
        groups = ops.expand_dims(ops.cast(groups, "int32"), 1)
        of_group = ops.cast(ops.equal(groups, ops.arange(self.num_groups, dtype="int32")), x.dtype)
        down, up = (ops.einsum("bg,gio->bio", of_group, weight) for weight in (self.down, self.up))
        tokens = x if len(x.shape) == 3 else ops.expand_dims(x, 1)  # (batch, tokens, width)
        added = ops.matmul(self.activation(ops.matmul(tokens, down)), up)
        return x + (added if len(x.shape) == 3 else ops.squeeze(added, axis=1))
