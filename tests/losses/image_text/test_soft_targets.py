"""Losses whose targets or denominators are not the diagonal: by labels, by likeness, by weights, by groups."""

import math
from functools import partial

import keras
import numpy as np
import pytest
from naive_softmax import embeddings, log_sum, row_losses, unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import (
    ContinuouslyWeightedContrastive,
    ContrastiveMIM,
    GroupInfoNCE,
    InfoNCE,
    SelfSoftTargetContrastive,
    UnifiedContrastive,
    WeightedInfoNCE,
)

T = 0.3
A, B = embeddings(6, 8)  # the shapes of the golden cases: JAX compiles each operation anew for others
EYE = np.eye(6, dtype="float32")
WEIGHT = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0], "float32")


def both(rows, columns):
    return np.average((rows + columns) / 2, weights=WEIGHT)


def shares(match):
    """Each row divided by its sum, rows of zeros as they are."""
    return match / np.maximum(match.sum(axis=1, keepdims=True), 1.0)


@pytest.mark.parametrize("block_size", [None, 4])
def test_unified_with_labels_of_both_sides(block_size):
    labels, b_labels = (
        np.array([3, 7, 3, 9, 1, 1], "int32"),
        np.array([3, 3, 7, 5, 1, 3], "int32"),
    )  # nobody for the 9 nor the 5
    match = (labels[:, None] == b_labels[None, :]).astype(float)
    want = both(row_losses(A, B, T, shares(match)), row_losses(B, A, T, shares(match.T)))
    loss = UnifiedContrastive(T, block_size=block_size)
    assert value_of(loss, A, B, labels=labels, b_labels=b_labels, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_unified_in_one_direction(direction):
    labels = np.array([0, 1, 0, 0, 2, 1], "int32")
    x, y = (A, B) if direction == "a_to_b" else (B, A)
    want = row_losses(x, y, T, shares((labels[:, None] == labels).astype(float))).mean()
    assert value_of(UnifiedContrastive(T, direction), A, B, labels=labels) == pytest.approx(want, rel=1e-5)


def test_unified_reads_labels_as_names():
    loss = UnifiedContrastive(T)
    value = value_of(loss, A, B, labels=np.array([0, 1, 0, 2, 2, 2], "int32"))
    assert value_of(loss, A, B, labels=np.array([900, -5, 900, 7, 7, 7], "int32")) == pytest.approx(value, rel=1e-6)
    assert value_of(loss, A, B, labels=np.arange(6, dtype="int32")) == pytest.approx(
        value_of(InfoNCE(T), A, B), rel=1e-6
    )


def test_unified_where_all_are_positive_or_none_is():
    same = np.ones((6, 8), "float32")
    loss = UnifiedContrastive(T)
    assert value_of(loss, same, same, labels=np.zeros(6, "int32")) == pytest.approx(math.log(6), rel=1e-6)
    labels = {"labels": np.zeros(6, "int32"), "b_labels": np.ones(6, "int32")}
    value, gradients = value_and_gradients(partial(loss, **labels), [A, B])
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("weighted", ["a_to_b", "b_to_a", "both"])
@pytest.mark.parametrize("block_size", [None, 4])
def test_given_weights_of_continuously_weighted(weighted, block_size):
    w = np.random.default_rng(1).uniform(size=(6, 6)).astype("float32")
    w[2] = 0.0
    spread = w / np.maximum(w.sum(axis=1, keepdims=True), 1e-12)  # of anchor i: how much sample j is like it
    rows = row_losses(A, B, T, EYE if weighted == "b_to_a" else spread)
    columns = row_losses(B, A, T, EYE if weighted == "a_to_b" else spread)
    loss = ContinuouslyWeightedContrastive(T, weighted, block_size)
    got = value_of(loss, A, B, weights=w, sample_weight=WEIGHT)
    assert got == pytest.approx(both(rows, columns), rel=1e-5)


def test_a_rotated_reference_says_the_same():
    reference = embeddings(6, 8, count=1, seed=5)[0]
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0].astype("float32")
    loss = ContinuouslyWeightedContrastive(T)
    value = value_of(loss, A, B, reference=reference)
    assert value_of(loss, A, B, reference=reference @ rotation) == pytest.approx(value, rel=1e-5)


