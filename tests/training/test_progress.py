"""What `Progress` adds to the logs: the numbers of the step, and those of the clock."""

import csv
import time

import keras
import numpy as np
import pytest
from shared_case import numpy, tiny_model, toy_pairs

import kzoo
from kzoo.training import Progress
from kzoo.training.stopwatch import Stopwatch

PAIRS = toy_pairs(24)
OF_STEP = ["gradient_norm", "learning_rate", "logit_scale"]


class Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.of_batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.of_batches.append(dict(logs))


def trainee(optimizer="sgd"):
    keras.utils.set_random_seed(1)
    model = tiny_model(depth=1)
    model.compile(optimizer)
    return model


def pairs_of(model):
    return kzoo.data.pairs(PAIRS, model.preprocessor, batch_size=8, seed=3)


def test_a_step_says_its_gradients_its_rate_and_the_scale(tmp_path):
    """Under plain gradient descent the length of a step is the rate times that of the gradients."""
    rate = keras.optimizers.schedules.PolynomialDecay(0.1, 4, end_learning_rate=0.02)
    model, logs = trainee(keras.optimizers.SGD(rate)), Logs()
    before = [numpy(each).copy() for each in model.trainable_variables]
    scale = float(numpy(model.similarity.scale))
    callbacks = [logs, keras.callbacks.CSVLogger(tmp_path / "log.csv"), Progress(seconds=1e-6)]
    history = model.fit(pairs_of(model), epochs=1, steps_per_epoch=1, verbose=0, callbacks=callbacks).history
    moved = [numpy(each) - old for each, old in zip(model.trainable_variables, before)]
    length = np.sqrt(sum(float(np.sum(np.square(each, dtype="float64"))) for each in moved))
    assert history["learning_rate"] == [pytest.approx(0.1)] and history["logit_scale"] == [pytest.approx(scale)]
    assert history["gradient_norm"] == [pytest.approx(length / 0.1, rel=1e-4)]
    more = model.fit(pairs_of(model), epochs=1, verbose=0, callbacks=[Progress(seconds=1e-6), logs]).history
    assert more["learning_rate"] == [pytest.approx(0.02 + 0.08 / 4)]
    assert all(name in each for each in logs.of_batches for name in OF_STEP)
    assert all("images_per_second" in each for each in logs.of_batches[2:])
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["gradient_norm"]) == history["gradient_norm"][0] and float(row["images_per_second"]) > 0.0
    plain = model.fit(pairs_of(model), epochs=1, verbose=0, validation_data=pairs_of(model).in_order()).history
    assert not {*OF_STEP, "images_per_second"} & plain.keys()


@pytest.mark.one_other
def test_it_changes_no_number_of_a_training():
    found = []
    for callbacks in ([], [Progress()]):
        model = trainee("adamw")
        losses = model.fit(pairs_of(model), epochs=2, verbose=0, callbacks=callbacks).history["loss"]
        found.append((losses, [numpy(each) for each in model.trainable_variables]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for one, other in zip(found[0][1], found[1][1]):
        np.testing.assert_allclose(one, other, atol=1e-6)


class Slow(keras.utils.PyDataset):
    """A set that has each batch read after so many seconds."""

    def __init__(self, arrays, seconds):
        super().__init__()
        self.arrays, self.seconds = arrays, seconds

    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return self.arrays


def test_a_loop_that_waits_for_its_data_says_so():
    model = trainee()
    arrays = model.preprocessor(PAIRS["images"], PAIRS["captions"])
    model.fit(Slow(arrays, 0.0), verbose=0, callbacks=[Progress()])  # compiled
    for seconds, waits in ((0.0, False), (0.4, True)):
        validation = Slow(arrays, 0.1)  # which is no time of the training
        x = Slow(arrays, seconds)
        history = model.fit(x, verbose=0, callbacks=[Progress()], validation_data=validation).history
        assert history["images_per_second"][0] <= 24 / max(seconds, 1e-9)
        if keras.config.backend() == "tensorflow":
            assert "data_share" not in history
        else:
            assert (history["data_share"][0] > 0.5) == waits


@pytest.mark.once
def test_a_stopwatch_counts_the_time_until_a_batch_is_there():
    watch = Stopwatch()
    watch.waited = 0.0

    def slow():
        time.sleep(0.05)
        yield 1

    assert list(watch.timed(slow())) == [1]
    assert 0.04 < watch.waited < 1.0
