"""Several threads ask one model at the same time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import keras
import numpy as np
import pytest
from shared_case import tiny_model

from kzoo.keras_contact import steps
from kzoo.models import fitting, programs

IMAGES = {"images": np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")}


def met(monkeypatch, owner, name):
    """Two threads that call a function wait for each other first, as far as they can both be there."""
    barrier, function = Barrier(2), getattr(owner, name)

    def both(*arguments, **options):
        with suppress(BrokenBarrierError):
            barrier.wait(0.2)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, both)


def test_threads_that_begin_at_once(monkeypatch):
    model = tiny_model(depth=1)
    wanted = model.embed_batch(IMAGES)
    met(monkeypatch, steps._Steps, "__init__")
    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(model.embed_batch, [IMAGES] * 2):
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not steps.steps_run(model)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="of programs of XLA")
def test_threads_that_ask_first_find_programs(monkeypatch):
    monkeypatch.setattr(programs, "FEWEST_WEIGHTS", 0)
    monkeypatch.setattr(programs, "FEWEST_BLOCKS", 2)
    model = tiny_model(depth=2)
    met(monkeypatch, fitting, "blocks_of")
    with ThreadPoolExecutor(2) as threads:
        [*threads.map(lambda _: model.make_predict_function(), range(2))]
    assert model.jit_compile and model.predict_programs is not None
