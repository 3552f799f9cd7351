"""What Keras trains of classifiers on stored embeddings, on every backend."""

import numpy as np
import pytest
from classifier_case import NAMES, blobs

from kzoo.adaptation import CrossTune, EmbeddingClassifier, SparseConceptBottleneck, TipAdapter, ZeroShot

TEST, ANSWERS, _ = blobs(20, seed=1)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_keys_are_trained_as_by_hand():
    rows, labels, texts = blobs()
    made = TipAdapter(rows, labels, texts, alpha=2.0, beta=3.0, scale=5.0)
    trained = made.trained(rows, labels, epochs=3, learning_rate=0.02, batch_size=64)
    x, keys, one_hot = made.keys.astype("float64"), made.keys.astype("float64"), np.eye(3)[labels]
    mean, square = np.zeros_like(keys), np.zeros_like(keys)
    for step in range(1, 4):
        weights = np.exp(3.0 * (x @ keys.T - 1.0))
        slope = (softmax(5.0 * x @ texts.T + 2.0 * weights @ one_hot) - one_hot) / len(x)
        slope = (6.0 * (slope @ one_hot.T) * weights).T @ x
        rate = 0.02 * (1 + np.cos(np.pi * (step - 1) / 3)) / 2
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        keys = keys * (1 - 0.01 * rate)
        size = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        keys = keys - size * mean / (np.sqrt(square) + 1e-4)
    np.testing.assert_allclose(trained.keys, keys, rtol=1e-5, atol=1e-5)
    assert np.abs(trained.keys - made.keys).max() > 0.01 and trained.alpha == 2.0
    assert np.array_equal(made.keys, TipAdapter(rows, labels, texts).keys)


def test_batches_are_those_of_the_seed():
    rows, labels, texts = blobs()
    made = TipAdapter(rows, labels, texts)
    one, same, other = (made.trained(rows, labels, 1, 0.05, 8, seed).keys for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize("objective", ["gumbel", "l1"])
def test_a_bottleneck_finds_classes_by_concepts(objective, tmp_path):
    rows, labels, texts = blobs(spread=0.2)
    concepts = np.concatenate([texts, np.eye(6)[3:5]]) + 0.05
    options = {"objective": objective, "scale": 5.0, "epochs": 30, "learning_rate": 0.05}
    made = SparseConceptBottleneck(rows, labels, concepts, NAMES, **options)
    test, answers, _ = blobs(20, spread=0.2, seed=1)
    assert made.accuracy(test, answers) > 0.95
    assert made.head[:3].argmax(axis=1).tolist() == [0, 1, 2]  # each class by its own concept
    scores = 5.0 * made_unit(test) @ made_unit(concepts).T @ made.mixtures
    np.testing.assert_allclose(made.concept_scores(test), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.logits(test), scores @ made.head, rtol=1e-4, atol=1e-4)
    made.save(tmp_path / "made.safetensors")
    assert np.array_equal(EmbeddingClassifier.load(tmp_path / "made.safetensors").logits(test), made.logits(test))
    if objective == "l1":
        heavy = SparseConceptBottleneck(rows, labels, concepts, NAMES, l1=10.0, **options)
        assert np.abs(heavy.mixtures).sum() < 0.5 * np.abs(made.mixtures).sum()


def made_unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_first_step_of_a_bottleneck_goes_down_the_slope():
    rows, labels, texts = blobs()
    made = SparseConceptBottleneck(rows, labels, texts + 0.1, objective="l1", scale=2.0, epochs=1, learning_rate=0.01)
    scores = 2.0 * made_unit(rows) @ made_unit(texts + 0.1).T
    slope = scores.T @ (1 / 3 - np.eye(3)[labels])
    np.testing.assert_allclose(made.head, -0.01 * np.sign(slope), rtol=1e-3)
    np.testing.assert_allclose(made.mixtures, 0.99 * np.eye(3), rtol=1e-3, atol=1e-6)


def test_a_black_box_is_tuned_by_attention_to_descriptions(tmp_path):
    rows, labels, texts = blobs(spread=0.4)
    random = np.random.default_rng(0)
    texts = texts + 0.6 * random.normal(size=texts.shape)  # they say the classes badly
    told = texts.repeat(2, axis=0) + 0.3 * random.normal(size=(6, 6))
    begun = CrossTune(rows, labels, texts, NAMES, told, scale=20.0, epochs=0)
    np.testing.assert_allclose(begun.logits(TEST), ZeroShot(texts, NAMES, 20.0).logits(TEST), atol=1e-5)
    options = {"scale": 20.0, "epochs": 40, "learning_rate": 0.02}
    made = CrossTune(rows, labels, texts, NAMES, told, **options)
    test, answers, _ = blobs(20, spread=0.4, seed=1)
    assert made.accuracy(test, answers) > begun.accuracy(test, answers) + 0.1
    assert made.num_heads == 2
    x, d = made_unit(test), made_unit(told)
    mixed = []
    for head in (slice(0, 3), slice(3, 6)):
        shares = softmax((x @ made.query[:, head]) @ (d @ made.key[:, head]).T / np.sqrt(3))
        mixed.append(shares @ (d @ made.value[:, head]))
    moved = made_unit(x + np.concatenate(mixed, axis=1) @ made.out)
    np.testing.assert_allclose(made.logits(test), 20.0 * moved @ made_unit(texts).T, rtol=1e-4, atol=1e-4)
    made.save(tmp_path / "made.safetensors")
    assert np.array_equal(EmbeddingClassifier.load(tmp_path / "made.safetensors").logits(test), made.logits(test))
    again = CrossTune(rows, labels, texts, NAMES, told, **options)
    assert np.array_equal(again.out, made.out)
    with pytest.raises(ValueError, match="descriptions"):
        CrossTune(rows, labels, texts, NAMES, told[:, :5])
