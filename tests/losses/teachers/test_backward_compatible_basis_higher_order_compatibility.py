"""What keeps a new model compatible with an old one, against loops."""

import math

import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import value_and_gradients

from kzoo.losses import BackwardCompatibleBasis, HigherOrderCompatibility

LABELS = np.array([0, 1, 1, 2, 0])
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


def embeddings(rows=5, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype("float32")


def cross_entropies(logits, labels, smoothing=0.0):
    """Of each row, in a loop over the classes."""
    rows = []
    for z, y in zip(logits.astype("float64"), labels):
        log_p = z - math.log(np.exp(z).sum())
        target = [(1 - smoothing) * (c == y) + smoothing / len(z) for c in range(len(z))]
        rows.append(-sum(t * v for t, v in zip(target, log_p)))
    return rows


@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("same_class", ["drop", "zero"])
def test_compatibility_equals_a_double_loop(same_class, block_size):
    new, old = embeddings(), embeddings(seed=1)
    rows = []
    for i in range(5):
        z = [3.0 * unit(old)[i] @ unit(new)[j] for j in range(5)]
        others = [z[j] for j in range(5) if LABELS[j] != LABELS[i]]
        others += [0.0] * (5 - len(others)) if same_class == "zero" else []
        rows.append(math.log(sum(math.exp(v) for v in others)) - z[i])
    loss = HigherOrderCompatibility(3.0, same_class, block_size)
    got = value_of(loss, new, old, labels=LABELS, sample_weight=WEIGHT)
    assert got == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-5)


def test_compatibility_of_one_class_has_no_negatives():
    x, labels = embeddings(), np.zeros(5, "int32")
    value, gradients = value_and_gradients(lambda a, b: HigherOrderCompatibility()(a, b, labels=labels), [x, x])
    assert value == 0.0 and not gradients[0].any()
    zero = value_of(HigherOrderCompatibility(same_class="zero"), x[:1], x[:1], labels=labels[:1])
    assert zero == pytest.approx(-10.0, rel=1e-6)


def test_targets_and_the_old_model_get_no_gradient():
    new, old = embeddings(), embeddings(seed=1)
    _, (of_new, of_old) = value_and_gradients(lambda a, b: HigherOrderCompatibility()(a, b, labels=LABELS), [new, old])
    assert of_new.any() and not of_old.any()

    def basis(feature, part, logits, new_target, old_target, classes):
        keywords = {"logits": logits, "labels": LABELS, "new_target": new_target, "old_target": old_target}
        return BackwardCompatibleBasis()(feature, part, **keywords, old_classifier=classes)

    arrays = [new, old, embeddings(dim=3), old, new, embeddings(3)]
    _, gradients = value_and_gradients(basis, arrays)
    assert [gradient.any() for gradient in gradients] == [True, True, True, False, False, False]


def test_each_part_of_the_basis_loss_has_its_weight():
    feature, part, logits, classes = embeddings(dim=6), embeddings(), embeddings(dim=3, seed=2), embeddings(3, seed=3)
    new_target, old_target = embeddings(dim=6, seed=4), embeddings(seed=5)
    rows = np.array(
        [
            cross_entropies(logits, LABELS),
            1.0 - np.sum(unit(feature) * unit(new_target), axis=1),
            cross_entropies(unit(part) @ classes.T, LABELS),
            1.0 - np.sum(unit(part) * unit(old_target), axis=1),
        ]
    )
    loss = BackwardCompatibleBasis(new_weight=0.5, influence_weight=2.0, old_weight=3.0)
    keywords = {"logits": logits, "labels": LABELS, "new_target": new_target, "old_target": old_target}
    got = value_of(loss, feature, part, **keywords, old_classifier=classes, sample_weight=WEIGHT)
    want = np.average(np.array([1.0, 0.5, 2.0, 3.0]) @ rows, weights=WEIGHT)
    assert got == pytest.approx(want, rel=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="same_class 'keep' is unknown; choose one of drop, zero"):
        HigherOrderCompatibility(same_class="keep")
