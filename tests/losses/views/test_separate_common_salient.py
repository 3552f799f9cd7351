"""SeparateCommonSalient against loops, without a set, and of one row."""

import math

import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import value_and_gradients

from kzoo.losses import SeparateCommonSalient


def embeddings(rows=7, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def naive_separation(c, s, target, t):
    """Of one view: uniformity of both parts and what they say of each other."""
    s, rows = s * target[:, None], range(len(c))
    gaps = [np.sum((each[:, None] - each[None]) ** 2, axis=-1) / (2 * t) for each in (c, s)]
    uniform = [math.log(np.mean([np.exp(-gap[i, j]) for i in rows for j in rows if i < j])) for gap in gaps]
    return *uniform, np.mean([math.log(np.mean([np.exp(-gaps[0][i, j] - gaps[1][i, j]) for j in rows])) for i in rows])


@pytest.mark.parametrize("target", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
def test_common_and_salient_parts_without_a_set(target):
    target, c, s = np.array(target), embeddings(4), embeddings(4, 3, seed=1)
    other_c, other_s = embeddings(4, seed=2), embeddings(4, 3, seed=3)
    views = [naive_separation(unit(one), two, target, 0.8) for one, two in ((c, s), (other_c, other_s))]
    of_c, of_s, joint = np.mean(views, axis=0)
    want = np.mean(np.sum((unit(c) - unit(other_c)) ** 2, axis=1)) / 1.6 + 3.0 * of_c + 0.5 * 3.0 * of_s + 4.0 * joint
    if target.any():
        want += 0.5 * np.sum((s - other_s)[target == 1] ** 2) / target.sum() / 1.6
    if not target.all():
        want += 0.2 * 0.5 * sum(np.sum(each[target == 0] ** 2) for each in (s, other_s)) / (1 - target).sum() / 1.6
    for block_size in (None, 3):
        loss = SeparateCommonSalient(0.8, 0.5, 0.2, 4.0, 3.0, block_size)
        assert value_of(loss, c, other_c, s, other_s, is_target=target) == pytest.approx(want, rel=1e-4)


def test_one_row_has_no_common_or_salient_spread():
    c, s = embeddings(1), embeddings(1, 3)
    loss = SeparateCommonSalient()
    value, gradients = value_and_gradients(lambda *views: loss(*views, is_target=np.ones(1)), [c, c, s, s])
    assert value == pytest.approx(0.0, abs=1e-6) and all(np.isfinite(each).all() for each in gradients)
