"""The first loss that is not finite: noted on the device, read seldom, named exactly."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from kzoo.keras_contact import track_loss
from kzoo.training import StopOnNonFinite, callbacks
from kzoo.training.autodiff import apply_gradients, gradients, run_step
from kzoo.training.health import Health


class Scale(keras.Model):
    """One weight, whose gradient stays finite where the loss does not."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.health = Health()
        self.built = True

    def call(self, x):
        return self.scale + x

    def train_step(self, *arguments):
        return run_step(self, arguments, partial(step, self))

    def test_step(self, *arguments):
        return run_step(self, arguments, lambda x, y, sample_weight: self.get_metrics_result())


def step(model, x, y, sample_weight):
    total, _, found = gradients(model, lambda: ((ops.mean(model(x)),), ()))
    apply_gradients(model, found)
    track_loss(model, total, ops.shape(x)[0])
    model.health.update(total)
    return model.get_metrics_result()


@pytest.fixture(scope="module")
def model():
    """Compiled once: its loop is, too."""
    model = Scale()
    model.compile(keras.optimizers.SGD(0.0))
    return model


def fit(model, bad, steps=6, value=np.nan, **options):
    """Train on rows of ones, one a step, of which some are bad."""
    x = np.ones((steps, 1), "float32")
    x[bad] = value
    return model.fit(x, batch_size=1, shuffle=False, verbose=0, **options)


@pytest.mark.parametrize("every", [2, 100])
def test_the_first_bad_step_is_named(model, every):
    fit(model, [], epochs=2, callbacks=[StopOnNonFinite(every)])
    sentence = r"^the loss became nan in epoch 3, step 2; lower the learning rate"
    with pytest.raises(FloatingPointError, match=sentence):
        fit(model, [1, 4], initial_epoch=2, epochs=3, callbacks=[StopOnNonFinite(every)])
    with pytest.raises(FloatingPointError, match=r"^the loss became -inf in epoch 1, step 6;"):
        fit(model, [5], value=-np.inf, callbacks=[StopOnNonFinite(every)])


def test_the_next_look_stops_the_epoch(model):
    begun = []
    count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: begun.append(batch))
    with pytest.raises(FloatingPointError, match="step 2;"):
        fit(model, [1], callbacks=[count, StopOnNonFinite(2)])
    assert begun == [0, 1, 2]


def test_validation_hides_nothing(model):
    validation = np.ones((2, 1), "float32")
    with pytest.raises(FloatingPointError, match="step 4;"):
        fit(model, [3], validation_data=(validation,), callbacks=[StopOnNonFinite()])
    history = fit(model, [], validation_data=(validation,), callbacks=[StopOnNonFinite()]).history
    assert set(history) == {"loss", "val_loss"}  # and in no log


def test_no_other_step_is_waited_for(model, monkeypatch):
    read = []
    monkeypatch.setattr(callbacks, "value_within_fit", lambda model, variable: read.append(variable.name) or -1)
    fit(model, [], steps=10, callbacks=[StopOnNonFinite(4)])
    assert read == ["first_bad"] * 3  # before the steps 5 and 9, and when the epoch has ended
    for name in ("on_batch_end", "on_train_batch_end", "on_test_batch_end", "on_predict_batch_end"):
        assert getattr(StopOnNonFinite, name) is getattr(keras.callbacks.Callback, name)  # or Keras waits


def test_any_other_model_is_looked_at_when_an_epoch_ends():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.array([[1.0], [np.nan], [1.0]], "float32")
    with pytest.raises(FloatingPointError, match=r"^the loss became nan in epoch 1; lower the learning rate"):
        model.fit(x, x, batch_size=1, verbose=0, callbacks=[StopOnNonFinite()])
