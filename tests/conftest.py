"""Fixtures that several rooms use."""

import keras
import pytest
from huggingface_hub import constants
from shared_case import tiny_model, toy_pairs


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    """No test reaches the hub: its client is offline, with an empty cache, whose path this is."""
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def model():
    """A dual encoder of a few thousand parameters, with a vocabulary."""
    return tiny_model()


@pytest.fixture
def pairs():
    """Twenty-four pictures with captions, as `kzoo.data.pairs` takes them."""
    return toy_pairs(24)
