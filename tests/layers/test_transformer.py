"""Attention and the block against numpy, and the options that must not change the numbers."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.layers import Attention, TransformerBlock
from kzoo.layers.attention import attend

random = np.random.default_rng(0)
X = random.normal(size=(2, 5, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)


def naive_attention(q, k, v, causal=False, mask=None):
    out = np.zeros_like(q)
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                seen = [s for s in range(k.shape[1]) if (not causal or s <= t) and (mask is None or mask[b, s])]
                z = np.array([q[b, t, h] @ k[b, s, h] for s in seen]) / np.sqrt(q.shape[-1])
                weights = np.exp(z - z.max())
                out[b, t, h] = sum(w * v[b, s, h] for w, s in zip(weights / weights.sum(), seen))
    return out


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attend_equals_a_loop(causal, masked):
    q, k, v = random.normal(size=(3, 2, 5, 2, 4)).astype("float32")
    mask = MASK if masked else None
    got = numpy(attend(*map(keras.ops.convert_to_tensor, (q, k, v)), causal=causal, padding_mask=mask))
    np.testing.assert_allclose(got, naive_attention(q, k, v, causal, mask), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_projection_gives_the_same_numbers(causal):
    apart, fused = (Attention(8, 2, causal=causal, fused=fused) for fused in (False, True))
    outputs = []
    for layer in (apart, fused):
        layer.build((None, 5, 8))
        fill(layer)
        outputs.append(numpy(layer(X)))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
    assert [variable.shape for variable in apart.weights] == [variable.shape for variable in fused.weights]


def test_causal_attention_does_not_see_the_future():
    layer = Attention(8, 2, causal=True)
    changed = X.copy()
    changed[:, 3:] += 1.0
    np.testing.assert_allclose(numpy(layer(X))[:, :3], numpy(layer(changed))[:, :3], atol=1e-6)


def test_cross_attention_reads_another_width():
    layer = Attention(8, 2)
    context = random.normal(size=(2, 7, 6)).astype("float32")
    assert layer(X, context).shape == (2, 5, 8)
    assert layer.key.kernel.shape == (6, 8)


@pytest.mark.parametrize("options", [{}, {"head_norm": "layer", "gate": "bias", "inner_norm": True}], ids=["", "all"])
def test_a_memory_is_read_as_its_context_is(options):
    layer, context = Attention(8, 2, **options), random.normal(size=(2, 7, 6)).astype("float32")
    seen = np.arange(7) < [[7], [4]]
    layer.build(X.shape, context.shape)
    fill(layer)
    expected = numpy(layer(X, context, padding_mask=seen))
    memory = layer.keys_values(keras.ops.convert_to_tensor(context))
    assert all(tuple(each.shape) == layer.memory_shape(2, 7) == (2, 2, 7, 4) for each in memory)
    got = layer.read(keras.ops.convert_to_tensor(X), memory, keras.ops.convert_to_tensor(seen))
    np.testing.assert_allclose(numpy(got), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="what XLA lays out anew can be read in its program")
@pytest.mark.parametrize("queries", [1, 3])
def test_a_memory_is_not_copied_where_it_is_read(queries):
    """At each word of a caption, for all pictures and blocks, that took longer than all else."""
    import re

    import jax

    layer = Attention(64, 4)
    x, memory = np.zeros((5, queries, 64), "float32"), [np.zeros((5, 4, 37, 16), "float32")] * 2
    layer.build(x.shape)
    program = jax.jit(lambda x, memory: layer.read(x, memory)).lower(x, memory).compile().as_text()
    made = re.findall(r"= f32\[([\d,]+)\]\S* (\S+?)\(", program[program.index("ENTRY") :])
    large = [what for shape, what in made if np.prod([*map(int, shape.split(","))]) == memory[0].size]
    assert sorted({*large} - {"bitcast"}) == ["parameter"]


def test_block_adds_two_branches():
    block = TransformerBlock(8, 2, 16, activation="quick_gelu")
    fill_and_call = numpy(block(X))
    hidden = X + numpy(block.attention(block.norm_1(X)))
    up = numpy(block.mlp_up(block.norm_2(hidden)))
    expected = hidden + numpy(block.mlp_down(up / (1 + np.exp(-1.702 * up))))
    np.testing.assert_allclose(fill_and_call, expected, rtol=1e-5, atol=1e-6)


def test_layer_scale_starts_as_a_gain_on_both_branches():
    block = TransformerBlock(8, 2, 16, layer_scale=1e-6)
    np.testing.assert_allclose(numpy(block(X)), X, atol=1e-4)
    assert sum("gain" in variable.path for variable in block.trainable_variables) == 2


def test_dropout_only_in_training():
    block = TransformerBlock(8, 2, 16, dropout=0.5)
    assert np.array_equal(numpy(block(X)), numpy(block(X)))
    assert not np.array_equal(numpy(block(X, training=True)), numpy(block(X)))


def test_norms_and_softmax_stay_float32_in_mixed_precision():
    block = TransformerBlock(8, 2, 16, dtype="mixed_bfloat16")
    assert block(X).dtype in ("bfloat16", keras.ops.convert_to_tensor(0.0, "bfloat16").dtype)
    assert block.norm_1.compute_dtype == "float32"
    exact = TransformerBlock(8, 2, 16)
    exact.build((None, 5, 8))
    exact.set_weights(block.get_weights())
    np.testing.assert_allclose(numpy(keras.ops.cast(block(X), "float32")), numpy(exact(X)), atol=5e-2)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3 does not divide width=8"):
        Attention(8, 3)


def test_unknown_activation():
    with pytest.raises(ValueError, match="activation 'selu' is unknown; choose one of gelu, gelu_tanh, quick_gelu"):
        TransformerBlock(8, 2, 16, activation="selu")


def test_config_is_the_arguments_with_defaults():
    config = TransformerBlock(8, 2, 16, causal=True, name="block").get_config()
    assert config["causal"] is True and config["epsilon"] == 1e-5 and config["name"] == "block"
    again = TransformerBlock.from_config(config)
    assert again.get_config() == config


def test_cross_block_reads_another_width():
    """Through a norm of the context's own width, as numpy has it."""
    block = TransformerBlock(8, 2, 16, cross=True)
    block.build((None, 5, 8), (None, 7, 6))
    fill(block)
    context = random.normal(size=(2, 7, 6)).astype("float32")
    centred = context - context.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    normed = normed * numpy(block.norm_context.gamma) + numpy(block.norm_context.beta)
    parts = [(block.attention.query, numpy(block.norm_1(X))), (block.attention.key, normed)]
    parts.append((block.attention.value, normed))
    q, k, v = ((x @ numpy(part.kernel) + numpy(part.bias)).reshape(2, -1, 2, 4) for part, x in parts)
    mixed = naive_attention(q, k, v).reshape(2, 5, 8)
    hidden = X + mixed @ numpy(block.attention.out.kernel) + numpy(block.attention.out.bias)
    expected = hidden + numpy(block.mlp_down(block.activation(block.mlp_up(block.norm_2(hidden)))))
    np.testing.assert_allclose(numpy(block(X, context=context)), expected, rtol=2e-5, atol=2e-5)
