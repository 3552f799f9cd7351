"""Modality inversion: the search finds what the tower makes near a target, and leaves the model as it was."""

import keras
import numpy as np
import pytest
from shared_case import spread, tiny_model, toy_pairs

from kzoo.adaptation import invert_images, invert_texts
from kzoo.encoders import as_tower

PAIRS = toy_pairs(5, 16)


@pytest.fixture(scope="module")
def model():
    model = tiny_model(depth=1)
    spread(model.image_encoder)
    spread(model.text_encoder)
    return model


def cosines(a, b):
    return np.sum(a * b, axis=1)


def test_words_are_found_that_are_near_pictures(model):
    weights = [keras.ops.convert_to_numpy(each) for each in model.weights]
    trained = [each.path for each in model.trainable_variables]
    pictures = model.encode_image(PAIRS["images"])
    plain = model.encode_text(["a"] * len(pictures))
    found = invert_images(model, PAIRS["images"], "a {}", steps=40, batch_size=3)
    assert found.shape == pictures.shape and found.dtype == np.float32
    assert (cosines(found, pictures) > cosines(plain, pictures) + 0.1).all()
    again = invert_images(model, pictures, "a {}", steps=40)  # of embeddings, all at once: each picture by itself
    np.testing.assert_allclose(again, found, atol=2e-3)
    assert [each.path for each in model.trainable_variables] == trained
    for before, after in zip(weights, model.weights):
        assert np.array_equal(before, keras.ops.convert_to_numpy(after))


def test_patches_are_found_that_are_near_texts(model):
    texts = model.encode_text(PAIRS["captions"][:2])
    one, four = (invert_texts(model, texts, patches=count, steps=30) for count in (1, 4))
    start = invert_texts(model, texts, patches=4, steps=1, learning_rate=1e-6)
    assert (cosines(four, texts) > cosines(start, texts) + 0.1).all() and cosines(one, texts).shape == (2,)
    assert not np.allclose(start, invert_texts(model, texts, patches=4, steps=1, learning_rate=1e-6, seed=1), atol=1e-4)


@pytest.mark.once
def test_what_cannot_be_inverted(model):
    for call, sentence in (
        (lambda: invert_images(model, PAIRS["images"], "a photo"), "template 'a photo' needs one {}"),
        (
            lambda: invert_images(model, PAIRS["images"], "a {}", tokens=9),
            "tokens is 9, but the template .* leaves room for",
        ),
        (lambda: invert_texts(model, ["a"], patches=5), "patches is 5, but a picture of this model has 4"),
        (lambda: invert_images(tiny_model(vocabulary=False), PAIRS["images"]), "vocabulary"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    layer = keras.Sequential([keras.layers.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(12)])
    other = type(model)(as_tower(layer, "image"), tiny_model(depth=1).text_encoder, preprocessor=model.preprocessor)
    with pytest.raises(ValueError, match="cannot be run from its embeddings"):
        invert_texts(other, ["a circle"])
