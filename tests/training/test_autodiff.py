"""One train step for the three backends: against Keras' own, by term, in several passes, scaled, and in a test step."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

from kzoo.keras_contact import track_loss, untracked
from kzoo.training import GradientSum
from kzoo.training.autodiff import apply_gradients, gradients, run_step

IDS, TARGETS = np.array([0, 2, 3, 4]), np.array([[1.0], [0.0], [2.0], [-1.0]], "float32")
TABLE, KERNEL = np.arange(15.0, dtype="float32").reshape(5, 3) / 10.0, np.array([[0.5], [-1.0], [0.25]], "float32")


class Tiny(keras.Model):
    """A table, a regularised matrix, dropout, and a count of the rows that it was trained with."""

    def __init__(self):
        super().__init__()
        self.table = keras.layers.Embedding(5, 3)
        self.dropout = keras.layers.Dropout(0.5, seed=3)
        self.dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.1))
        self.rows = self.add_weight(shape=(), initializer="zeros", trainable=False, name="rows")
        self.build((None,))
        self.set_weights([np.float32(0.0), TABLE, KERNEL])

    def build(self, shape):
        self.table.build(shape)
        self.dropout.build((None, 3))
        self.dense.build((None, 3))

    def call(self, ids, training=False):
        if training:
            self.rows.assign_add(ops.cast(ops.shape(ids)[0], "float32"))
        return self.dense(self.dropout(self.table(ids), training=training))


class Stepped(Tiny):
    """The same with a step of its own."""

    policy = None

    def train_step(self, *arguments):
        return run_step(self, arguments, partial(step, self, True))

    def test_step(self, *arguments):
        return run_step(self, arguments, partial(step, self, False))


def step(model, training, x, y, sample_weight):
    def forward():
        error = ops.mean(ops.square(model(x, training=training) - y))
        return (error, *model.losses), {"rows": ops.shape(x)[0]}

    if training:
        total, results, found = gradients(model, forward, model.policy)
        apply_gradients(model, found)
    else:
        losses, results = forward()
        total = sum(losses)
    track_loss(model, total, results["rows"])
    return model.get_metrics_result()


def trained(kind, optimizer=None, policy=None, steps=2):
    model = kind()
    untracked(model, "policy", policy)
    model.compile(optimizer or keras.optimizers.Adam(0.1), "mse")
    logs = [float(model.train_on_batch(IDS, TARGETS, return_dict=True)["loss"]) for _ in range(steps)]
    return model, logs


class ByTerm(GradientSum):
    """The sum, made of the gradients of the terms, of which it keeps how many there are."""

    by_term = True

    def apply(self, compute):
        terms = compute()
        self.count = len(terms)
        return [sum(of_one[1:], of_one[0]) for of_one in zip(*terms)]


class Moved(GradientSum):
    """The gradient at the weights plus one."""

    several_passes = True

    def apply(self, compute):
        first = compute()
        return compute([ops.ones_like(each) for each in first])


@pytest.fixture(scope="module")
def of_keras():
    return trained(Tiny)


@pytest.mark.parametrize("policy", [None, ByTerm()])
def test_the_numbers_are_those_of_keras_own_step(of_keras, policy):
    model, logs = trained(Stepped, policy=policy)
    assert logs == pytest.approx(of_keras[1], rel=1e-6)
    for one, other in zip(model.variables, of_keras[0].variables, strict=True):  # the seed of the dropout too
        np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-5, err_msg=one.path)
    assert policy is None or policy.count == 2


def test_several_passes_start_from_one_state_and_keep_what_the_first_changes():
    plain, first = trained(Stepped, keras.optimizers.SGD(1.0), steps=1)
    model, logs = trained(Stepped, keras.optimizers.SGD(1.0), Moved(), steps=1)
    assert logs == first and float(numpy(model.rows)) == 4.0
    for one, other in zip(model.non_trainable_variables, plain.non_trainable_variables):
        np.testing.assert_array_equal(numpy(one), numpy(other))
    # what plain SGD does from weights that are larger by one, with the same dropout
    plain.set_weights([np.float32(0.0), TABLE + 1.0, KERNEL + 1.0])
    plain.dropout.seed_generator.state.assign(Tiny().dropout.seed_generator.state)
    plain.train_on_batch(IDS, TARGETS)
    for new, start, moved in zip(model.get_weights()[1:], (TABLE, KERNEL), plain.get_weights()[1:]):
        np.testing.assert_allclose(start - new, start + 1.0 - moved, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", [None, Moved()])
def test_scaled_losses_give_the_same_weights(policy):
    model, logs = trained(Stepped, keras.optimizers.SGD(0.1), policy)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1024.0)
    scaled, scaled_logs = trained(Stepped, optimizer, policy)
    assert scaled_logs == pytest.approx(logs, rel=1e-6) and int(numpy(optimizer.step_counter)) == 2
    for one, other in zip(scaled.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_test_step_changes_nothing():
    model, _ = trained(Stepped, steps=0)
    loss = model.test_on_batch(IDS, TARGETS, return_dict=True)["loss"]
    error = np.mean((TABLE[IDS] @ KERNEL - TARGETS) ** 2) + 0.1 * np.sum(KERNEL**2)
    assert float(loss) == pytest.approx(error, rel=1e-6) and float(numpy(model.rows)) == 0.0


def test_a_model_that_is_locked_only_counts():
    model = Stepped()
    model.trainable = False
    model.compile("sgd", "mse")
    model.train_on_batch(IDS, TARGETS)
    assert float(numpy(model.rows)) == 4.0 and np.array_equal(numpy(model.dense.kernel), KERNEL)