def test_nothing_is_learned_through_the_targets():
    loss = ContinuouslyWeightedContrastive(T, "both")
    for keyword, array in (("weights", EYE + 0.5), ("reference", A)):

        def function(x, keyword=keyword):
            return loss(A, B, **{keyword: x}) + 0.0 * keras.ops.sum(x)  # tape and graph know x

        _, (gradient,) = value_and_gradients(function, [array])
        assert not gradient.any()


def soft_targets(b):
    z = unit(b) @ unit(b).T / T
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("block_size", [None, 4])
def test_self_soft_targets_with_and_without_their_gradient(block_size):
    want = both(row_losses(A, B, T, soft_targets(B)), row_losses(B, A, T, soft_targets(B)))
    gradients = {}
    for detach in (False, True):
        loss = SelfSoftTargetContrastive(T, detach, block_size)
        value, gradients[detach] = value_and_gradients(partial(loss, sample_weight=WEIGHT), [A, B])
        assert value == pytest.approx(want, rel=1e-5)
    np.testing.assert_allclose(gradients[True][0], gradients[False][0], rtol=1e-4, atol=1e-6)

    def numeric(targets_move):
        """The derivative for b[1, 2]."""
        values = []
        for step in (1e-5, -1e-5):
            b = B.astype("float64")
            b[1, 2] += step
            targets = soft_targets(b if targets_move else B)
            values.append(both(row_losses(A, b, T, targets), row_losses(b, A, T, targets)))
        return (values[0] - values[1]) / 2e-5

    for detach in (False, True):
        assert gradients[detach][1][1, 2] == pytest.approx(numeric(not detach), rel=1e-3)
    assert abs(numeric(True) - numeric(False)) > 0.001


def weighted_rows(w):
    a, b = unit(A), unit(B)
    rows = []
    for i in range(6):
        z = [a[i] @ b[j] / T for j in range(6)]
        kept = [z[j] + math.log(w[i, j]) for j in range(6) if w[i, j]]
        rows.append(log_sum(kept) - z[i] if kept else np.nan)
    return np.array(rows)


@pytest.mark.parametrize("block_size", [None, 4])
def test_weighted_info_nce_leaves_out_rows_without_a_denominator(block_size):
    w = np.random.default_rng(1).uniform(size=(6, 6)).astype("float32") * (1 - EYE)
    w[2] = 0.0
    rows = weighted_rows(w)
    want = np.average(np.delete(rows, 2), weights=np.delete(WEIGHT, 2))
    loss = WeightedInfoNCE(T, block_size=block_size)
    assert value_of(loss, A, B, weights=w, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    want = np.average(weighted_rows(np.where(EYE > 0, 1.0, w)), weights=WEIGHT)
    loss = WeightedInfoNCE(T, positive_in_denominator=True, block_size=block_size)
    assert value_of(loss, A, B, weights=w, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)


def test_weighted_info_nce_without_any_denominator():
    zero = np.zeros((6, 6), "float32")
    value, gradients = value_and_gradients(partial(WeightedInfoNCE(T), weights=zero), [A, B])
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)


def test_the_weights_of_weighted_info_nce_can_be_learned():
    w = np.random.default_rng(1).uniform(0.5, 1.5, (6, 6)).astype("float32")
    for block_size in (None, 4):
        loss = WeightedInfoNCE(T, block_size=block_size)
        _, (got,) = value_and_gradients(lambda x, loss=loss: loss(A, B, weights=x), [w])
        z = w * np.exp(unit(A) @ unit(B).T / T)
        np.testing.assert_allclose(got, z / z.sum(axis=1, keepdims=True) / w / 6, rtol=1e-4)
    ones = np.ones((6, 6), "float32")
    assert value_of(WeightedInfoNCE(T), A, B, weights=ones) == pytest.approx(
        value_of(InfoNCE(T, direction="a_to_b"), A, B), rel=1e-6
    )


