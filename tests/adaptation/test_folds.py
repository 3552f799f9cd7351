"""Numbers of classifiers that nobody said: found by cross-validation on what is shown."""

import numpy as np
import pytest

from kzoo.adaptation import GaussianDiscriminant, LinearProbe, NearestClassMean, TipAdapter
from kzoo.adaptation.classifiers.folds import MOST_WORK, cross_validated, folds_of
from kzoo.adaptation.methods import METHODS, classifier_of

pytestmark = pytest.mark.once
RANDOM = np.random.default_rng(5)
MEANS = RANDOM.normal(size=(4, 6))
LABELS = np.repeat(np.arange(4), 5)
ROWS = MEANS[LABELS] + 0.8 * RANDOM.normal(size=(20, 6))
TEXTS = MEANS + RANDOM.normal(size=(4, 6))


@pytest.mark.parametrize("shots", [2, 3, 7])
def test_of_each_class_pictures_are_left_in_each_fold(shots):
    labels = np.tile(np.arange(3), shots)
    folds = folds_of(labels)
    assert set(folds) == set(range(5)) and np.ptp(np.bincount(folds)) <= 1
    for fold in range(5):
        assert set(labels[folds != fold]) == {0, 1, 2}
    assert not np.array_equal(folds, folds_of(labels, seed=1))


def test_what_finds_most_of_those_left_out_is_taken():
    def made(rows, labels, alpha=1.0):
        return GaussianDiscriminant(rows, labels, TEXTS, alpha=alpha, scale=5.0)

    alphas, folds, right = (1e-4, 0.1, 1.0, 30.0), folds_of(LABELS), []
    for alpha in alphas:
        own = [made(ROWS[folds != f], LABELS[folds != f], alpha).predict(ROWS[folds == f]) for f in range(5)]
        right.append(sum((found == LABELS[folds == f]).sum() for f, found in enumerate(own)))
    assert len(set(right)) > 1
    found = cross_validated(made, {"alpha": alphas}, ROWS, LABELS)
    assert found.alpha == alphas[int(np.argmax(right))]
    np.testing.assert_array_equal(found.logits(ROWS), made(ROWS, LABELS, found.alpha).logits(ROWS))


@pytest.mark.parametrize("method", ["gda", "tip_adapter", "linear_probe"])
def test_the_door_searches_what_is_not_said(method):
    given = {"embeddings": ROWS, "labels": LABELS, "zero_shot": TEXTS, "classes": None, "scale": 5.0}
    kind = METHODS[method].made_of()
    found = classifier_of(METHODS[method], {}, **given)
    assert all(getattr(found, name) in values for name, values in kind.searched.items())
    name = next(iter(kind.searched))
    said = classifier_of(METHODS[method], {name: 0.77}, **given)
    assert getattr(said, name) == 0.77
    one = np.arange(0, 20, 5)  # a picture of each class, of which none can be left out
    if method != "gda":
        alone = classifier_of(METHODS[method], {}, **given | {"embeddings": ROWS[one], "labels": LABELS[one]})
        default = {"tip_adapter": 1.17, "linear_probe": 1.0}[method]
        assert getattr(alone, name) == default


def test_what_would_take_minutes_is_not_searched(monkeypatch):
    assert LinearProbe.search_work(1600, 768, 100) < MOST_WORK < LinearProbe.search_work(16000, 768, 1000)
    assert TipAdapter.search_work(1600, 768, 100) < MOST_WORK < TipAdapter.search_work(16000, 768, 1000)
    assert GaussianDiscriminant.search_work(16000, 768, 1000) < MOST_WORK
    monkeypatch.setattr(TipAdapter, "search_work", lambda *sizes: 2 * MOST_WORK)
    given = {"embeddings": ROWS, "labels": LABELS, "zero_shot": TEXTS, "classes": None, "scale": 5.0}
    assert classifier_of(METHODS["tip_adapter"], {}, **given).alpha == 1.17


def test_other_numbers_make_another_classifier_of_the_same():
    probe = LinearProbe(ROWS, LABELS)
    np.testing.assert_allclose(probe.with_numbers(C=7.0).weights, LinearProbe(ROWS, LABELS, C=7.0).weights)
    cache = TipAdapter(ROWS, LABELS, TEXTS)
    other = cache.with_numbers(alpha=2.0, beta=3.0)
    assert (other.alpha, other.beta, cache.alpha) == (2.0, 3.0, 1.17) and other.keys is cache.keys
    for numbers, error, sentence in (
        ({"alpha": -1.0}, ValueError, "alpha is -1"),
        ({"gamma": 1.0}, TypeError, "TipAdapter has no number 'gamma'; it has scale, alpha, beta"),
    ):
        with pytest.raises(error, match=sentence):
            cache.with_numbers(**numbers)
    with pytest.raises(TypeError, match="NearestClassMean has no number 'alpha'"):
        NearestClassMean(ROWS, LABELS).with_numbers(alpha=1.0)
