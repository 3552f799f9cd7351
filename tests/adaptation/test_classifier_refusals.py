"""Arrays that do not go together: one sentence, which says what came and what to give."""

import sys

import numpy as np
import pytest
from classifier_case import NAMES, blobs

from kzoo.adaptation import (
    ConceptMatrixSearch,
    GaussianDiscriminant,
    KNearestNeighbours,
    LabelPropagation,
    LinearProbe,
    NearestClassMean,
    TipAdapter,
    ZeroShot,
    describe_classes,
    few_shot,
    template_weights,
)
from kzoo.evaluation import class_embeddings

pytestmark = pytest.mark.once
ROWS, LABELS, TEXTS = blobs()
NAN = np.where(np.arange(24)[:, None] == 3, np.nan, ROWS)
ONE_EACH = np.arange(3)

REFUSED = [
    (lambda: TipAdapter(ROWS, LABELS, TEXTS[:, :5]), "embeddings has 6 channels, but 5 are expected"),
    (lambda: TipAdapter(ROWS, LABELS, TEXTS[:2]), "label 16 is 2; give whole numbers from 0 to 1"),
    (lambda: TipAdapter(ROWS, LABELS, TEXTS, ("a", "b")), "classes has 2 names, but there are 3 classes"),
    (lambda: TipAdapter(ROWS, LABELS, TEXTS, ("a", "b", "a")), "classes has 'a' twice"),
    (lambda: TipAdapter(ROWS[:16], LABELS[:16], TEXTS, NAMES), "class 'crow' has no picture; give at least one"),
    (lambda: TipAdapter(NAN, LABELS, TEXTS), "row 3 of embeddings is zero or not finite"),
    (lambda: LinearProbe(NAN, LABELS), "row 3 of embeddings is not finite"),
    (lambda: NearestClassMean(ROWS[:8], LABELS[:8]), "there is 1 class; give at least two"),
    (lambda: NearestClassMean(ROWS, LABELS * 2), "class '1' has no picture, and 1 more classes have none"),
    (lambda: NearestClassMean(ROWS, LABELS - 1), "label 0 is -1; give whole numbers from 0, places"),
    (lambda: NearestClassMean(ROWS, LABELS[:5]), r"labels have shape \(5,\) for 24 rows"),
    (lambda: NearestClassMean(ROWS[0], LABELS), r"embeddings has shape \(6,\); give a float array"),
    (lambda: NearestClassMean([[1.0, 2.0], [1.0]], [0, 1]), "embeddings has rows of different lengths"),
    (lambda: NearestClassMean(ROWS, LABELS).logits(TEXTS[:, :4]), "embeddings has 4 channels, but 6 are expected"),
    (
        lambda: NearestClassMean(ROWS, LABELS).accuracy(ROWS, LABELS + 1),
        "label 16 is 3; give whole numbers from 0 to 2",
    ),
    (lambda: KNearestNeighbours(ROWS, LABELS, k=25), "k is 25, but the bank has 24 pictures"),
    (lambda: KNearestNeighbours(ROWS, LABELS).tuned(ROWS, LABELS, (50, 99)), "k is 50, but the bank has 24 pictures"),
    (lambda: GaussianDiscriminant(ROWS[::8], ONE_EACH, TEXTS), "no class has two pictures that differ"),
    (
        lambda: GaussianDiscriminant(ROWS[:17], LABELS[:17], TEXTS, NAMES, covariance="mean"),
        "class 'crow' has one picture, which has no covariance of its own",
    ),
    (lambda: GaussianDiscriminant.of_unseen(ROWS, TEXTS), "neighbours is 64, but there are 24 pictures"),
    (lambda: GaussianDiscriminant(ROWS, LABELS, TEXTS).tuned(ROWS, LABELS, (-1.0,)), "alpha is -1.0; give a number of"),
    (lambda: LabelPropagation(ROWS), "there are neither texts nor labels to propagate"),
    (lambda: LabelPropagation(ROWS, labels=LABELS * 2), "class '1' has no labelled picture and no text"),
    (lambda: LabelPropagation(ROWS, TEXTS, k=30), "k is 30, but there are 24 pictures"),
    (lambda: LabelPropagation(ROWS, TEXTS, LABELS - 2), "label 0 is -2; give whole numbers from -1 to 2"),
    (lambda: ZeroShot(TEXTS[:1]), "there is 1 class; give at least two"),
    (lambda: ConceptMatrixSearch(TEXTS, np.eye(6)[4:]), "row 0 of the scores of the classes is zero"),
    (lambda: few_shot([0, 0, 1, 1, 1], 3, classes=["a", "b"]), "class 'a' has 2 pictures, fewer than the 3 shots"),
    (lambda: few_shot([0, 0, 2, 2], 1), "class '1' has 0 pictures, fewer than the 1 shots"),
    (lambda: few_shot([], 1), "labels is empty"),
    (lambda: few_shot([0, 0], 1), "there is 1 class"),
    (lambda: describe_classes(len, {"a": ["b"], "c": []}), "class 'c' has no description"),
    (lambda: template_weights(ROWS, ROWS[:7], 3), "7 prompts are not the same number of templates for 3 classes"),
    (lambda: class_embeddings(ROWS, 3, np.ones(3)), r"weights have shape \(3,\) for 8 templates"),
    (lambda: class_embeddings(ROWS, 3, -np.ones(8)), "give a number of at least 0 for each"),
    (lambda: class_embeddings(ROWS, 3, np.zeros(8)), "not all of them 0"),
]


@pytest.mark.parametrize("call, sentence", REFUSED, ids=[each[1][:40] for each in REFUSED])
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith(".")


OBJECTS = [
    (lambda: NearestClassMean(ROWS, LABELS / 2), "labels are of float64; give whole numbers"),
    (lambda: NearestClassMean("rows", LABELS), "embeddings is 'rows'"),
    (lambda: NearestClassMean(None, LABELS), "embeddings is None"),
    (lambda: NearestClassMean(ROWS, ["a"] * 24), "labels is "),
    (lambda: NearestClassMean(ROWS, LABELS, "abc"), "classes is 'abc'"),
    (lambda: NearestClassMean(ROWS, LABELS, [1, 2, 3]), "classes holds 1"),
    (lambda: describe_classes(len, ["a"]), r"descriptions is \['a'\]"),
]


@pytest.mark.parametrize("call, sentence", OBJECTS, ids=[each[1][:40] for each in OBJECTS])
def test_wrong_objects(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_a_library_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"A linear probe needs sklearn, .* 'kzoo\[probes\]'"):
        LinearProbe(ROWS, LABELS)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"Label propagation needs scipy, .* 'kzoo\[probes\]'"):
        LabelPropagation(ROWS, TEXTS)
