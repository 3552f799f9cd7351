"""Multi-head attention: the softmax, and the layer around it."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import one_of
from kzoo.keras_contact import CalledDirectly
from kzoo.layers.changed import multiplies_plainly
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense, multiplied
from kzoo.layers.numerics import NEGATIVE, NORMS, heads_first, layer_norm, reshape, written
from kzoo.layers.rotary import rotate
from kzoo.layers.step import Past, beside
from kzoo.types import Tensor

BIASES = {  # which of the projections have one
    "all": ("query", "key", "value", "out"),
    "query_value": ("query", "value", "out"),  # of a key it changes no weight of the softmax: EVA, BEiT
    "out": ("out",),
    "none": (),
}
GATE_FORMS = ("bias", "plain")


def attend(
    query, key, value, causal=False, padding_mask=None, visible=None, position_bias=None, heads_first=False
) -> Tensor:
    """Softmax attention, `softmax(q k^T / sqrt(d)) v` per head, with the softmax in float32.

    `keras.ops.dot_product_attention` (flash attention where the device has it) on jax and torch. On
    TensorFlow the three operations are written out: the op builds its masks from dynamic shapes there,
    which makes a causal training step 1.3 times slower (`benchmarks/attention.py`) and doubles the
    nodes of the exported graph. So they are on jax for float16, whose op does not run on CPUs, and for float32 on CPUs,
    where XLA makes fewer kernels of them than of the op; where a bias is added, which torch's op does not take; and
    within `torch.func`, for whose transformations torch's op has no rule.

    Args:
        query: float tensor `(batch, T, heads, d)`.
        key, value: float tensors `(batch, S, heads, d)`.
        causal: position t sees positions 0..t only.
        padding_mask: bool tensor `(batch, S)`, True where a key is real, or None.
        visible: bool tensor `(batch, T, S)`, the keys that each query sees, in place of `causal`; or None.
        position_bias: float tensor `(heads, T, S)` or `(batch, heads, T, S)`, added to the scaled products of each
            query and key; or None.
        heads_first: whether `key` and `value` are `(batch, heads, S, d)`: of a memory that is read again and again, in
            the order in which products read it, where of the other each reading makes a copy.

    Returns:
        float tensor `(batch, T, heads, d)`.
    """
    mask = None
    if padding_mask is not None:
        mask = ops.expand_dims(ops.cast(padding_mask, "bool"), (1, 2))  # (batch, 1, 1, S)
    if visible is not None:
        visible = ops.expand_dims(visible, 1)  # (batch, 1, T, S)
    elif causal and mask is not None:  # torch takes one of the two only
        visible = np.tril(np.ones((query.shape[1], key.shape[1]), "bool"))
    if visible is not None:
        mask, causal = visible if mask is None else ops.logical_and(mask, visible), False
    backend = keras.config.backend()
    if backend == "torch" and position_bias is None:
        from kzoo.layers import kernels_torch

        if kernels_torch.chosen_here(query, key, value) and kernels_torch.on_processor(query, key, value):
            mask = mask if mask is None else ops.convert_to_tensor(mask, "bool")
            if not heads_first:
                key, value = key.transpose(1, 2), value.transpose(1, 2)
            return kernels_torch.attended(query.transpose(1, 2), key, value, mask, causal).transpose(1, 2)
    if position_bias is None and not heads_first and _has_op(query):
        return ops.dot_product_attention(query, key, value, mask=mask, is_causal=causal)

    query = ops.transpose(query * query.shape[-1] ** -0.5, (0, 2, 1, 3))  # (batch, heads, T, d)
    key = ops.transpose(key, (0, 1, 3, 2) if heads_first else (0, 2, 3, 1))  # (batch, heads, d, S)
    value = value if heads_first else ops.transpose(value, (0, 2, 1, 3))  # (batch, heads, S, d)
    scores = ops.cast(ops.matmul(query, key), "float32")  # (batch, heads, T, S)
    if position_bias is not None:
        scores = scores + ops.cast(position_bias, "float32")
    if causal:
        scores = ops.add(scores, np.triu(np.full(scores.shape[-2:], NEGATIVE, "float32"), k=1))
    if mask is not None:
        scores = ops.where(mask, scores, NEGATIVE)
    weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
    return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))


def _has_op(query):
    """Whether the op of the backend is taken; of a graph that is exported on jax too, whose batch has no size yet."""
    if keras.config.backend() == "torch":
        from kzoo.layers import kernels_torch

        return not kernels_torch.transformed()
    if keras.config.backend() != "jax":
        return False
    dtype = keras.backend.standardize_dtype(query.dtype)
    if dtype != "float32" or not isinstance(query.shape[0], int):
        return dtype != "float16"
    import jax

    return jax.default_backend() != "cpu"


@keras.saving.register_keras_serializable(package="kzoo")
class Attention(CalledDirectly, Configured, keras.layers.Layer):
    """Multi-head attention with separate query, key, value and output projections.

    The weights have one layout whatever the checkpoint stored: query, key and value apart, so that freezing
    and LoRA reach each of them. `fused=True` joins the three kernels at call time into one matmul, unless they are
    quantised or have adapters.

    Args:
        width: width of queries, keys and values, all heads together.
        num_heads: number of heads; must divide `width`.
        causal: mask the future.
        fused: one matmul for query, key and value (self-attention only).
        out_width: width of the output; default `width`.
        out_stddev: standard deviation that the output projection starts from; default `width**-0.5`.
        bias: which projections have one: `"all"`, `"query_value"` (all but the key), `"out"` or `"none"`.
        inner_norm: a layer norm over all heads together, before the output projection.
        epsilon: of that norm, and of those of the heads.
        head_norm: `"layer"` or `"rms"`: norms of queries and keys, of each head, before they are turned; or None.
        gate: multiply what the heads mixed by the sigmoid of a linear layer of the queries' input, with a bias
            (`"bias"`) or without (`"plain"`); or None.
        projected: False gives what the heads mixed, without the output projection.

    Inputs:
        x: float tensor `(batch, T, any)`.
        context: float tensor `(batch, S, any)` for the keys and values; default `x`.
        padding_mask: bool tensor `(batch, S)`, True where a key is real, or None.
        visible: bool tensor `(batch, T, S)`, the keys that each query sees, in place of `causal`; or None.
        causal: in place of that of the constructor, where the same weights look both ways and back; or None.
        rotary: sines and cosines of the places of the tokens, as `kzoo.layers.rotary.rotate` takes them, or None.
        position_bias: float tensor `(heads, T, S)` or `(batch, heads, T, S)`, added to the scaled products of each
            query and key; or None.

    Returns:
        float tensor `(batch, T, out_width)`.

    Raises:
        ValueError: `num_heads` does not divide `width`.

    Example:
        >>> Attention(width=64, num_heads=4)(np.zeros((2, 5, 64))).shape
        (2, 5, 64)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762; norms of heads: Dehghani et al., Scaling
        Vision Transformers to 22 Billion Parameters, 2023, arXiv 2302.05442; the gate: Qiu et al., Gated Attention for
        Large Language Models, 2025, arXiv 2505.06708.
    """

    arguments = {"bias": one_of(*BIASES), "head_norm": one_of(*NORMS), "gate": one_of(*GATE_FORMS)}

    def __init__(
        self,
        width,
        num_heads,
        causal=False,
        fused=False,
        out_width=None,
        out_stddev=None,
        bias="all",
        inner_norm=False,
        epsilon=1e-5,
        head_norm=None,
        gate=None,
        projected=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if width % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide width={width}; choose a divisor.")
        self.width, self.num_heads, self.causal, self.fused = width, num_heads, causal, fused

        def projection(name, units=width, stddev=None):
            return dense(units, stddev or width**-0.5, self.dtype_policy, name, name in BIASES[bias])

        def norm(name):
            return NORMS[head_norm](epsilon, name) if head_norm else None

        # -- layers --
        self.query, self.key, self.value = (projection(name) for name in ("query", "key", "value"))
        self.inner_norm = layer_norm(epsilon, "inner_norm") if inner_norm else None
        self.query_norm, self.key_norm = norm("query_norm"), norm("key_norm")
        self.gate = dense(width, width**-0.5, self.dtype_policy, "gate", gate == "bias") if gate else None
        self.out = projection("out", out_width or width, out_stddev) if projected else None

    def build(self, x_shape, context_shape=None, padding_mask_shape=None, visible_shape=None) -> None:
        self.query.build(x_shape)
        self.key.build(context_shape or x_shape)
        self.value.build(context_shape or x_shape)
        for norm in (self.query_norm, self.key_norm):
            if norm is not None:
                norm.build((None, None, self.num_heads, self.width // self.num_heads))
        if self.gate is not None:
            self.gate.build(x_shape)
        for layer in (self.inner_norm, self.out):
            if layer is not None:
                layer.build((None, None, self.width))

    # -- forward --
    def call(
        self, x, context=None, padding_mask=None, visible=None, rotary=None, position_bias=None, causal=None
    ) -> Tensor:
        fused = self.fused and context is None
        if fused and all(map(multiplies_plainly, (self.query, self.key, self.value))):
            query, key, value = self._project_fused(x)
        else:
            context = x if context is None else context
            query, key, value = self.query(x), self.key(context), self.value(context)
        causal = self.causal if causal is None else causal
        return self._attended(x, query, key, value, causal, padding_mask, visible, rotary, position_bias)

    def keys_values(self, context) -> tuple:
        """Keys and values of a context, `(batch, heads, S, width / heads)` each, for `read`."""
        return self.memory_of(self.key(context), self.value(context))

    def memory_of(self, key, value) -> tuple:
        """Projected keys and values `(batch, S, width)`, as `read` takes them: by heads, and normed."""
        key, value = self._split_heads(key), self._split_heads(value)
        if self.key_norm is not None:
            key = ops.cast(self.key_norm(key), value.dtype)
        return heads_first(key), heads_first(value)

    def memory_shape(self, rows, length) -> tuple:
        """The shape of keys, and of values, of so many rows and positions."""
        return rows, self.num_heads, length, self.width // self.num_heads

    def read(self, x, memory, visible=None) -> Tensor:
        """Attention of `x` `(batch, T, any)` to keys and values made before; `visible` as `padding_mask`."""
        query, (key, value) = self._split_heads(self.query(x)), memory
        if self.query_norm is not None:
            query = ops.cast(self.query_norm(query), value.dtype)
        return self._finished(x, self.mix_heads(query, key, value, False, visible, None, None, heads_first=True))

    def step(self, x, cache, at, visible) -> tuple:
        """Causal self-attention at one position of each row, whose past is in a cache.

        Args:
            x: float tensor `(rows, 1, any)`.
            cache: keys and values `(rows, heads, S, width / heads)` of the positions before; a `Past` of them is not
                written.
            at: bool tensor `(rows, S)`, True at the position of `x`.
            visible: bool tensor `(rows, S)`, True at the positions that it sees.

        Returns:
            `(output, cache)`: `(rows, 1, out_width)`, and the cache with this position; of a `Past` the keys and
            values of this position, `(rows, heads, 1, width / heads)`.
        """
        if isinstance(cache, Past):
            new = tuple(ops.cast(each, old.dtype) for each, old in zip(self.keys_values(x), cache))
            memory = tuple(ops.concatenate(pair, axis=2) for pair in zip(cache, new))
            return self.read(x, memory, beside(at, visible)), new
        cache = tuple(written(old, new, at) for new, old in zip(self.keys_values(x), cache))
        return self.read(x, cache, visible), cache

    def _attended(
        self, x, query, key, value, causal=False, padding_mask=None, visible=None, rotary=None, position_bias=None
    ):
        query, key, value = (self._split_heads(tensor) for tensor in (query, key, value))
        if self.query_norm is not None:
            query = ops.cast(self.query_norm(query), value.dtype)
            key = ops.cast(self.key_norm(key), value.dtype)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        return self._finished(x, self.mix_heads(query, key, value, causal, padding_mask, visible, position_bias))

    def _finished(self, x, mixed):
        """What the heads mixed for `x`, `(batch, T, heads, d)`, to the output `(batch, T, out_width)`."""
        mixed = reshape(mixed, (-1, mixed.shape[1], self.width))
        if self.inner_norm is not None:
            mixed = self.inner_norm(mixed)
        if self.gate is not None:
            mixed = mixed * ops.sigmoid(self.gate(x))
        return mixed if self.out is None else self.out(mixed)

    def mix_heads(self, query, key, value, causal, padding_mask, visible, position_bias, heads_first=False) -> Tensor:
        """What the heads make of queries, keys and values, as `attend`; keys and values of a prefix stand beside it."""
        return attend(query, key, value, causal, padding_mask, visible, position_bias, heads_first)

    def _project_fused(self, x):
        parts = (self.query, self.key, self.value)
        kernel, bias = ops.concatenate([part.kernel for part in parts], axis=1), None  # (any, 3 width)
        if any(part.use_bias for part in parts):
            none = np.zeros(self.width, "float32")
            biases = [part.bias if part.use_bias else ops.cast(none, kernel.dtype) for part in parts]
            bias = ops.concatenate(biases, axis=0)
        return ops.split(multiplied(x, kernel, bias), 3, axis=-1)  # (batch, T, width) each

    def _split_heads(self, x):
        # the length is a Python int and the batch only ever -1: the exporters need it so
        return reshape(x, (-1, x.shape[1], self.num_heads, self.width // self.num_heads))
