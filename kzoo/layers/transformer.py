"""The pre-norm transformer block."""

import keras

from kzoo.arguments import one_of
from kzoo.keras_contact import CalledDirectly
from kzoo.layers.attention import BIASES, GATE_FORMS, Attention
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import NORMS, activation_function, cast, layer_norm
from kzoo.layers.pooling import at_place
from kzoo.layers.repeated import Repeated
from kzoo.types import Tensor

GATES = {"plain": None, "swiglu": "silu", "geglu": "gelu", "none": None}  # MLP -> the activation of its gate


@keras.saving.register_keras_serializable(package="kzoo")
class LayerScale(CalledDirectly, Configured, keras.layers.Layer):
    """Multiplies each channel by a learned gain that starts at `initial`.

    Reference:
        Touvron et al., Going deeper with Image Transformers, 2021, arXiv 2103.17239.
    """

    def __init__(self, initial, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, x_shape) -> None:
        initializer = keras.initializers.Constant(self.initial)
        self.gain = self.add_weight(name="gain", shape=x_shape[-1:], initializer=initializer)

    def call(self, x) -> Tensor:
        return x * self.gain


@keras.saving.register_keras_serializable(package="kzoo")
class TransformerBlock(Repeated, CalledDirectly, Configured, keras.layers.Layer):
    """Pre-norm block: `x + attention(norm(x))`, then `x + mlp(norm(x))`.

    Args:
        width: width of the residual stream.
        num_heads: attention heads.
        mlp_dim: hidden width of the MLP.
        activation: of the plain MLP: `"quick_gelu"`, `"gelu"` or `"gelu_tanh"`.
        causal: mask the future.
        cross: keys and values come from a context, through a norm of its own.
        layer_scale: initial gain of both branches, or None for no gain.
        dropout: rate on both branches while training.
        fused: see `Attention`.
        epsilon: of all norms.
        depth: blocks in the tower; the last projection of a branch starts smaller by `sqrt(2 depth)`.
        attention_bias: `bias` of the `Attention`.
        inner_norm: of the `Attention`.
        mlp: `"plain"`, `down(activation(up(x)))`; `"swiglu"` or `"geglu"`, `down(g(gate(x)) * up(x))` where g is SiLU
            or the exact GELU; `"none"`: the block is attention alone.
        mlp_norm: a layer norm before `down`.
        mlp_input_norm: a layer norm of the MLP's own before `up` and `gate`, behind that of the block.
        res_post_norm: norms stand behind the branches and not before them, `x + norm(attention(x))`.
        norm: `"layer"` or `"rms"`: the norms of the branches.
        sandwich: further norms behind the branches, `x + norm(attention(norm(x)))`.
        mlp_bias: biases in the MLP.
        head_norm, gate: of the `Attention`.

    Inputs:
        x: float tensor `(batch, length, width)`.
        context: float tensor `(batch, S, any)`, where `cross`.
        padding_mask: bool tensor `(batch, length)`, True where a position is real, or None.
        visible: bool tensor `(batch, length, length)`, the positions that each one sees, in place of `causal`; or None.
        rotary, position_bias, causal: as of `Attention`; or None.
        place: the one position that is wanted, an integer, or of each row, as a one-hot tensor `(batch, 1, length)` of
            which a row may be all zeros; default all. `visible` `(batch, 1, length)` says what it sees, or None: it
            sees all.

    Returns:
        float tensor `(batch, length, width)`; `(batch, 1, width)` of a place.

    Example:
        >>> TransformerBlock(width=64, num_heads=4, mlp_dim=256)(np.zeros((2, 5, 64))).shape
        (2, 5, 64)

    Reference:
        Dosovitskiy et al., ViT, 2020, arXiv 2010.11929; the scaled initialisation is that of
        Radford et al., CLIP, 2021, arXiv 2103.00020; gated MLPs: Shazeer, GLU Variants Improve Transformer, 2020,
        arXiv 2002.05202; inner norms: Shleifer et al., NormFormer, 2021, arXiv 2110.09456; norms behind the branches:
        Liu et al., Swin Transformer V2, 2021, arXiv 2111.09883; before and behind: Ding et al., CogView, 2021, arXiv
        2105.13290.
    """

    arguments = {
        "attention_bias": one_of(*BIASES),
        "mlp": one_of(*GATES),
        "norm": one_of(*NORMS),
        "head_norm": one_of(*NORMS),
        "gate": one_of(*GATE_FORMS),
    }

    def __init__(
        self,
        width,
        num_heads,
        mlp_dim,
        activation="gelu",
        causal=False,
        cross=False,
        layer_scale=None,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        depth=1,
        attention_bias="all",
        inner_norm=False,
        mlp="plain",
        mlp_norm=False,
        mlp_input_norm=False,
        res_post_norm=False,
        norm="layer",
        sandwich=False,
        mlp_bias=True,
        head_norm=None,
        gate=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        branch_stddev = width**-0.5 * (2 * depth) ** -0.5
        self.res_post_norm = res_post_norm

        # -- layers --
        self.norm_1 = NORMS[norm](epsilon, "norm_1")
        self.norm_context = layer_norm(epsilon, "norm_context") if cross else None
        self.attention = Attention(
            width,
            num_heads,
            causal,
            fused,
            out_stddev=branch_stddev,
            bias=attention_bias,
            inner_norm=inner_norm,
            epsilon=epsilon,
            head_norm=head_norm,
            gate=gate,
            dtype=policy,
            name="attention",
        )
        self.norm_1_after = NORMS[norm](epsilon, "norm_1_after") if sandwich else None
        self.scale_1 = LayerScale(layer_scale, dtype=policy, name="scale_1") if layer_scale else None
        has_mlp, up_stddev = mlp != "none", (2 * width) ** -0.5
        self.norm_2 = NORMS[norm](epsilon, "norm_2") if has_mlp else None
        self.mlp_input_norm = layer_norm(epsilon, "mlp_input_norm") if mlp_input_norm and has_mlp else None
        self.mlp_gate = dense(mlp_dim, up_stddev, policy, "mlp_gate", mlp_bias) if GATES[mlp] else None
        self.mlp_up = dense(mlp_dim, up_stddev, policy, "mlp_up", mlp_bias) if has_mlp else None
        self.mlp_norm = layer_norm(epsilon, "mlp_norm") if mlp_norm and has_mlp else None
        self.mlp_down = dense(width, branch_stddev, policy, "mlp_down", mlp_bias) if has_mlp else None
        self.norm_2_after = NORMS[norm](epsilon, "norm_2_after") if sandwich and has_mlp else None
        self.scale_2 = LayerScale(layer_scale, dtype=policy, name="scale_2") if layer_scale and has_mlp else None
        self.dropout = keras.layers.Dropout(dropout, dtype=policy, name="dropout") if dropout else None
        self.activation = activation_function(GATES[mlp] or activation)

    def build(self, x_shape, context_shape=None, padding_mask_shape=None, visible_shape=None) -> None:
        of_width = (
            self.norm_1,
            self.norm_1_after,
            self.scale_1,
            self.norm_2,
            self.norm_2_after,
            self.mlp_input_norm,
            self.mlp_gate,
            self.mlp_up,
            self.scale_2,
        )
        for layer in of_width:
            if layer is not None:
                layer.build(x_shape)
        if self.norm_context is not None:
            self.norm_context.build(context_shape or x_shape)
        self.attention.build(x_shape, context_shape)
        for layer in (self.mlp_norm, self.mlp_down):
            if layer is not None:
                layer.build((*x_shape[:-1], self.mlp_up.units))
        if self.dropout is not None:
            self.dropout.build(x_shape)

    # -- forward --
    def call(
        self,
        x,
        context=None,
        padding_mask=None,
        visible=None,
        rotary=None,
        position_bias=None,
        training=None,
        causal=None,
        place=None,
    ) -> Tensor:
        if self.norm_context is not None:
            context = self.norm_context(context)
        normed = self._before(x, self.norm_1)
        if place is not None:
            context, causal = normed, False
            normed, x = at_place(normed, place), at_place(x, place)
        mixed = self.attention(
            normed,
            context=context,
            padding_mask=padding_mask,
            visible=visible,
            rotary=rotary,
            position_bias=position_bias,
            causal=causal,
        )
        return self._after(x, mixed, training)

    def memory(self, context) -> tuple:
        """What `read` needs of a context, the same for every step."""
        return self.attention.keys_values(self.norm_context(context))

    def read(self, x, memory) -> Tensor:
        """The block with `cross`, for `x` `(batch, T, width)` and the `memory` of its context."""
        x = cast(x, self.compute_dtype)
        return self._after(x, self.attention.read(self._before(x, self.norm_1), memory))

    def step(self, x, cache, at, visible) -> tuple:
        """The causal block at one position of each row; arguments and result as in `Attention.step`."""
        x = cast(x, self.compute_dtype)
        mixed, cache = self.attention.step(self._before(x, self.norm_1), cache, at, visible)
        return self._after(x, mixed), cache

    def _after(self, x, mixed, training=None):
        after = (self.norm_1, self.norm_2) if self.res_post_norm else (self.norm_1_after, self.norm_2_after)
        x = x + self._branch(mixed, after[0], self.scale_1, training)
        if self.mlp_up is None:
            return x
        mixed = self.feed_forward(self._before(x, self.norm_2))
        return x + self._branch(mixed, after[1], self.scale_2, training)

    def feed_forward(self, x) -> Tensor:
        """The MLP of `x`, which was normed before: what is added to the stream, but for its norm and gain."""
        if self.mlp_input_norm is not None:
            x = self.mlp_input_norm(x)
        hidden = self.mlp_up(x)  # (batch, length, mlp_dim)
        hidden = self.activation(hidden) if self.mlp_gate is None else self.activation(self.mlp_gate(x)) * hidden
        return self.mlp_down(hidden if self.mlp_norm is None else self.mlp_norm(hidden))

    def _before(self, x, norm):
        return x if self.res_post_norm else norm(x)

    def _branch(self, x, norm, scale, training):
        if norm is not None:
            x = cast(norm(x), self.compute_dtype)
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        return x if scale is None else scale(x)


def transformer_blocks(depth, policy, without_mlp=(), **options) -> list:
    """The blocks of a tower, `block_0` to `block_{depth - 1}`; the options are those of `TransformerBlock`.

    Args:
        depth: how many.
        policy: dtype policy.
        without_mlp: numbers of the blocks that are attention alone.
        **options: of each block.
    """
    name = "cross_block" if options.get("cross") else "block"
    alone = options | {"mlp": "none"}
    return [
        TransformerBlock(
            depth=depth, dtype=policy, name=f"{name}_{index}", **(alone if index in without_mlp else options)
        )
        for index in range(depth)
    ]
