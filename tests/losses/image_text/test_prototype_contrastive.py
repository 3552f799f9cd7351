"""PrototypeContrastive against a double loop, its invariants, prototypes as state, errors."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import LearnableTemperature, PrototypeContrastive

ROWS, DIM = 5, 4
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS, DIM)).astype("float32")
LABELS_A, LABELS_B = np.array([0, 2, 1, 2, 0]), np.array([1, 1, 0, 2, 2])
STATE = ("a_prototypes", "b_prototypes", "a_targets", "b_targets")
PROTOTYPES = dict(zip(STATE, RANDOM.normal(size=(4, 3, DIM)).astype("float32")))
GIVEN = PROTOTYPES | {"a_labels": LABELS_A, "b_labels": LABELS_B}


def one_side(x, targets, prototypes, labels, temperature, target_temperature):
    values = []
    for i in np.flatnonzero(labels >= 0):
        z = [float(unit(x[i]) @ target) / temperature for target in targets]
        near = [math.exp(float(prototypes[labels[i]] @ other) / target_temperature) for other in prototypes]
        log_sum = math.log(sum(map(math.exp, z)))
        values.append(sum(t * (log_sum - each) for t, each in zip(near, z)) / sum(near))
    return np.mean(values)


@pytest.mark.parametrize("b_labels", [LABELS_B, np.array([1, -1, 0, 2, -1])], ids=["all", "some without a cluster"])
def test_prototypes_equal_a_double_loop(b_labels):
    of_a = one_side(A, GIVEN["a_targets"], GIVEN["b_prototypes"], b_labels, 0.5, 2.0)
    of_b = one_side(B, GIVEN["b_targets"], GIVEN["a_prototypes"], LABELS_A, 0.5, 2.0)
    got = value_of(PrototypeContrastive(0.5, 2.0), A, B, **(GIVEN | {"b_labels": b_labels}))
    assert got == pytest.approx(0.5 * (of_a + of_b), rel=1e-6)


def test_no_row_with_a_cluster_costs_nothing():
    none = np.full(ROWS, -1)
    given = GIVEN | {"a_labels": none, "b_labels": none}
    assert value_of(PrototypeContrastive(), A, B, **given) == 0.0


def test_numbers_of_clusters_are_only_names():
    order = np.array([2, 0, 1])
    renamed = {key: array[order] for key, array in PROTOTYPES.items()}
    renamed |= {key: np.argsort(order)[GIVEN[key]] for key in ("a_labels", "b_labels")}
    loss = PrototypeContrastive(0.5, 0.7)
    assert value_of(loss, A, B, **renamed) == pytest.approx(value_of(loss, A, B, **GIVEN), rel=1e-6)


def test_a_cold_teacher_says_only_the_cluster():
    given = GIVEN | {key: unit(PROTOTYPES[key]) for key in STATE}
    cold, one_hot = (value_of(PrototypeContrastive(0.5, t), A, B, **given) for t in (1e-4, 0.0))
    assert cold == pytest.approx(one_hot, rel=1e-6)


def test_targets_default_to_the_prototypes_of_the_other_side():
    without = {key: GIVEN[key] for key in ("a_labels", "b_labels", "a_prototypes", "b_prototypes")}
    swapped = without | {"a_targets": without["b_prototypes"], "b_targets": without["a_prototypes"]}
    loss = PrototypeContrastive()
    assert value_of(loss, A, B, **without) == value_of(loss, A, B, **swapped)


def test_prototypes_are_constants():
    labels = {"a_labels": LABELS_A, "b_labels": LABELS_B}
    function = lambda a, *state: PrototypeContrastive(0.5)(a, B, **labels, **dict(zip(STATE, state)))  # noqa: E731
    _, (of_a, *of_state) = value_and_gradients(function, [A, *PROTOTYPES.values()])
    assert np.abs(of_a).max() > 1e-3 and not any(gradient.any() for gradient in of_state)


def test_prototypes_may_be_state():
    labels = {"a_labels": LABELS_A, "b_labels": LABELS_B}
    loss = PrototypeContrastive(num_prototypes=3, dim=DIM)
    assert len(loss.trainable_variables) == 1  # its own temperature
    assert value_of(loss, A, B, **labels) == pytest.approx(math.log(3.0), rel=1e-6)
    loss.set_prototypes(**PROTOTYPES)
    want = value_of(PrototypeContrastive(), A, B, **GIVEN)
    assert value_of(loss, A, B, **labels) == pytest.approx(want, rel=1e-6)
    again = PrototypeContrastive.from_config(loss.get_config())
    again.set_weights(loss.get_weights())
    assert value_of(again, A, B, **labels) == pytest.approx(want, rel=1e-6)
    loss.set_prototypes(PROTOTYPES["a_prototypes"], PROTOTYPES["b_prototypes"])
    np.testing.assert_array_equal(numpy(loss.a_targets), PROTOTYPES["b_prototypes"])
    np.testing.assert_array_equal(numpy(loss.b_targets), PROTOTYPES["a_prototypes"])


def compiled(loss, **labels):
    """The loss as a compiled function of embeddings of any batch, which sees the state as it is at each call."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        step = jax.jit(lambda train, state, a, b: loss.stateless_call(train, state, a, b, **labels)[0])
        values = lambda variables: [variable.value for variable in variables]  # noqa: E731
        return lambda a, b: step(values(loss.trainable_variables), values(loss.non_trainable_variables), a, b)
    if backend == "tensorflow":
        import tensorflow as tf

        rows = tf.TensorSpec((None, DIM), tf.float32)
        return tf.function(lambda a, b: loss(a, b, **labels), input_signature=[rows, rows])
    return lambda a, b: loss(a, b, **labels)


@pytest.mark.every_backend
@pytest.mark.parametrize("block_size", [None, 2])
def test_a_compiled_step_sees_new_prototypes(block_size):
    loss = PrototypeContrastive(num_prototypes=3, dim=DIM, block_size=block_size)
    step = compiled(loss, a_labels=LABELS_A, b_labels=LABELS_B)
    assert value_of(step, A, B) == pytest.approx(math.log(3.0), rel=1e-6)
    loss.set_prototypes(**PROTOTYPES)
    assert value_of(step, A, B) == pytest.approx(value_of(PrototypeContrastive(), A, B, **GIVEN), rel=1e-5)


def test_the_temperature_of_prototypes_is_the_losses_own():
    assert isinstance(PrototypeContrastive().temperature, LearnableTemperature)
    assert PrototypeContrastive().temperature is not PrototypeContrastive().temperature
    assert not PrototypeContrastive(0.1).variables


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: PrototypeContrastive(num_prototypes=3), "num_prototypes=3 and dim=None go together"),
        (
            lambda: PrototypeContrastive()(A, B, a_labels=LABELS_A, b_labels=LABELS_B),
            "no prototypes came and PrototypeContrastive holds none",
        ),
        (
            lambda: PrototypeContrastive()(A, B, LABELS_A, LABELS_B, a_prototypes=PROTOTYPES["a_prototypes"]),
            "prototypes came for one side only",
        ),
        (lambda: PrototypeContrastive().set_prototypes(A, B), "this PrototypeContrastive holds no prototypes"),
        (
            lambda: PrototypeContrastive(num_prototypes=3, dim=DIM).set_prototypes(A, B),
            r"a_prototypes has the shape \(5, 4\); the loss was made for \(3, 4\)",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
