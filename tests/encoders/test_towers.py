"""Shapes, options and refusals of the two towers."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.encoders import ResNet, TextTransformer, VisionTransformer
from kzoo.encoders.pixels import normalize_pixels
from kzoo.layers.positions import resize_grid

SMALL = {"width": 16, "depth": 2, "num_heads": 2}
random = np.random.default_rng(0)


@pytest.mark.parametrize("pool", ["class_token", "average", "attention"])
def test_pools_and_non_square_images(pool):
    tower = VisionTransformer((16, 24), 8, pool=pool, class_token=pool == "class_token", embed_dim=5, **SMALL)
    images = random.integers(0, 256, (3, 16, 24, 3), dtype="uint8")
    outputs = tower(images)
    assert outputs["embedding"].shape == (3, 5)
    assert outputs["tokens"].shape == (3, tower.num_tokens, 16)


def test_average_pool_leaves_the_class_token_out():
    tower = VisionTransformer(16, 8, pool="average", class_token=True, **SMALL)
    tokens = random.normal(size=(1, 5, 16)).astype("float32")
    changed = tokens.copy()
    changed[:, 0] += 10.0
    assert np.array_equal(numpy(tower.pooled(tokens)[0]), numpy(tower.pooled(changed)[0]))


def test_pixels_are_normalised_inside_and_uint8_equals_float():
    tower = VisionTransformer(16, 8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), **SMALL)
    images = random.integers(0, 256, (2, 16, 16, 3), dtype="uint8")
    expected = (images / 255.0 - np.array(tower.mean)) / np.array(tower.std)
    np.testing.assert_allclose(numpy(normalize_pixels(images, tower.mean, tower.std)), expected, rtol=1e-5, atol=1e-5)
    floats = numpy(tower(images.astype("float32"))["embedding"])
    np.testing.assert_allclose(numpy(tower(images)["embedding"]), floats, atol=1e-6)


def test_text_shorter_than_the_context_gives_the_same_embedding():
    tower = TextTransformer(50, 8, eot_id=2, **SMALL)
    ids = np.array([[1, 7, 9, 2, 0, 0, 0, 0]], "int32")
    np.testing.assert_allclose(numpy(tower(ids)["embedding"]), numpy(tower(ids[:, :5])["embedding"]), atol=1e-6)


def test_padding_is_hidden_from_a_bidirectional_tower():
    tower = TextTransformer(50, 8, eot_id=2, causal=False, mask_padding=True, **SMALL)
    ids = np.array([[1, 7, 9, 2, 0, 0, 0, 0]], "int32")
    other = np.array([[1, 7, 9, 2, 5, 6, 7, 8]], "int32")
    mask = ids != 0
    np.testing.assert_allclose(numpy(tower(ids, mask)["embedding"]), numpy(tower(other, mask)["embedding"]), atol=1e-6)
    assert not np.allclose(numpy(tower(ids)["embedding"]), numpy(tower(other)["embedding"]), atol=1e-3)


def test_last_pool():
    tower = TextTransformer(50, 4, pool="last", **SMALL)
    outputs = tower(np.array([[1, 2, 3, 4]], "int32"))
    np.testing.assert_allclose(numpy(outputs["embedding"]), numpy(outputs["tokens"])[:, -1], atol=1e-6)


@pytest.mark.parametrize("tower", [VisionTransformer(16, 8, **SMALL), TextTransformer(50, 4, **SMALL)])
def test_config_round_trips(tower):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tower))
    assert again.get_config() == tower.get_config() and again.count_params() == tower.count_params()


def test_variable_paths_are_unique():
    tower = VisionTransformer(16, 8, layer_scale=0.1, pool="attention", class_token=False, embed_dim=4, **SMALL)
    paths = [variable.path for variable in tower.variables]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("shape", [(2, 8, 16, 3), (2, 16, 16, 1), (16, 16, 3), (2, 3, 16, 16)])
def test_images_of_another_shape(shape):
    tower = VisionTransformer(16, 8, **SMALL)
    with pytest.raises(ValueError, match=r"this model takes \(batch, 16, 16, 3\), channels last"):
        tower(np.zeros(shape, "float32"))


def test_ids_longer_than_the_context():
    with pytest.raises(ValueError, match="at most 4 ids a row"):
        TextTransformer(50, 4, **SMALL)(np.zeros((1, 5), "int32"))


@pytest.mark.parametrize(
    "tower, arguments, sentence",
    [
        (VisionTransformer, {"image_size": 16, "patch_size": 8, "pool": "max"}, "pool 'max' is unknown"),
        (VisionTransformer, {"image_size": 16, "patch_size": 8, "class_token": False}, "needs class_token=True"),
        (TextTransformer, {"vocab_size": 5, "context_length": 4, "pool": "first"}, "pool 'first' is unknown"),
    ],
)
def test_bad_arguments(tower, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        tower(**SMALL, **arguments)


def test_unknown_argument_is_named():
    with pytest.raises(TypeError, match="VisionTransformer does not know the argument 'widht'; it takes image_size"):
        VisionTransformer(image_size=16, patch_size=8, widht=3, **SMALL)


@pytest.mark.parametrize("rotary", [{}, {"rotary": "rows", "rotary_grid": (4, 4), "rotary_offset": 1.0}])
def test_images_of_another_size_get_a_resampled_position_table_where_they_are_asked_for(rotary):
    tower = VisionTransformer((16, 24), 4, embed_dim=5, **rotary, **SMALL)
    images = random.integers(0, 256, (2, 12, 8, 3), dtype="uint8")
    small = VisionTransformer((12, 8), 4, embed_dim=5, **rotary, **SMALL)
    table = resize_grid(numpy(tower.embedding.position_embedding), (4, 6), (3, 2))
    for new, old in zip(small.weights, tower.weights):
        new.assign(table if old is tower.embedding.position_embedding else old)
    got, expected = tower(images, any_size=True), small(images)
    assert got["tokens"].shape == (2, 7, 16)
    np.testing.assert_allclose(numpy(got["embedding"]), numpy(expected["embedding"]), atol=2e-5)
    with pytest.raises(ValueError, match=r"images have shape \(2, 12, 8, 3\), but this model takes"):
        tower(images)


def test_an_average_pool_takes_any_size_and_an_attention_pool_does_not():
    images = random.integers(0, 256, (2, 32, 64, 3), dtype="uint8")
    tower = ResNet(64, (1, 1, 1, 1), 4, 6, pool="average")
    assert tower(images, any_size=True)["tokens"].shape == (2, 2, 128)
    with pytest.raises(ValueError, match=r"images have shape \(2, 32, 64, 3\)"):
        ResNet(64, (1, 1, 1, 1), 4, 6, head_width=16)(images, any_size=True)
