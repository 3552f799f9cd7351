"""Whatever stops a training, the model has the weights of the last complete step, and trains on."""

import signal

import keras
import numpy as np
import pytest

from kzoo.keras_contact import weights_kept

RANDOM = np.random.default_rng(0)
BATCHES = [(RANDOM.normal(size=(2, 3)).astype("float32"), np.ones((2, 1), "float32")) for _ in range(4)]


class Line(keras.Model):
    """One dense layer, whose training step may be interrupted at its end."""

    interrupted = False

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.build((None, 3))

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def make_train_function(self, force=False):
        made = self.train_function is None
        super().make_train_function(force)
        if made:
            function = self.train_function

            def then_interrupted(*arguments):
                outputs = function(*arguments)
                if self.interrupted:
                    signal.raise_signal(signal.SIGINT)
                return outputs

            self.train_function = then_interrupted


class Batches(keras.utils.PyDataset):
    """Four batches, of which one may raise, at once or after so many calls of `on_epoch_end`."""

    def __init__(self, error=None, at=0, after=0):
        super().__init__()
        self.error, self.at, self.after, self.ended = error, at, after, 0

    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        if self.error is not None and index == self.at and self.ended >= self.after:
            raise self.error
        return BATCHES[index]

    def on_epoch_end(self):  # which `fit` calls before its first epoch, too
        self.ended += 1


@pytest.fixture(scope="module")
def compiled():
    model = Line()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(Batches(), verbose=0, shuffle=False)
    return model


@pytest.fixture
def model(compiled):
    """A model at its start, whose compiled steps are those of the test before."""
    compiled.interrupted = False
    compiled.set_weights([np.ones((3, 1)), np.zeros((1,))])
    for variable in compiled.optimizer.variables[2:]:
        variable.assign(np.zeros(variable.shape))
    return compiled


def after(steps):
    """Weights after so many steps of gradient descent with momentum."""
    weights, velocity = [np.ones((3, 1)), np.zeros((1,))], [0.0, 0.0]
    for step in range(steps):
        x, y = BATCHES[step % len(BATCHES)]
        error = 2.0 * (x @ weights[0] + weights[1] - y) / len(x)
        for place, gradient in enumerate([x.T @ error, error.sum(axis=0)]):
            velocity[place] = 0.9 * velocity[place] - 0.1 * gradient
            weights[place] = weights[place] + velocity[place]
    return weights


def check(model, steps):
    for found, expected in zip(model.get_weights(), after(steps), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.isfinite(model.predict(BATCHES[0][0], verbose=0)).all()
    model.fit(Batches(), verbose=0, shuffle=False)  # trains on from there, momentum included
    if steps % len(BATCHES) == 0:
        for found, expected in zip(model.get_weights(), after(steps + 4), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def stopped(model, data, error=Exception, way="fit", **options):
    with pytest.raises(error), weights_kept(model):
        getattr(model, way)(data, **options)


def stopped_fit(model, data, error=Exception, **options):
    stopped(model, data, error, verbose=0, shuffle=False, **options)


def test_an_error_while_a_step_is_traced(model):
    stopped_fit(model, np.ones((4, 5), "float32"))
    check(model, 0)


@pytest.mark.parametrize("at", [0, 2])
def test_an_error_in_the_data(model, at):
    stopped_fit(model, Batches(RuntimeError("unreadable"), at))
    check(model, at)


def test_an_error_in_the_first_batch_after_a_validation(model):
    stopped_fit(model, Batches(RuntimeError("unreadable"), 0, after=2), epochs=2, validation_data=BATCHES[0])
    check(model, 4)


def test_an_error_in_the_validation(model):
    stopped_fit(model, Batches(), validation_data=Batches(RuntimeError("unreadable"), 1))
    check(model, 4)


def test_an_error_in_a_callback(model):
    def refuse(batch, logs):
        if batch == 1:
            raise RuntimeError("no space left")

    stopped_fit(model, Batches(), callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=refuse)])
    check(model, 2)


def test_an_interrupt_while_data_are_read(model):
    stopped_fit(model, Batches(KeyboardInterrupt(), 2), BaseException)  # TensorFlow makes an error of its own of it
    check(model, 2)


def test_an_interrupt_while_a_step_ends(model, heard):
    model.interrupted = True
    stopped_fit(model, Batches(), KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model.interrupted = False
    check(model, 1)


def test_an_interrupt_within_a_step_waits_for_its_end(model, heard, monkeypatch):
    if keras.config.backend() != "torch":
        return  # where a step is compiled, and no Python code runs within it
    apply = model.optimizer.apply

    def apply_interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        apply(*arguments)

    monkeypatch.setattr(model.optimizer, "apply", apply_interrupted)
    stopped_fit(model, Batches(), KeyboardInterrupt)
    monkeypatch.undo()
    check(model, 1)


@pytest.mark.parametrize("way", ["evaluate", "predict"])
def test_an_error_in_another_way_in(model, way):
    stopped(model, Batches(RuntimeError("unreadable"), 1), way=way, verbose=0)
    check(model, 0)


@pytest.mark.parametrize("way", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_an_error_in_one_batch(model, way):
    stopped(model, np.ones((4, 5), "float32"), way=way)
    check(model, 0)


def test_nothing_is_left_behind(model):
    function = model.train_function
    with weights_kept(model):
        model.fit(Batches(), verbose=0, shuffle=False, validation_data=BATCHES[0])
        with weights_kept(model):
            model.evaluate(Batches(), verbose=0)
    assert model.train_function is function
    assert {"jax_state_sync", "make_train_function", "make_predict_function", "steps_followed"}.isdisjoint(vars(model))
    check(model, 4)
