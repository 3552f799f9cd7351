"""Optimal transport between class means and pictures: the plan, what it moves, and a biased sample."""

import numpy as np
import pytest

from kzoo.adaptation import NearestClassMean, TransportedMeans
from kzoo.adaptation.classifiers.transported import transport_plan

pytestmark = pytest.mark.once
random = np.random.default_rng(0)


def test_a_plan_has_equal_weights_and_goes_from_all_pairs_to_the_cheapest():
    cost = random.uniform(size=(3, 6))
    plan = transport_plan(cost, 0.1)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 6, atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 3, atol=1e-3)
    np.testing.assert_allclose(plan, transport_plan(7.0 * cost, 0.1))  # the largest cost stands for 1
    np.testing.assert_allclose(transport_plan(cost, 1e4), 1 / 18, atol=1e-5)
    scaled = np.exp(-cost / cost.max() / 0.1)  # a plan is its kernel with rows and columns scaled
    ratios = plan / scaled
    np.testing.assert_allclose(ratios * ratios[0, 0], np.outer(ratios[:, 0], ratios[0]), rtol=1e-9)
    cheap = transport_plan(np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]), 0.01)
    np.testing.assert_allclose(cheap, [[0.25, 0.25, 0, 0], [0, 0, 0.25, 0.25]], atol=1e-9)
    assert np.array_equal(transport_plan(np.zeros((2, 2)), 0.1), np.full((2, 2), 0.25))


def test_means_go_to_the_pictures_and_stay_where_these_are():
    rows = np.repeat(np.eye(4), 3, axis=0).astype("float32")
    labels = np.repeat(np.arange(4), 3)
    made = TransportedMeans(rows, labels, epsilon=0.01)
    np.testing.assert_allclose(made.transported(rows), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(made.logits(rows), 100.0 * np.eye(4)[labels], atol=1e-4)
    order = random.permutation(12)
    np.testing.assert_allclose(made.logits(rows[order]), made.logits(rows)[order], atol=1e-4)


def test_one_biased_picture_of_each_class_is_made_up_for():
    centres = 2.0 * random.normal(size=(5, 16))
    labels = np.tile(np.arange(5), 15)
    found = {"means": [], "one": [], "two": []}
    for _ in range(30):
        shots = (centres + 1.8 * random.normal(size=(5, 16))).astype("float32")
        rows = (centres[labels] + random.normal(size=(75, 16))).astype("float32")
        found["means"].append(NearestClassMean(shots, np.arange(5)).accuracy(rows, labels))
        found["one"].append(TransportedMeans(shots, np.arange(5)).accuracy(rows, labels))
        found["two"].append(TransportedMeans(shots, np.arange(5), passes=2).accuracy(rows, labels))
    means, one, two = (np.mean(each) for each in found.values())
    assert means < one and means < two
