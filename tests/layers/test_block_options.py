"""Biases, inner norms, rotary positions, position biases, gated MLPs: each against numpy."""

from math import erf

import keras
import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.layers import Attention, TransformerBlock
from kzoo.layers.attention import attend
from kzoo.layers.rotary import rotary_angles, rotate

random = np.random.default_rng(0)
X = random.normal(size=(2, 6, 16)).astype("float32")
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def filled(layer):
    layer.build((None, 6, 16))
    fill(layer)
    return layer


def dense(layer, x):
    return x @ numpy(layer.kernel) + (numpy(layer.bias) if layer.use_bias else 0.0)


def normed(layer, x, epsilon=1e-5):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
    return x * numpy(layer.gamma) + numpy(layer.beta)


def attention(layer, x, angles=None, bias=0.0):
    q, k, v = (dense(part, x).reshape(2, 6, 2, 8) for part in (layer.query, layer.key, layer.value))
    if angles is not None:
        q, k = turned(q, angles), turned(k, angles)
    z = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(8) + bias
    weights = np.exp(z - z.max(axis=-1, keepdims=True))
    mixed = np.einsum("bhts,bshd->bthd", weights / weights.sum(axis=-1, keepdims=True), v).reshape(2, 6, 16)
    return dense(layer.out, mixed if layer.inner_norm is None else normed(layer.inner_norm, mixed))


def turned(x, angles):
    """As complex numbers: pairs of neighbours, times `e^(i angle)`."""
    pairs = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None]
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


@pytest.mark.parametrize(
    "bias, biases", [("all", "qkvo"), ("query_value", "qvo"), ("out", "o"), ("none", "")], ids=lambda each: each or "0"
)
def test_biases_of_the_projections(bias, biases):
    apart, fused = (filled(Attention(16, 2, bias=bias, fused=fused)) for fused in (False, True))
    names = {"q": "query", "k": "key", "v": "value", "o": "out"}
    assert {name for name in names if getattr(apart, names[name]).use_bias} == set(biases)
    assert len(apart.weights) == 4 + len(biases)
    np.testing.assert_allclose(numpy(apart(X)), attention(apart, X), **CLOSE)
    np.testing.assert_allclose(numpy(fused(X)), attention(fused, X), **CLOSE)


def test_inner_norm_stands_before_the_output_projection():
    layer = filled(Attention(16, 2, inner_norm=True))
    np.testing.assert_allclose(numpy(layer(X)), attention(layer, X), **CLOSE)


@pytest.mark.parametrize("masked", [False, True])
def test_position_bias_is_added_to_the_scores(masked):
    layer, bias = filled(Attention(16, 2)), random.normal(size=(2, 6, 6)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], bool) if masked else None
    hidden = 0.0 if mask is None else np.where(mask, 0.0, -1e30)[:, None, None]
    expected = attention(layer, X, bias=bias + hidden)
    got = numpy(layer(X, position_bias=bias, padding_mask=mask))
    np.testing.assert_allclose(got, expected, **CLOSE)
    of_rows = np.stack([bias, bias])
    np.testing.assert_allclose(numpy(layer(X, position_bias=of_rows, padding_mask=mask)), expected, **CLOSE)
    q = random.normal(size=(1, 6, 2, 8)).astype("float32")
    plain, with_zeros = (numpy(attend(q, q, q, causal=True, position_bias=each)) for each in (None, 0 * bias))
    np.testing.assert_allclose(with_zeros, plain, **CLOSE)


@pytest.mark.parametrize("order", ["rows", "columns"])
def test_rotary_positions_turn_queries_and_keys(order):
    layer = filled(Attention(16, 2))
    angles = rotary_angles((2, 3), 8, order=order, reference=(4, 6), offset=1.0)
    got = numpy(layer(X, rotary=(np.sin(angles), np.cos(angles))))
    np.testing.assert_allclose(got, attention(layer, X, angles), **CLOSE)
    still = numpy(layer(X, rotary=(np.zeros((6, 4)), np.ones((6, 4)))))
    np.testing.assert_allclose(still, numpy(layer(X)), **CLOSE)


