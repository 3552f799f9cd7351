"""AlignmentUniformity: its terms one by one, their bounds and gradients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.evaluation import alignment, uniformity
from kzoo.losses import AlignmentUniformity, InfoNCE, LearnableTemperature

NONE = {f"{term}_weight": 0.0 for term in ("contrastive", "alignment", "uniformity", "cross_uniformity")}


def only(term, weight=1.0, **arguments):
    return AlignmentUniformity(**(NONE | {f"{term}_weight": weight} | arguments))


def embeddings(rows=4, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, dim)).astype("float32")


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_alignment_is_that_of_the_metric(power):
    a, b = embeddings()
    assert value_of(only("alignment", power=power), a, b) == pytest.approx(alignment(a, b, power), rel=1e-5)


def test_uniformity_is_that_of_the_metric():
    a, b = embeddings()
    wanted = (uniformity(a, 0.7) + uniformity(b, 0.7)) / 2
    assert value_of(only("uniformity", t=0.7), a, b) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("block_size", [None, 3])
def test_cross_uniformity_equals_a_loop(block_size):
    a, b = embeddings()
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    terms = [math.exp(-0.7 * float(np.sum((x[i] - y[j]) ** 2))) for i in range(4) for j in range(4) if i != j]
    loss = only("cross_uniformity", t=0.7, block_size=block_size)
    assert value_of(loss, a, b) == pytest.approx(math.log(np.mean(terms)), rel=1e-5)


def test_the_contrastive_term_is_info_nce_with_the_heads_scale():
    a, b = embeddings()
    wanted = pytest.approx(3.0 * value_of(InfoNCE(0.25), a, b), rel=1e-6)
    assert value_of(only("contrastive", 3.0), a, b, scale=np.float32(4.0)) == wanted
    learned = only("contrastive", 3.0, temperature=LearnableTemperature(0.25))
    assert value_of(learned, a, b) == wanted and len(learned.trainable_variables) == 1


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rotations_change_nothing(seed):
    a, b = embeddings(seed=seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn = turn.astype("float32")
    assert value_of(AlignmentUniformity(0.3), a @ turn, 7.0 * b @ turn) == pytest.approx(
        value_of(AlignmentUniformity(0.3), a, b), rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("power, rows", [(1.0, 2), (2.0, 4)])
def test_equal_points_have_neither_distance_nor_spread(power, rows):
    a = np.ones((rows, 3), "float32")
    loss = AlignmentUniformity(contrastive_weight=0.0, power=power)
    got, gradients = value_and_gradients(loss, [a, a])
    assert got == pytest.approx(0.0, abs=2e-3)  # of a root the guard is left
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
def test_one_pair_has_only_alignment():
    a, b = embeddings(1)
    got, gradients = value_and_gradients(AlignmentUniformity(), [a, b])
    assert got == pytest.approx(alignment(a, b), rel=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_there_are_no_weights_of_rows():
    a, b = embeddings()
    tensors = {"image_embeddings": a, "text_embeddings": b, "sample_weight": np.zeros(4, "float32")}
    total, _ = AlignmentUniformity(0.3).from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(value_of(AlignmentUniformity(0.3), a, b), rel=1e-6)
    with pytest.raises(ValueError, match="give a positive number"):
        AlignmentUniformity(-1.0)
