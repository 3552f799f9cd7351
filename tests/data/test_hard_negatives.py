"""Hard negatives of a batch: the golden case, what is never drawn, how often the rest is."""

import json
from pathlib import Path

import numpy as np
import pytest

from kzoo.data import draw_hard_negatives, hard_negative_probabilities

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "golden_image_text.json").read_text())


def embeddings(rows=5, dim=4):
    return np.random.default_rng(0).normal(size=(2, rows, dim))


@pytest.mark.parametrize("case", TABLE["hard_negative_probabilities"]["cases"], ids=lambda case: case["name"])
def test_golden(case):
    given = {key: np.array(value) for key, value in case["inputs"].items()}
    got = hard_negative_probabilities(given["a"], given["b"], ids=given["ids"], **case["constructor"])
    np.testing.assert_allclose(got, case["expected_array"], rtol=1e-9, atol=1e-12)
    one = np.arange(1, len(got) + 1)
    assert np.sum(one[:, None] * one[None, :] * got) == pytest.approx(case["expected"], rel=1e-9)


def test_rows_add_up_to_one_and_spare_the_partners():
    a, b = embeddings()
    ids = np.array([7, 8, 7, 9, 8])
    p = hard_negative_probabilities(a, b, ids)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_array_equal(p == 0.0, ids[:, None] == ids[None, :])
    np.testing.assert_array_equal(np.diag(hard_negative_probabilities(a, b)), 0.0)


def test_a_tiny_temperature_leaves_no_row_of_zeros():
    a = np.eye(3)
    p = hard_negative_probabilities(a, a, temperature=1e-5)  # softmax over all rows would leave exp(-1e5) of the others
    np.testing.assert_allclose(p, 0.5 * (1.0 - np.eye(3)))


def test_length_of_the_embeddings_does_not_matter():
    a, b = embeddings()
    np.testing.assert_allclose(hard_negative_probabilities(3.0 * a, 0.1 * b), hard_negative_probabilities(a, b))
    np.testing.assert_allclose(hard_negative_probabilities(0.0 * a, b), (1.0 - np.eye(5)) / 4.0)


def test_embeddings_that_are_not_finite():
    a, b = embeddings()
    for wrong in (np.nan * a, np.where(np.eye(*a.shape), np.inf, a)):
        for pair in ((wrong, b), (a, wrong)):
            with pytest.raises(ValueError, match="not finite, which are near to nothing"):
                hard_negative_probabilities(*pair)


def test_draws_follow_the_probabilities():
    p = np.array([0.0, 0.5, 0.2, 0.3, 0.0])
    drawn = draw_hard_negatives(np.tile(p, (20000, 1)), seed=0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 20000, p, atol=0.015)
    assert not np.isin(drawn, (0, 4)).any()


def test_a_seed_repeats_the_draw_and_a_generator_goes_on():
    p = np.full((50, 50), 0.02)
    np.testing.assert_array_equal(draw_hard_negatives(p, seed=3), draw_hard_negatives(p, seed=3))
    generator = np.random.default_rng(3)
    first, second = draw_hard_negatives(p, generator), draw_hard_negatives(p, generator)
    assert (first != second).any()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"b": np.ones((4, 4))}, r"a \(5, 4\), b \(4, 4\) and ids \(5,\) do not go together"),
        ({"ids": np.arange(4)}, r"ids \(4,\) do not go together"),
        ({"temperature": 0.0}, "temperature is 0.0; give a positive number"),
        ({"ids": np.zeros(5, int)}, "row 0 has no wrong partner: all 5 rows have its id"),
    ],
)
def test_bad_input(arguments, sentence):
    a, b = embeddings()
    with pytest.raises(ValueError, match=sentence):
        hard_negative_probabilities(**({"a": a, "b": b} | arguments))


@pytest.mark.parametrize("p", [[[0.0, 0.0]], [[-0.1, 1.1]], [[np.nan, 1.0]], [0.5, 0.5]])
def test_bad_probabilities(p):
    with pytest.raises(ValueError, match="must be finite numbers"):
        draw_hard_negatives(np.array(p))
