"""Symile and GRAM: any number of modalities, against loops, their invariants and what they refuse."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import log_sum, unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import GramContrastive, InfoNCE, LearnableTemperature, Symile

LOSSES = [Symile(0.2, negatives="all"), GramContrastive(0.2)]
NAMES = ("images", "texts", "sounds", "depths")


def modalities(count, rows=3, dim=5, seed=0):
    return list(np.random.default_rng(seed).normal(size=(count, rows, dim)).astype("float32"))


def symile_of_all(arrays, temperature):
    arrays, rows, total = [unit(a.astype("float64")) for a in arrays], len(arrays[0]), 0.0
    for anchor in range(len(arrays)):
        for i in range(rows):
            z = {
                index: math.fsum(math.prod(a[k][d] for a, k in zip(arrays, index)) for d in range(5)) / temperature
                for index in itertools.product(range(rows), repeat=len(arrays))
                if index[anchor] == i
            }
            total += log_sum(list(z.values())) - z[(i,) * len(arrays)]
    return total / (len(arrays) * rows)


def gram(arrays, temperature):
    first, *others = [unit(a.astype("float64")) for a in arrays]
    z = np.zeros((len(first), len(first)))
    for i, j in itertools.product(range(len(first)), repeat=2):
        rows = np.stack([first[i], *(other[j] for other in others)])
        z[i, j] = -math.sqrt(np.linalg.det(rows @ rows.T)) / temperature
    return np.mean([log_sum(list(row)) - row[i] for m in (z, z.T) for i, row in enumerate(m)])


def test_symile_of_four_equals_a_loop_over_all_combinations():
    arrays = modalities(4)
    assert value_of(Symile(0.1, "all"), *arrays) == pytest.approx(symile_of_all(arrays, 0.1), rel=2e-6)


def test_gram_of_five_equals_the_determinant():
    arrays = modalities(5, rows=4, dim=6)
    assert value_of(GramContrastive(0.1, label_smoothing=0.0), *arrays) == pytest.approx(gram(arrays, 0.1), rel=2e-6)


def test_symile_of_two_is_info_nce_with_the_heads_scale():
    a, b = modalities(2)
    assert value_of(Symile(negatives="all"), a, b, scale=np.float32(4.0)) == pytest.approx(
        value_of(InfoNCE(0.25), a, b), rel=1e-6
    )
    learned = Symile(LearnableTemperature(0.25), negatives="all")
    assert value_of(learned, a, b, scale=np.float32(9.0)) == pytest.approx(value_of(InfoNCE(0.25), a, b), rel=1e-6)
    assert len(learned.trainable_variables) == 1


@pytest.mark.parametrize("temperature, loss", [(0.05, Symile), (0.05, GramContrastive)])
def test_the_scale_of_the_head_is_trained_in_blocks(temperature, loss):
    arrays = modalities(3)
    more = {"permutations": np.array([[[1, 2, 0]] * 2] * 3)} if loss is Symile else {}
    scale = np.array(1.0 / temperature, "float32")
    step = np.float32(0.01)
    one = loss(block_size=2)
    _, (gradient,) = value_and_gradients(lambda s: one(*arrays, scale=s, **more), [scale])
    near = [value_of(one, *arrays, scale=scale + sign * step, **more) for sign in (1, -1)]
    assert gradient == pytest.approx((near[0] - near[1]) / (2 * step), rel=2e-2)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100.0))
def test_order_of_rows_of_modalities_and_length_are_irrelevant(seed, factor):
    a, b, c = modalities(3, seed=seed)
    order = np.random.default_rng(seed).permutation(3)
    for loss in LOSSES:
        wanted = pytest.approx(value_of(loss, a, b, c), rel=1e-4)
        assert value_of(loss, a[order], b[order], c[order]) == wanted
        assert value_of(loss, a, c, b) == wanted
        assert value_of(loss, a, np.float32(factor) * b, c) == wanted
    assert value_of(LOSSES[0], b, c, a) == pytest.approx(value_of(LOSSES[0], a, b, c), rel=1e-4)
    assert value_of(LOSSES[1], -a, b, -c) == pytest.approx(value_of(LOSSES[1], a, b, c), rel=1e-6)


def test_equal_embeddings():
    same = [np.ones((3, 5), "float32")] * 3
    assert value_of(Symile(negatives="all"), *same) == pytest.approx(2 * math.log(3), rel=1e-5)
    for loss in (Symile(negatives="shuffled"), GramContrastive()):
        assert value_of(loss, *same) == pytest.approx(math.log(3), rel=1e-5)


EXTREME = [Symile(1e-4, negatives="all"), GramContrastive(1e-4), GramContrastive(1e4, eps=0.0)]


@pytest.mark.parametrize("loss, rows", [(loss, 1) for loss in LOSSES] + [(loss, 2) for loss in EXTREME])
def test_small_batches_and_extreme_temperatures_stay_finite(loss, rows):
    a, c = modalities(2, rows)
    got, gradients = value_and_gradients(loss, [a, a.copy(), c])
    assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)
    if rows == 1:
        assert got == pytest.approx(0.0, abs=1e-6)


def test_permutations_are_drawn_from_the_seed():
    arrays = modalities(3)
    one, other = (Symile(0.1, "shuffled", seed=3) for _ in range(2))
    first = value_of(one, *arrays)
    assert first == value_of(other, *arrays) and first != value_of(one, *arrays)


@pytest.mark.parametrize(
    "loss, arguments", [(Symile, {}), (Symile, {"negatives": "shuffled", "seed": 1}), (GramContrastive, {})]
)
def test_any_number_is_read_by_name(loss, arguments):
    arrays = modalities(4)
    tensors = dict(zip(NAMES, map(keras.ops.convert_to_tensor, arrays))) | {"sample_weight": np.ones(3, "float32")}
    named = loss(0.2, inputs=NAMES, block_size=2, **arguments)
    total, (term,) = named.from_tensors(tensors, training=True)
    assert float(numpy(total)) == float(numpy(term))
    assert float(numpy(total)) == pytest.approx(value_of(loss(0.2, **arguments), *arrays), rel=1e-5)
    with pytest.raises(ValueError, match="reads 'depths', but the model and the batch give only"):
        named.from_tensors({name: tensors[name] for name in NAMES[:3]})


def test_weights_leave_rows_as_negatives():
    arrays = modalities(3)
    for loss in LOSSES:
        parts = [value_of(loss, *arrays, sample_weight=np.eye(3, dtype="float32")[i]) for i in range(3)]
        assert np.mean(parts) == pytest.approx(value_of(loss, *arrays), rel=1e-5)


def test_what_is_compared_is_described():
    every, some = Symile(inputs=NAMES), Symile(negatives="shuffled", inputs=NAMES)
    assert every.pairs(8) == (8, 512) and every.negatives(8) == 511
    assert some.pairs(8) == (8, 32) and some.negatives(8) == 7
    assert GramContrastive(inputs=NAMES).pairs(8) == (8, 8)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda a, b: Symile(negatives="some"), "negatives 'some' is unknown; choose one of all, shuffled"),
        (lambda a, b: GramContrastive(label_smoothing=1.0), r"give a number in \[0, 1\)"),
        (lambda a, b: Symile(inputs=("images",)), "Symile reads at least 2 tensors, but inputs names 1"),
        (lambda a, b: GramContrastive()(a), "GramContrastive reads at least 2 tensors, but was called with 1"),
        (
            lambda a, b: Symile()(a, b[:, :2]),
            r"as \(batch, dim\), but got modalities \(3, 5\), \(3, 2\); they must agree in dim",
        ),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(*modalities(2))
