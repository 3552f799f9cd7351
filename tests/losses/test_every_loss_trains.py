"""Every loss trains through `fit` of a model of the library, on a data set of it, and is opened again."""

import keras
import numpy as np
import pytest
from feeding import USUAL
from feeds_of_pairs import FEEDS as OF_PAIRS
from feeds_of_views import FEEDS as OF_VIEWS
from shared_case import numpy

import kzoo.losses
from kzoo.losses import Loss
from kzoo.losses.base import WeightedSum

FEEDS = OF_PAIRS | OF_VIEWS
PUBLIC = {name: getattr(kzoo.losses, name) for name in kzoo.losses.__all__}
LOSSES = {name: each for name, each in PUBLIC.items() if isinstance(each, type) and issubclass(each, Loss)}
LOSSES = {name: each for name, each in LOSSES.items() if each not in (Loss, WeightedSum)}


def usual(loss):
    """What feeds a loss of which nothing else is said: what its room is fed by."""
    room = loss.__module__.split(".")[2]
    said = "needs a line in tests/losses/feeds_of_*.py, of what its docstring says under Feeding"
    assert room in USUAL and "Feeding:" not in loss.__doc__, f"{loss.__name__} {said}"
    return loss, *USUAL[room]


def test_what_is_said_is_of_losses_and_said_once():
    assert not OF_PAIRS.keys() & OF_VIEWS.keys() and FEEDS.keys() < LOSSES.keys()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_trains_and_is_opened_again(name, tmp_path):
    make_loss, make_model, make_data = FEEDS.get(name) or usual(LOSSES[name])
    model, loss = make_model(), make_loss()
    data = make_data(model)
    model.compile(keras.optimizers.SGD(0.01), loss=loss)
    before, config = [numpy(each).copy() for each in model.trainable_variables], loss.get_config()
    history = (
        model.fit(data, batch_size=6, epochs=1, verbose=0).history
        if isinstance(data, dict)
        else model.fit(data, epochs=1, verbose=0).history
    )
    assert np.isfinite(history["loss"]).all()
    moved = [not np.array_equal(old, numpy(new)) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert any(moved) and loss.get_config() == config
    assert all(np.isfinite(numpy(each)).all() for each in model.trainable_variables)

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").objective
    assert (again.term_names, again.reads) == (loss.term_names, loss.reads)
    for old, new in zip(loss.weights, again.weights, strict=True):
        np.testing.assert_array_equal(numpy(new), numpy(old))