@pytest.mark.parametrize("block_size", [None, 4])
def test_groups_are_compared_among_themselves(block_size):
    groups = np.array([5, 2, 5, 5, 1, 1], "int32")
    keep = groups[:, None] == groups
    loss = GroupInfoNCE(T, block_size)
    want = both(row_losses(A, B, T, EYE, keep), row_losses(B, A, T, EYE, keep))
    assert value_of(loss, A, B, groups=groups, sample_weight=WEIGHT) == pytest.approx(want, rel=1e-5)
    assert value_of(loss, A, B, groups=np.arange(6, dtype="int32")) == pytest.approx(0.0, abs=1e-6)
    alike = value_of(loss, A, B, groups=np.full(6, 9, "int32"))
    assert alike == pytest.approx(value_of(InfoNCE(T), A, B), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_contrastive_mim_does_not_depend_on_the_size_of_the_batch(batch):
    same = np.ones((batch, 8), "float32")
    want = math.log(2) if batch > 1 else 0.0
    assert value_of(ContrastiveMIM(), same, same) == pytest.approx(want, abs=1e-6)


def test_the_anchors_of_contrastive_mim_are_its_second_tensor():
    s = unit(B) @ unit(A).T / T
    rows = [
        math.log(math.exp(s[i, i]) + sum(math.exp(s[i, j]) for j in range(6) if j != i) / 5) - s[i, i] for i in range(6)
    ]
    want = np.average(rows, weights=WEIGHT)
    for block_size in (None, 4):
        got = value_of(ContrastiveMIM(T, block_size), A, B, sample_weight=WEIGHT)
        assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("loss", [WeightedInfoNCE, ContinuouslyWeightedContrastive], ids=lambda loss: loss.__name__)
def test_weights_are_cut_into_blocks_in_a_graph_that_knows_no_batch(loss):
    w = np.random.default_rng(1).uniform(0.5, 1.5, (6, 6)).astype("float32")

    def function(a, b, w):
        return loss(T, block_size=4)(a, b, weights=w)

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, input_signature=[tf.TensorSpec([None, size]) for size in (8, 8, None)])
    elif keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    assert float(numpy(function(A, B, w))) == pytest.approx(value_of(loss(T), A, B, weights=w), rel=1e-5)


ONE = [x[:1] for x in (A, B)]


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
@pytest.mark.parametrize(
    "loss, keywords, want",
    [
        (UnifiedContrastive(T), {"labels": np.zeros(1, "int32")}, 0.0),
        (ContinuouslyWeightedContrastive(T), {}, 0.0),
        (SelfSoftTargetContrastive(T), {}, 0.0),
        (GroupInfoNCE(T), {"groups": np.zeros(1, "int32")}, 0.0),
        (WeightedInfoNCE(T), {"weights": np.zeros((1, 1), "float32")}, 0.0),
        (WeightedInfoNCE(T, True), {"weights": np.zeros((1, 1), "float32")}, 0.0),
    ],
    ids=lambda value: getattr(value, "term", ""),
)
def test_a_batch_of_one(loss, keywords, want):
    value, gradients = value_and_gradients(partial(loss, **keywords), ONE)
    assert value == pytest.approx(want, abs=1e-6)
    assert all(np.abs(gradient).max() < 1e-5 for gradient in gradients)


def test_temperatures_of_the_models_head():
    labels = {"labels": np.array([0, 1, 0, 2, 2, 2], "int32")}
    for loss, more in ((UnifiedContrastive, labels), (ContinuouslyWeightedContrastive, {})):
        want = value_of(loss(0.25), A, B, **more)
        assert value_of(loss(), A, B, scale=np.float32(4.0), **more) == pytest.approx(want, rel=1e-6)
        assert value_of(loss(), A, B, **more) == pytest.approx(value_of(loss(0.07), A, B, **more), rel=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="direction 'up' is unknown"):
        UnifiedContrastive(direction="up")
    with pytest.raises(ValueError, match="weighted is 'a'; choose one of both, a_to_b, b_to_a"):
        ContinuouslyWeightedContrastive(weighted="a")
    for loss in (UnifiedContrastive, GroupInfoNCE, WeightedInfoNCE, ContrastiveMIM, SelfSoftTargetContrastive):
        with pytest.raises(ValueError, match="give a positive number"):
            loss(temperature=0.0)


def test_what_they_cannot_do_without_is_asked_for():
    tensors = {"image_embeddings": A, "text_embeddings": B, "view_1": A, "view_2": B}
    for loss, name in ((UnifiedContrastive(), "labels"), (GroupInfoNCE(), "groups"), (WeightedInfoNCE(), "weights")):
        with pytest.raises(ValueError, match=f"reads '{name}', but the model and the batch give only"):
            loss.from_tensors(tensors)
