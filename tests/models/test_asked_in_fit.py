"""A callback asks the model between two steps: it finds the weights of the last step, and training does not notice."""

import itertools

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model

import kzoo

pytestmark = pytest.mark.every_backend


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model(depth=1)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


@pytest.fixture(scope="module")
def trained(compiled):
    """What two epochs make of the model at its start: a function of a callback, to weights and history."""
    batch = batch_of(compiled, 12)
    compiled.optimizer.build(compiled.trainable_variables)
    variables = [*compiled.variables, *compiled.optimizer.variables]
    start = [numpy(each).copy() for each in variables]

    def train(callback=None, **options):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(1)  # of the order of the rows
        history = compiled.fit(batch, batch_size=4, epochs=2, verbose=0, callbacks=callback, **options).history
        return [numpy(each).copy() for each in variables], history

    return train


class Asks(keras.callbacks.Callback):
    """Asks after a step in the middle of each epoch, and at its end."""

    def __init__(self, ask):
        super().__init__()
        self.ask, self.answers = ask, []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.answers.append(self.ask(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.answers.append(self.ask(self.model))


def predict(model):
    return model.predict(batch_of(model, 4), verbose=0)["image_embeddings"]


def evaluate(model):
    return model.evaluate(batch_of(model, 4), batch_size=4, verbose=0)["loss"]


def fail(model):
    good = batch_of(model, 4)
    bad = good | {"images": np.full_like(good["images"], np.nan, "float32")}
    with pytest.raises(ValueError, match="NaN"):
        model.evaluate(Three(good, good, bad), verbose=0)
    with pytest.raises(ValueError, match="NaN"):
        model.test_on_batch(bad)
    with pytest.raises(Exception, match="unreadable"):
        model.predict(Three(good, good, None), verbose=0)
    return 0.0


class Three(keras.utils.PyDataset):
    """Three batches, of which None cannot be read."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if self.batches[index] is None:
            raise RuntimeError("unreadable")
        return self.batches[index]


def read(model):
    tower = numpy(model.image_encoder(batch_of(model, 4)["images"])["embedding"])
    assert np.isfinite(model.encode_image(batch_of(model, 4)["images"])).all() and len(model.get_weights())
    return tower


def equal(found, expected):
    assert all(np.array_equal(*pair) for pair in zip(found[0], expected[0], strict=True))
    assert found[1] == expected[1]


def test_training_goes_on_as_if_it_had_not_been_asked(compiled, trained):
    expected, asks = trained(), Asks(lambda model: {ask: ask(model) for ask in (predict, fail, evaluate, read)})
    weights, history = trained(asks, validation_data=batch_of(compiled, 4), validation_batch_size=4)
    assert history.pop("val_loss") == [asks.answers[1][evaluate], asks.answers[3][evaluate]]
    equal((weights, {name: values for name, values in history.items() if name in expected[1]}), expected)
    for ask in (predict, evaluate, read):
        for before, after in itertools.pairwise(asks.answers):
            assert not np.array_equal(before[ask], after[ask])  # of other weights


def test_what_is_saved_between_steps_is_what_the_last_step_left(compiled, trained, tmp_path):
    expected = trained()

    class Saves(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.save_to_preset(tmp_path / "preset")
                self.model.save(tmp_path / "model.keras")
                self.weights = {each.path: numpy(each).copy() for each in self.model.trainable_variables}

    saves = Saves()
    equal(trained(saves), expected)
    for model in (kzoo.from_preset(str(tmp_path / "preset")), kzoo.load_model(tmp_path / "model.keras")):
        found = {each.path: numpy(each) for each in model.trainable_variables}
        assert all(np.array_equal(found[path], value) for path, value in saves.weights.items())


def test_what_a_callback_assigns_is_trained_on(compiled, trained):
    class Locks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.0
            self.kept = self.model.get_weights()
            self.model.optimizer.variables[2].assign(np.zeros(self.model.optimizer.variables[2].shape))

    class Last(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rate = float(numpy(self.model.optimizer.learning_rate))
            assert rate == 0.0

    locks = Locks()
    trained([locks, Last()])
    velocity = numpy(compiled.optimizer.variables[2])
    assert not velocity.any()


def test_a_callback_that_fails_leaves_the_weights_of_the_last_step(compiled, trained):
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.weights = self.model.get_weights()
            if batch == 1:
                self.model.evaluate(Three(*[batch_of(self.model, 4)] * 2, None), verbose=0)

    fails = Fails()
    with pytest.raises(Exception, match="unreadable"):
        trained(fails)
    assert all(np.array_equal(*pair) for pair in zip(compiled.get_weights(), fails.weights, strict=True))
    assert np.isfinite(compiled.encode_text(["a red circle"])).all()
