"""A captioner learns one batch by heart: its loss vanishes, and its captions are the batch's, word for word."""

import keras
import numpy as np
import pytest
from shared_case import toy_pairs

import kzoo


@pytest.mark.one_other("jax")
def test_one_batch_is_learned_by_heart():
    keras.utils.set_random_seed(0)
    pairs = toy_pairs(12)
    model = kzoo.from_preset("coca_nano", load_weights=False)
    model.preprocessor.adapt(pairs["captions"])
    batch = model.preprocessor(pairs["images"], pairs["captions"])
    model.compile(keras.optimizers.Adam(3e-3))
    assert model.evaluate(batch, batch_size=12, verbose=0)["captioning"] > 3.0
    many = {name: np.concatenate([array] * 120) for name, array in batch.items()}  # an epoch is dearer than a step
    model.fit(many, batch_size=12, shuffle=False, verbose=0)
    assert model.evaluate(batch, batch_size=12, verbose=0)["captioning"] < 0.05
    assert model.caption(pairs["images"]) == pairs["captions"]
    assert model.caption(pairs["images"], "beam", num_beams=3) == pairs["captions"]
