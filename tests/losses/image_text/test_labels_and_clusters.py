"""Several right answers and clusters: DecoupledSoftmax, SoftTopK, MLCD, ProtoCLIP; loops, invariants, state, errors."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import (
    DecoupledSoftmax,
    InfoNCE,
    LearnableTemperature,
    MultiLabelClusterDiscrimination,
    PrototypeContrastive,
    SoftTopK,
)

ROWS, LABELS, DIM = 5, 7, 4
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS, DIM)).astype("float32")
LABEL_EMBEDDINGS = RANDOM.normal(size=(LABELS, DIM)).astype("float32")
POSITIVES = RANDOM.random((ROWS, LABELS)) < 0.4
POSITIVES[1], POSITIVES[2] = False, True


def scores(temperature):
    return (unit(A) @ unit(LABEL_EMBEDDINGS).T / temperature).astype("float64")


def test_decoupled_softmax_equals_a_loop_with_rows_of_none_and_of_all():
    z, total = scores(0.3), 0.0
    for i in range(ROWS):
        right = [z[i, j] for j in range(LABELS) if POSITIVES[i, j]]
        wrong = sum(math.exp(z[i, j]) for j in range(LABELS) if not POSITIVES[i, j])
        total += sum(math.log(math.exp(each) + wrong) - each for each in right) / max(len(right), 1)
    got = value_of(DecoupledSoftmax(0.3), A, LABEL_EMBEDDINGS, positives=POSITIVES)
    assert got == pytest.approx(total / ROWS, rel=1e-6)


def test_decoupled_softmax_with_one_positive_is_info_nce():
    want = value_of(InfoNCE(0.05, direction="a_to_b"), A, B)
    assert value_of(DecoupledSoftmax(), A, B, positives=np.eye(ROWS, dtype=bool)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("loss", [DecoupledSoftmax, lambda t: SoftTopK("num_positives", temperature=t)])
@pytest.mark.parametrize("positives", [np.zeros((ROWS, LABELS), bool), np.ones((ROWS, LABELS), bool)])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_no_positive_and_all_positive_cost_nothing(loss, positives, temperature):
    function = lambda a, b: loss(temperature)(a, b, positives=positives)  # noqa: E731
    cost, gradients = value_and_gradients(function, [A, LABEL_EMBEDDINGS])
    assert cost == pytest.approx(0.0, abs=1e-6)
    assert all(temperature * np.abs(gradient).max() < 1e-6 for gradient in gradients)


def threshold(z, k, alpha):
    low, high = -z.max() - 100.0, -z.min() + 100.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        few = (1.0 / (1.0 + np.exp(-alpha * (z + middle)))).sum() < k
        low, high = (middle, high) if few else (low, middle)
    return low


def naive_top_k(z, positives, k, alpha):
    total = 0.0
    for i in range(len(z)):
        right = np.flatnonzero(positives[i])
        t = threshold(z[i], len(right) if k == "num_positives" else k, alpha)
        total += sum(math.log1p(math.exp(-alpha * (z[i, j] + t))) for j in right) / max(len(right), 1)
    return total / len(z)


@pytest.mark.parametrize("k, alpha", [(2, 1.0), (3.5, 2.5), ("num_positives", 0.5)])
def test_soft_top_k_equals_a_loop(k, alpha):
    positives = POSITIVES & (np.arange(LABELS) > 0)  # all positive has no threshold
    got = value_of(SoftTopK(k, alpha, 0.3), A, LABEL_EMBEDDINGS, positives=positives)
    assert got == pytest.approx(naive_top_k(scores(0.3), positives, k, alpha), rel=2e-6)


def test_the_gradient_of_soft_top_k_follows_the_threshold():
    loss = SoftTopK(2, 2.5, 0.3)
    _, (got,) = value_and_gradients(lambda a: loss(a, LABEL_EMBEDDINGS, positives=POSITIVES), [A])
    labels, step = unit(LABEL_EMBEDDINGS).astype("float64"), 1e-5
    for place in np.ndindex(2, DIM):
        moved = []
        for sign in (1, -1):
            a = A.astype("float64")
            a[place] += sign * step
            moved.append(naive_top_k(unit(a) @ labels.T / 0.3, POSITIVES, 2, 2.5))
        assert got[place] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_soft_top_k_does_not_see_what_all_columns_of_a_row_share():
    labels = np.concatenate([unit(LABEL_EMBEDDINGS), np.ones((LABELS, 1))], axis=1)
    up, down = (np.concatenate([unit(A), np.full((ROWS, 1), last)], axis=1) for last in (1.0, -1.0))
    more, less = (value_of(SoftTopK(2), each, labels, positives=POSITIVES) for each in (up, down))
    assert more == pytest.approx(less, rel=1e-5)


def test_soft_top_k_stays_finite_where_the_scores_are_far_apart():
    loss = SoftTopK(2, temperature=1e-4)
    cost, gradients = value_and_gradients(lambda a, b: loss(a, b, positives=POSITIVES), [A, LABEL_EMBEDDINGS])
    assert np.isfinite(cost) and all(np.isfinite(gradient).all() for gradient in gradients)


CLUSTERS = np.array([[0, 3], [2, 2], [6, -1], [-1, -1], [5, 0]])


def test_clusters_count_once_and_minus_one_fills_up():
    s, total = 3.0 * scores(1.0), 0.0
    for i in range(ROWS):
        own = set(CLUSTERS[i]) - {-1}
        total += math.log1p(sum(math.exp(s[i, k]) for k in range(LABELS) if k not in own))
        total += math.log1p(sum(math.exp(-s[i, k]) for k in own))
    got = value_of(MultiLabelClusterDiscrimination(3.0), A, LABEL_EMBEDDINGS, positives=CLUSTERS)
    assert got == pytest.approx(total / ROWS, rel=1e-6)


def test_clusters_at_right_angles_and_far_apart():
    loss = MultiLabelClusterDiscrimination(100.0)
    one = np.arange(3)[:, None]
    zero = value_of(loss, np.zeros((3, 3)), np.eye(3), positives=one)
    assert zero == pytest.approx(math.log(3) + math.log(2), rel=1e-6)
    assert value_of(loss, np.eye(3), 2.0 * np.eye(3) - 1.0, positives=one) == pytest.approx(0.0, abs=1e-6)
    all_own = value_of(loss, np.eye(3), np.eye(3), positives=np.tile(np.arange(3), (3, 1)))
    assert all_own == pytest.approx(math.log(3.0), rel=1e-6)  # two centers at right angles to the row, none to avoid


@pytest.mark.parametrize("block_size", [None, 2])
def test_the_loss_may_own_and_train_its_centers(block_size):
    loss = MultiLabelClusterDiscrimination(3.0, num_classes=LABELS, dim=DIM, block_size=block_size)
    assert loss.input_names == ("image_embeddings",) and loss.pairs(8) == (8, LABELS)
    assert [weight.shape for weight in loss.trainable_variables] == [(LABELS, DIM)]
    loss.centers.assign(LABEL_EMBEDDINGS)
    want = value_of(MultiLabelClusterDiscrimination(3.0), A, LABEL_EMBEDDINGS, positives=CLUSTERS)
    assert value_of(loss, A, positives=CLUSTERS) == pytest.approx(want, rel=1e-6)


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
        (lambda: SoftTopK(0), "k is 0; give a positive number, or 'num_positives'"),
        (lambda: SoftTopK("all"), "k is 'all'"),
        (lambda: SoftTopK(alpha=0.0), "alpha is 0.0 and iterations is 64; both must be positive"),
        (lambda: SoftTopK(7)(A, LABEL_EMBEDDINGS, positives=POSITIVES), "k=7 columns in, but there are 7; choose a sm"),
        (lambda: MultiLabelClusterDiscrimination(0.0), "scale is 0.0"),
        (lambda: MultiLabelClusterDiscrimination(dim=4), "num_classes=None and dim=4 go together"),
        (lambda: MultiLabelClusterDiscrimination()(A, positives=CLUSTERS), "no centers of its own, but none came"),
        (lambda: MultiLabelClusterDiscrimination()(A, LABEL_EMBEDDINGS), "positives is missing"),
        (
            lambda: MultiLabelClusterDiscrimination(1.0, LABELS, DIM)(A, LABEL_EMBEDDINGS, positives=CLUSTERS),
            r"centers of its own, but others came, \(7, 4\)",
        ),
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