def test_rotary_positions_of_each_row():
    q = random.normal(size=(2, 6, 2, 8)).astype("float32")
    angles = random.normal(size=(2, 6, 4))
    got = numpy(rotate(keras.ops.convert_to_tensor(q), (np.sin(angles), np.cos(angles))))
    np.testing.assert_allclose(got, np.stack([turned(*each) for each in zip(q, angles)]), **CLOSE)


def test_angles_of_a_grid():
    """Two bands for each axis; at twice the size the same places have the same angles."""
    angles = rotary_angles((2, 3), 8, reference=(4, 6))
    np.testing.assert_allclose(angles[4], [2.0, 0.02, 2.0, 0.02])  # row 1 of 2 is 2 of 4, column 1 of 3 is 2 of 6
    np.testing.assert_allclose(
        rotary_angles((4, 6), 8, reference=(4, 6)).reshape(4, 6, 4)[::2, ::2].reshape(6, 4), angles
    )
    np.testing.assert_allclose(rotary_angles((2, 3), 8, "columns", offset=1.0)[2], [3.0, 0.03, 1.0, 0.01])
    with pytest.raises(ValueError, match="heads are 6 wide, but rotary positions .* take a multiple of 4"):
        rotary_angles((2, 3), 6)


@pytest.mark.parametrize("mlp, gate", [("swiglu", lambda x: x / (1 + np.exp(-x))), ("geglu", gelu)])
@pytest.mark.parametrize("normed_within", [False, True])
def test_gated_mlp(mlp, gate, normed_within):
    block = TransformerBlock(16, 2, 24, mlp=mlp, mlp_norm=normed_within, mlp_input_norm=normed_within)
    filled(block)
    hidden = X + attention(block.attention, normed(block.norm_1, X))
    z = normed(block.norm_2, hidden)
    z = normed(block.mlp_input_norm, z) if normed_within else z
    up = gate(dense(block.mlp_gate, z)) * dense(block.mlp_up, z)
    up = normed(block.mlp_norm, up) if normed_within else up
    np.testing.assert_allclose(numpy(block(X)), hidden + dense(block.mlp_down, up), **CLOSE)


def test_norms_behind_the_branches():
    block = filled(TransformerBlock(16, 2, 24, res_post_norm=True))
    hidden = X + normed(block.norm_1, attention(block.attention, X))
    expected = hidden + normed(block.norm_2, dense(block.mlp_down, gelu(dense(block.mlp_up, hidden))))
    np.testing.assert_allclose(numpy(block(X)), expected, **CLOSE)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_all_options_at_once_in_half_precision(policy):
    options = {"attention_bias": "query_value", "inner_norm": True, "mlp": "swiglu", "mlp_norm": True, "fused": True}
    half, exact = (
        TransformerBlock(16, 2, 24, res_post_norm=True, mlp_input_norm=True, dtype=each, **options)
        for each in (policy, "float32")
    )
    for block in (half, exact):
        filled(block)
    exact.set_weights(half.get_weights())
    angles, bias = rotary_angles((2, 3), 8), random.normal(size=(2, 6, 6)).astype("float32")
    given = {"rotary": (np.sin(angles), np.cos(angles)), "position_bias": bias}
    got = half(X, **given)
    assert keras.backend.standardize_dtype(got.dtype) == policy.removeprefix("mixed_")
    assert half.attention.inner_norm.compute_dtype == half.mlp_norm.compute_dtype == "float32"
    np.testing.assert_allclose(numpy(keras.ops.cast(got, "float32")), numpy(exact(X, **given)), atol=6e-2)


def test_unknown_choices():
    with pytest.raises(ValueError, match="mlp 'relu2' is unknown; choose one of plain, swiglu, geglu"):
        TransformerBlock(16, 2, 24, mlp="relu2")
    with pytest.raises(ValueError, match="bias 'key' is unknown; choose one of all, query_value, out, none"):
        Attention(16, 2, bias="key")
