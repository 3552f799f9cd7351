"""Numerics, patches, pooling, similarity."""

import math

import keras
import numpy as np
import pytest
from shared_case import fill, numpy, value_and_gradients

from kzoo.layers import (
    AttentionPooling,
    PatchEmbedding,
    SimilarityHead,
    gelu,
    l2_normalize,
    pool_end_of_text,
    quick_gelu,
)

random = np.random.default_rng(0)


def test_l2_normalize_zero_vector_has_value_and_gradient():
    x = np.array([[3.0, 4.0], [0.0, 0.0]], "float32")
    np.testing.assert_allclose(numpy(l2_normalize(x)), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    _, (gradient,) = value_and_gradients(lambda x: keras.ops.sum(l2_normalize(x)), [x])
    assert np.isfinite(gradient).all()


def test_l2_normalize_is_float32():
    half = keras.ops.cast(keras.ops.convert_to_tensor(np.ones((2, 3), "float32")), "bfloat16")
    assert numpy(l2_normalize(half)).dtype == np.float32


def test_activations():
    x = np.linspace(-4, 4, 9).astype("float32")
    exact = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x]
    np.testing.assert_allclose(numpy(gelu(keras.ops.convert_to_tensor(x))), exact, atol=1e-6)
    np.testing.assert_allclose(
        numpy(quick_gelu(keras.ops.convert_to_tensor(x))), x / (1 + np.exp(-1.702 * x)), atol=1e-6
    )


def test_patches_equal_a_strided_convolution():
    layer = PatchEmbedding((16, 24), 8, 5, class_token=False, bias=True)
    images = random.normal(size=(2, 16, 24, 3)).astype("float32")
    layer.build(images.shape)
    fill(layer)
    kernel, bias, positions = numpy(layer.kernel), numpy(layer.projection_bias), numpy(layer.position_embedding)
    convolved = keras.ops.conv(images, kernel, strides=8, padding="valid", data_format="channels_last")
    expected = numpy(convolved).reshape(2, 6, 5) + bias + positions
    np.testing.assert_allclose(numpy(layer(images)), expected, rtol=2e-4, atol=2e-5)


def test_class_token_comes_first_and_has_a_position():
    layer = PatchEmbedding((8, 8), 8, 4)
    layer.build((None, 8, 8, 3))
    fill(layer)
    tokens = numpy(layer(np.zeros((3, 8, 8, 3), "float32")))
    first = numpy(layer.class_embedding)[0] + numpy(layer.position_embedding)[0]
    np.testing.assert_allclose(tokens[:, 0], np.tile(first, (3, 1)), atol=1e-6)


def test_pixels_beyond_the_last_whole_patch_are_dropped():
    layer = PatchEmbedding((17, 20), 8, 4, class_token=False)
    images = random.normal(size=(1, 17, 20, 3)).astype("float32")
    tokens = numpy(layer(images))
    images[:, 16:] = 9.0
    images[:, :, 16:] = 9.0
    assert tokens.shape == (1, 4, 4) and np.array_equal(tokens, numpy(layer(images)))


def test_no_whole_patch():
    with pytest.raises(ValueError, match="holds no patch of 32 x 32 pixels"):
        PatchEmbedding((16, 64), 32, 4)


def test_end_of_text_is_the_first_of_its_id_whatever_ids_are_larger():
    tokens = random.normal(size=(3, 4, 2)).astype("float32")
    ids = np.array([[9, 5, 5, 0], [5, 9, 9, 9], [1, 2, 3, 4]], "int32")
    pooled = numpy(pool_end_of_text(keras.ops.convert_to_tensor(tokens), keras.ops.convert_to_tensor(ids), 5))
    np.testing.assert_allclose(pooled, [tokens[0, 1], tokens[1, 0], [0.0, 0.0]], atol=1e-6)


def test_attention_pooling_ignores_the_order_of_tokens():
    layer = AttentionPooling(8, 2, 16)
    tokens = random.normal(size=(2, 6, 8)).astype("float32")
    np.testing.assert_allclose(numpy(layer(tokens)), numpy(layer(tokens[:, ::-1].copy())), rtol=1e-4, atol=1e-5)


def test_similarity_head_scale_and_bias():
    head = SimilarityHead(scale=5.0, bias=-2.0, name="similarity_head")
    a = np.array([[1.0, 0.0]], "float32")
    b = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], "float32")
    np.testing.assert_allclose(numpy(head(a, b)), [[3.0, -2.0, -7.0]], rtol=1e-6)
    assert {variable.path for variable in head.variables} == {
        "similarity_head/logit_scale",
        "similarity_head/logit_bias",
    }


def test_scale_is_clipped_after_the_step_and_comes_back():
    head = SimilarityHead(scale=99.0, max_scale=100.0)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([head.log_scale])
    optimizer.apply([keras.ops.convert_to_tensor(np.float32(-3.0))], [head.log_scale])
    assert float(numpy(head.scale)) == pytest.approx(100.0, rel=1e-5)
    optimizer.apply([keras.ops.convert_to_tensor(np.float32(1.0))], [head.log_scale])
    assert float(numpy(head.scale)) == pytest.approx(100.0 / math.e, rel=1e-5)


def test_scale_outside_its_bound():
    with pytest.raises(ValueError, match=r"the initial scale 200 lies outside \(0, 100\]"):
        SimilarityHead(scale=200.0)
