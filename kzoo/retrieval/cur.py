"""Search by a cross-encoder, whose scores of all pairs are guessed from those of a few (CUR decomposition)."""

from typing import Any

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, FUNCTION, Checked, shown, takes
from kzoo.retrieval.found import Found, best
from kzoo.types import Array

SINGULAR = 1e-6  # singular values below this share of the largest are taken for none


class CURSearch(Checked):
    """The k best items of a query by a model that scores pairs and embeds nothing.

    Before: the scores `R` of some anchor queries with all items. For a query: its scores `c` with some anchor items,
    from which `c U R` guesses those with all, `U` the pseudo-inverse of `R` at the anchor items. The best by that guess
    are scored by the model, too, and the best of all that it has scored are given: no score is a guess.

    Args:
        score: function of a list of queries and a list of items to a float array `(queries, items)`, such as
            `model.match` of a `kzoo.MatchingEncoder`.
        anchors: list of queries, such as some of those of a training; the more, the better the guess.
        items: list of what is searched.
        anchor_items: how many items each query is scored with first.
        rounds: in how many steps these are chosen: 1 draws them at random, the same for all queries; with more each
            step takes the best by the guess so far (ADACUR).
        scores: `R`, float array `(anchors, items)`, where it is known already; None: it is computed now.
        seed: of the draw.

    Attributes:
        scores: `R`, to be kept.
        calls: pairs that the model has scored for queries so far.

    Raises:
        ValueError: no anchors or items, more anchor items than items, scores of another shape or that are not finite.

    Example:
        >>> search = CURSearch(model.match, anchors=pictures[:50], items=texts, anchor_items=30)
        >>> search.search(["cat.jpg"], k=5, budget=100).places
        array([[812, 7, 90, 411, 33]])

    Reference:
        Yadav et al., Efficient Nearest Neighbor Search for Cross-Encoder Models using Matrix Factorization (annCUR),
        2022, arXiv 2210.12579; rounds: Yadav et al., Adaptive Multi-Round CUR Decomposition (ADACUR), 2023, arXiv
        2305.02996.
    """

    arguments = {"score": FUNCTION, "anchor_items": COUNT, "rounds": COUNT, "seed": AMOUNT}

    def __init__(self, score, anchors, items, anchor_items=50, rounds=1, scores=None, seed=0):
        self.score, self.items, self.rounds, self.calls = score, _listed("items", items), rounds, 0
        anchors = _listed("anchors", anchors)
        if anchor_items > len(self.items):
            raise ValueError(f"anchor_items is {anchor_items}, but there are {len(self.items)} items; give fewer.")
        if rounds > anchor_items:
            raise ValueError(f"rounds is {rounds}, more than the {anchor_items} anchor items; give fewer.")
        found = score(anchors, self.items) if scores is None else scores
        self.scores = _checked("scores", found, (len(anchors), len(self.items)))
        order = np.random.default_rng(seed).permutation(len(self.items))
        self.steps = [len(part) for part in np.array_split(np.arange(anchor_items), rounds)]
        self.first = np.sort(order[: self.steps[0]])
        self.inverse = np.linalg.pinv(self.scores[:, self.first], rcond=SINGULAR)  # (first, anchors)

    @takes(k=COUNT, budget=COUNT)
    def search(self, queries, k=10, budget=100) -> Found:
        """The best items of each query.

        Args:
            queries: list of what `score` takes.
            k: how many; at most the budget.
            budget: pairs that the model scores for a query, anchor items included; at most the items.

        Returns:
            `Found`: scores of the model, and places of the items.

        Raises:
            ValueError: a budget below the anchor items or k, or above the items.
        """
        queries, fewest = _listed("queries", queries), max(sum(self.steps), k)
        if not fewest <= budget <= len(self.items):
            raise ValueError(
                f"budget is {budget}; give a number from {fewest}, the anchor items and k, to {len(self.items)}, all "
                "items."
            )
        own = self._scored(queries, self.first)
        found = [self._of_one(query, scores, k, budget) for query, scores in zip(queries, own)]
        return Found(*map(np.concatenate, zip(*found)))

    def guessed(self, queries) -> Array:
        """The scores of queries with all items as the first anchor items let guess, float64 `(queries, items)`."""
        return self._scored(_listed("queries", queries), self.first) @ self.inverse @ self.scores

    def _of_one(self, query, scores, k, budget):
        places, inverse = self.first, self.inverse
        for count in (*self.steps[1:], budget - sum(self.steps)):
            if count:
                guess = scores @ inverse @ self.scores
                guess[places] = -np.inf
                more = best(guess[None], count).places[0]
                places = np.concatenate([places, more])
                scores = np.concatenate([scores, self._scored([query], more)[0]])
                inverse = np.linalg.pinv(self.scores[:, places], rcond=SINGULAR)
        return best(scores[None], k, places[None])

    def _scored(self, queries, places):
        self.calls += len(queries) * len(places)
        items = [self.items[place] for place in places]
        return _checked("the scores of queries", self.score(queries, items), (len(queries), len(items)))


def _listed(name, values) -> list[Any]:
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__len__"):
        raise TypeError(f"{name} is {shown(values, True)}; give a list.")
    if not len(values):
        raise ValueError(f"{name} is empty; give at least one.")
    return [*values]


def _checked(name, scores, shape) -> Array:
    scores = np.asarray(scores)
    if scores.dtype.kind not in "fiu" or scores.shape != shape or not np.isfinite(scores).all():
        raise ValueError(f"{name} are {scores.dtype} of shape {scores.shape}; give finite numbers of shape {shape}.")
    return scores.astype("float64")
