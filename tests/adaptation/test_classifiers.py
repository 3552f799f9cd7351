"""The classifiers on stored embeddings: published numbers, naive loops, what must not change them."""

import warnings

import numpy as np
import pytest
from classifier_case import GOLDEN, NAMES, blobs
from sklearn.datasets import load_digits

from kzoo.adaptation import (
    ConceptMatrixSearch,
    GaussianDiscriminant,
    KNearestNeighbours,
    LabelPropagation,
    LinearProbe,
    NearestClassMean,
    TipAdapter,
    ZeroShot,
)

pytestmark = pytest.mark.once
TEST, ANSWERS, _ = blobs(20, seed=1)


def of(name):
    case = GOLDEN[name]
    return {key: np.array(value) for key, value in case["inputs"].items()}, case.get("constructor"), case["expected"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# -- published numbers --
def test_gaussian_discriminant_is_that_of_the_authors():
    given, options, expected = of("gda")
    made = GaussianDiscriminant(given["features"], given["labels"], given["zero_shot"], **options)
    np.testing.assert_allclose(made.weights, expected["weights"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(made.bias, expected["bias"], rtol=1e-5)
    np.testing.assert_allclose(made.logits(given["queries"]), expected["logits"], rtol=1e-5)


def test_neighbours_are_those_of_dino():
    given, options, expected = of("knn")
    made = KNearestNeighbours(given["bank"], given["labels"], **options)
    np.testing.assert_allclose(made.logits(given["queries"]), expected["scores"], rtol=1e-5)
    assert made.predict(given["queries"]).tolist() == expected["prediction"]


def test_concept_matrix_search():
    given, _, expected = of("concept_matrix_search")
    made = ConceptMatrixSearch(given["class_features"], given["concept_features"])
    scores = made.logits(given["image_features"])
    np.testing.assert_allclose(scores, expected["scores_without_row_division"], rtol=1e-5, atol=1e-6)
    assert made.predict(given["image_features"]).tolist() == expected["prediction"]
    images, texts = (given[name] @ given["concept_features"].T for name in ("image_features", "class_features"))
    cubed = ConceptMatrixSearch(given["class_features"], given["concept_features"], cubed=True)
    np.testing.assert_allclose(
        cubed.logits(given["image_features"]), unit(images**3) @ unit(texts**3).T, rtol=1e-4, atol=1e-6
    )


# -- naive loops --
def test_a_cache_is_a_sum_over_its_keys():
    rows, labels, texts = blobs()
    made = TipAdapter(rows, labels, texts, alpha=1.5, beta=4.0, scale=20.0)
    expected = 20.0 * unit(TEST) @ texts.T
    for row, x in enumerate(unit(TEST)):
        for key, label in zip(unit(rows), labels):
            expected[row, label] += 1.5 * np.exp(-4.0 * (1.0 - x @ key))
    np.testing.assert_allclose(made.logits(TEST), expected, rtol=1e-5)


def test_gaussians_of_unseen_classes_borrow_pictures():
    rows, _, texts = blobs()
    made = GaussianDiscriminant.of_unseen(rows, texts[:2] + 0.2, alpha=0.3, neighbours=6, copies=4)
    x, w = unit(rows).astype("float64"), unit(texts[:2] + 0.2).astype("float64")
    means, precisions = [], []
    for text in w:
        near = x[np.argsort(-(x @ text))[:6]]
        means.append(np.concatenate([near, np.repeat(text[None], 4, 0)]).mean(axis=0))
        covariance = (near - text).T @ (near - text) / 5
        precisions.append(6 * np.linalg.inv(5 * covariance + np.trace(covariance) * np.eye(6)))
    means, precision = np.array(means), np.mean(precisions, axis=0)
    bias = [-np.log(2) - 0.5 * mean @ precision @ mean for mean in means]
    expected = 100 * unit(TEST) @ w.T + 0.3 * (unit(TEST) @ (means @ precision).T + bias)
    np.testing.assert_allclose(made.logits(TEST), expected, rtol=1e-4, atol=1e-3)


def test_gaussians_with_the_mean_of_the_covariances():
    rows, labels, texts = blobs()
    made = GaussianDiscriminant(rows, labels, texts, covariance="mean")
    x = unit(rows).astype("float64")
    precision = np.linalg.inv(np.mean([np.cov(x[labels == place].T) for place in range(3)], axis=0))
    means = np.array([x[labels == place].mean(axis=0) for place in range(3)])
    np.testing.assert_allclose(made.weights, means @ precision, rtol=1e-4)


def test_means_of_classes():
    rows, labels, _ = blobs()
    means = unit(np.array([unit(rows)[labels == place].mean(axis=0) for place in range(3)]))
    np.testing.assert_allclose(NearestClassMean(rows, labels).logits(TEST), 100 * unit(TEST) @ means.T, rtol=1e-4)


@pytest.mark.parametrize("seeds", ["texts", "labels", "both"])
def test_labels_propagate_as_by_the_inverse_of_the_whole_matrix(seeds):
    rows, labels, texts = blobs()
    some = np.where(np.arange(len(labels)) % 3 == 0, labels, -1)
    made = LabelPropagation(
        rows, None if seeds == "labels" else texts, None if seeds == "texts" else some, k=3, gamma=2.0, alpha=0.6
    )
    first = 0 if seeds == "labels" else 3
    nodes = np.concatenate([texts[:first], unit(rows)]).astype("float64")
    graph, start = np.zeros((len(nodes), len(nodes))), np.zeros((len(nodes), 3))
    start[:first] = np.eye(3)[:first]

    def joined(x, row):
        for group, power in ((range(first, len(nodes)), 1.0), (range(first), 2.0)):
            for other in sorted(group, key=lambda each: -(nodes[each] @ x))[:3]:
                row[other] = max(nodes[other] @ x, 0.0) ** power
        return row

    for place, label in enumerate(some):
        joined(nodes[first + place], graph[first + place])
        if label >= 0 and seeds != "texts":
            start[first + place, label] = 1.0
    graph = graph + graph.T
    np.fill_diagonal(graph, 0.0)
    degrees = np.where(graph.sum(axis=1) > 0, graph.sum(axis=1), 1.0)
    whole = np.linalg.inv(np.eye(len(nodes)) - 0.6 * graph / np.sqrt(degrees[:, None] * degrees)) @ start
    np.testing.assert_allclose(made.transduced, whole[first:], rtol=1e-4, atol=1e-6)
    asked = np.array([joined(x, np.zeros(len(nodes))) for x in unit(TEST).astype("float64")])
    np.testing.assert_allclose(made.logits(TEST), asked @ whole, rtol=1e-4, atol=1e-6)


def test_a_linear_probe_is_at_the_minimum_of_its_objective():
    rows, labels, _ = blobs(spread=1.0)
    for count in (3, 2):  # of two classes scikit-learn has the difference alone
        kept = labels < count
        made = LinearProbe(rows[kept], labels[kept], C=2.0)
        logits = made.logits(rows[kept]).astype("float64")
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        slope = 2.0 * (odds - np.eye(count)[labels[kept]]).T @ rows[kept]
        np.testing.assert_allclose(slope + (made.weights if count == 3 else 2 * made.weights), 0.0, atol=5e-3)


# -- what must not change them, and what must --
PICTURES = {
    "gaussian": lambda *given: GaussianDiscriminant(*given),
    "cache": lambda *given: TipAdapter(*given),
    "means": lambda rows, labels, texts: NearestClassMean(rows, labels),
    "neighbours": lambda rows, labels, texts: KNearestNeighbours(rows, labels, k=5),
    "probe": lambda rows, labels, texts: LinearProbe(rows, labels),
    "propagation": lambda rows, labels, texts: LabelPropagation(rows, texts, labels),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_order_of_pictures_and_lengths_of_embeddings_do_not_matter(name):
    rows, labels, texts = blobs()
    order = np.random.default_rng(5).permutation(len(rows))
    length = 1.0 if name == "probe" else np.linspace(0.5, 3.0, len(rows))[:, None]
    plain = PICTURES[name](rows, labels, texts)
    other = PICTURES[name](length * rows[order], labels[order], texts)
    np.testing.assert_allclose(other.logits(TEST), plain.logits(TEST), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["gaussian", "cache"])
def test_without_a_share_they_are_zero_shot(name):
    rows, labels, texts = blobs()
    kind = {"gaussian": GaussianDiscriminant, "cache": TipAdapter}[name]
    assert np.array_equal(kind(rows, labels, texts, alpha=0.0).logits(TEST), ZeroShot(texts).logits(TEST))


def test_another_class_changes_what_it_must_and_nothing_else():
    rows, labels, texts = blobs()
    more = np.concatenate([rows, rows[:4] * [1, 1, 1, 5, 1, 1]]), np.concatenate([labels, [3] * 4])
    grown = np.concatenate([texts, np.eye(6, dtype="float32")[3:4]])
    for kind in (TipAdapter, lambda *given: NearestClassMean(*given[:2])):
        np.testing.assert_allclose(
            kind(*more, grown).logits(TEST)[:, :3], kind(rows, labels, texts).logits(TEST), rtol=1e-5
        )


def test_pictures_help_where_texts_mislead():
    rows, labels, texts = blobs(spread=0.3)
    test, answers, _ = blobs(20, spread=0.3, seed=1)
    wrong = texts + 1.5 * np.roll(texts, 1, axis=0)
    assert ZeroShot(wrong).accuracy(test, answers) < 0.5
    half = test[::2], answers[::2]
    for made in (GaussianDiscriminant(rows, labels, wrong), TipAdapter(rows, labels, wrong)):
        tuned = made.tuned(*half) if isinstance(made, GaussianDiscriminant) else made.tuned(*half, (7, 200), (5, 20))
        assert tuned.accuracy(test[1::2], answers[1::2]) > 0.9


# -- search --
def test_the_first_of_the_best_alphas_is_taken_and_the_classifier_stays():
    rows, labels, texts = blobs()
    made = GaussianDiscriminant(rows, labels, texts, alpha=3.0)
    tuned = made.tuned(TEST, ANSWERS)
    scores = {alpha: made._with(alpha=alpha).accuracy(TEST, ANSWERS) for alpha in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10, 100)}
    assert tuned.alpha == max(scores, key=scores.get) and made.alpha == 3.0
    cache = TipAdapter(rows, labels, texts)
    found = cache.tuned(TEST, ANSWERS, (5, 5), (4, 3))
    tried = [(0.1 + 4.9 / 4 * b, 0.1 + 4.9 / 3 * a) for b in range(4) for a in range(3)]
    scores = [TipAdapter(rows, labels, texts, alpha=a, beta=b).accuracy(TEST, ANSWERS) for b, a in tried]
    np.testing.assert_allclose((found.beta, found.alpha), tried[int(np.argmax(scores))])
    assert KNearestNeighbours(rows, labels, k=5).tuned(TEST, ANSWERS, (3, 7, 500)).k in (3, 7)


def test_a_probe_finds_its_c_as_published():
    digits, answers = load_digits(return_X_y=True)
    digits = (digits / 16).astype("float32")
    made = LinearProbe(digits[:100], answers[:100])
    tuned = made.tuned(digits[100:200], answers[100:200])
    sweep = [LinearProbe(digits[:100], answers[:100], C=c) for c in (1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6)]
    scores = [each.accuracy(digits[100:200], answers[100:200]) for each in sweep]
    best = np.log10(sweep[int(np.argmax(scores))].C)
    assert abs(np.log10(tuned.C) - best) <= 1.0 + 1e-9
    assert tuned.accuracy(digits[100:200], answers[100:200]) >= max(scores) - 0.02
    again = made.tuned(digits[100:200], answers[100:200], refit=True)
    assert again.C == tuned.C and len(again.examples[0]) == 200
    assert again.accuracy(digits[1000:], answers[1000:]) > 0.8
    with pytest.warns(UserWarning, match="C=1e\\+06 has not converged in 2 steps; raise max_iter"):
        LinearProbe(digits[:100], answers[:100], C=1e6, max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinearProbe(digits[:100], answers[:100])


def test_classifiers_say_what_they_are():
    rows, labels, texts = blobs()
    assert repr(TipAdapter(rows, labels, texts, NAMES, alpha=2)) == (
        "<TipAdapter of 3 classes, 6 channels, scale=100, alpha=2, beta=1>"
    )
    assert repr(ConceptMatrixSearch(texts, texts, cubed=True)).endswith("cubed=True>")
