"""Shots that are drawn, classes that are described, templates that are weighed."""

import numpy as np
import pytest

from kzoo.adaptation import describe_classes, few_shot, template_weights
from kzoo.evaluation import class_embeddings

pytestmark = pytest.mark.once


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_shots_lie_in_each_other_and_depend_on_the_seed_alone():
    labels = np.random.default_rng(0).integers(0, 4, 100)
    few, more = few_shot(labels, 2).reshape(4, 2), few_shot(labels, 8).reshape(4, 8)
    assert np.array_equal(few, more[:, :2]) and np.array_equal(few_shot(labels, 8), more.ravel())
    assert (labels[more] == np.arange(4)[:, None]).all() and len(np.unique(more)) == 32
    assert not np.array_equal(few_shot(labels, 8, seed=1), more.ravel())
    without = np.flatnonzero(labels < 3)  # another class changes no other's
    assert np.array_equal(without[few_shot(labels[without], 8)], more[:3].ravel())
    assert few_shot([0, 1], 1).tolist() == [0, 1]


def test_a_class_is_the_mean_of_its_descriptions_however_many():
    told = {"wren": ["small", "brown", "loud"], "robin": ["red"], "crow": "black"}
    table = {text: row for text, row in zip(("small", "brown", "loud", "red", "black"), np.eye(5) + 0.1)}
    classes, texts = describe_classes(lambda texts: unit(np.array([table[text] for text in texts])), told)
    assert classes == ("wren", "robin", "crow")
    np.testing.assert_allclose(texts[0], unit(unit(np.eye(5) + 0.1)[:3].mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(texts[2], unit(table["black"]), rtol=1e-5)


def test_weights_of_templates_by_loops():
    random = np.random.default_rng(0)
    rows, prompts, others = (unit(random.normal(size=(count, 5))) for count in (7, 3 * 4, 9))
    weights = template_weights(rows, prompts, 3, others, scale=10.0)
    scores = np.zeros(4)
    for template in range(4):
        logits = np.array([[10 * row @ prompts[4 * label + template] for label in range(3)] for row in rows])
        of_others = np.array([[10 * row @ prompts[4 * label + template] for label in range(3)] for row in others])
        logits = logits - (logits.mean(axis=0) + of_others.mean(axis=0)) / 2
        scores[template] = logits.max(axis=1).mean()
    np.testing.assert_allclose(weights, np.exp(scores) / np.exp(scores).sum(), rtol=1e-4)


def test_a_template_that_tells_classes_apart_weighs_more():
    rows = np.eye(3, 6).repeat(4, axis=0)
    prompts = np.stack([np.eye(3, 6), np.eye(3, 6) + 3 * np.eye(6)[5]], axis=1).reshape(6, 6)
    weights = template_weights(rows, prompts, 3)
    assert weights[0] > 0.99 and abs(weights.sum() - 1) < 1e-6


def test_weighted_templates():
    prompts = unit(np.random.default_rng(0).normal(size=(6, 4)))
    plain = class_embeddings(prompts, 3)
    np.testing.assert_allclose(class_embeddings(prompts, 3, [2.0, 2.0]), plain, rtol=1e-6)
    np.testing.assert_allclose(class_embeddings(prompts, 3, [0.0, 5.0]), prompts[1::2], rtol=1e-6)
