"""CUR search: exact where the scores have that rank, exact by its budget, never a guess for a score."""

import numpy as np
import pytest

from kzoo.retrieval import CURSearch

pytestmark = pytest.mark.once
random = np.random.default_rng(0)
LEFT, RIGHT = random.normal(size=(60, 6)), random.normal(size=(6, 200))


def scored(noise=0.0):
    """A function that scores numbers of queries with numbers of items, and all scores."""
    matrix = LEFT @ RIGHT + noise * random.normal(size=(60, 200))
    return (lambda queries, items: matrix[np.ix_(queries, items)]), matrix


def test_scores_of_low_rank_are_guessed_to_rounding():
    score, matrix = scored()
    search = CURSearch(score, range(10), range(200), anchor_items=8)
    np.testing.assert_allclose(search.guessed(range(10, 60)), matrix[10:], atol=1e-8)
    np.testing.assert_allclose(search.scores, matrix[:10])
    search.calls = 0
    found = search.search(range(10, 60), k=5, budget=20)
    assert search.calls == 50 * 20
    order = np.argsort(-matrix[10:], axis=1)[:, :5]
    np.testing.assert_array_equal(found.places, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(matrix[10:], order, axis=1), rtol=1e-6)


def test_a_guess_is_the_product_of_the_three_matrices():
    score, matrix = scored(noise=1.0)
    search = CURSearch(score, range(10), range(200), anchor_items=7, seed=3)
    columns = search.first
    expected = matrix[12:14, columns] @ np.linalg.pinv(matrix[:10, columns]) @ matrix[:10]
    np.testing.assert_allclose(search.guessed([12, 13]), expected, atol=1e-8)


@pytest.mark.parametrize("rounds", [1, 4])
def test_what_is_found_was_scored_and_the_whole_budget_is_exact(rounds):
    score, matrix = scored(noise=0.3)
    search = CURSearch(score, range(20), range(200), anchor_items=16, rounds=rounds)
    whole = search.search([30, 31], k=200, budget=200)
    np.testing.assert_array_equal(whole.places, np.argsort(-matrix[30:32], axis=1))
    found = search.search(range(20, 60), k=10, budget=40)
    np.testing.assert_allclose(found.scores, np.take_along_axis(matrix[20:], found.places, axis=1), rtol=1e-6)
    truth = np.argsort(-matrix[20:], axis=1)[:, :10]
    share = np.mean([np.isin(each, own).mean() for each, own in zip(truth, found.places)])
    assert share > 0.8  # of a random choice 0.2
    assert all(len(set(row)) == 10 for row in found.places.tolist())


def test_what_cannot_be_is_said_in_a_sentence():
    score, matrix = scored()
    search = CURSearch(score, range(5), range(200), anchor_items=8, scores=matrix[:5])
    assert search.calls == 0
    refused = [
        (ValueError, "give a number from 8", lambda: search.search([1], k=5, budget=6)),
        (ValueError, "to 200", lambda: search.search([1], k=5, budget=201)),
        (ValueError, "queries is empty", lambda: search.search([])),
        (TypeError, "queries is 'a'", lambda: search.search("a")),
        (ValueError, "anchor_items is 9", lambda: CURSearch(score, [1], range(8), anchor_items=9)),
        (ValueError, "rounds is 9", lambda: CURSearch(score, [1], range(8), anchor_items=8, rounds=9)),
        (ValueError, "of shape \\(1, 8\\)", lambda: CURSearch(lambda q, i: [1.0], [1], range(8), anchor_items=2)),
        (TypeError, "score is 3", lambda: CURSearch(3, [1], range(8))),
    ]
    for error, sentence, call in refused:
        with pytest.raises(error, match=sentence) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith("."), caught.value
