"""Fixtures that several rooms use."""

import keras
import pytest
from shared_case import tiny_model, toy_pairs


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def model():
    """A dual encoder of a few thousand parameters, with a vocabulary."""
    return tiny_model()


@pytest.fixture
def pairs():
    """Twenty-four pictures with captions, as `kzoo.data.pairs` takes them."""
    return toy_pairs(24)
