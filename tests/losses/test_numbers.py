"""Labels, ids and weights: a column is a row, and numbers that are not what they stand for stop with a sentence."""

import inspect

import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from naive_softmax import value_of

import kzoo.losses
from kzoo.losses import (
    Captioning,
    IndividualTemperature,
    InfoNCE,
    LeaveOneOutKNN,
    Loss,
    Matryoshka,
    ProtoTriplet,
    SeparateCommonSalient,
    SimplexClassifier,
    SupCon,
    SupReMix,
    TokenClassification,
    UnifiedContrastive,
    weighted_mean,
)

LOSSES = [each for each in vars(kzoo.losses).values() if isinstance(each, type) and issubclass(each, Loss)]
FIRST = list({parameter.values[0]: parameter for parameter in reversed(parametrized())}.values())[::-1]
A, B = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
IDS = np.array([0, 0, 1, 2])
pytestmark = pytest.mark.once


@pytest.mark.parametrize("name, case", FIRST)
def test_a_column_is_as_good_as_a_row(name, case):
    args, kwargs = called_with(case)
    loss = built(name, case)
    rows = len(args[1] if name == "OnlineBagOfWords" else args[0])  # of which one row has several crops
    given = dict(kwargs)
    if "sample_weight" in loss.optional_inputs and loss.shapes["sample_weight"] == "batch" and np.ndim(args[0]) == 2:
        given["sample_weight"] = np.linspace(0.5, 1.5, rows).astype("float32")
    columns = {
        key: each[:, None] if loss.shapes.get(key) in ("batch", "pairs", "nodes") else each
        for key, each in given.items()
    }
    if all(columns[key] is given[key] for key in given):
        return
    seeded = {"training": False} if "training" in inspect.signature(loss.call).parameters else {}
    wanted = value_of(built(name, case), *args, **given, **seeded)
    assert value_of(loss, *args, **columns, **seeded) == wanted


def test_weights_of_a_loss_of_ones_own_may_be_a_column():
    values, weights = np.arange(4.0, dtype="float32"), np.array([1.0, 0.0, 0.0, 3.0], "float32")
    assert float(weighted_mean(values, weights[:, None])) == float(weighted_mean(values, weights)) == 2.25


@pytest.mark.parametrize("loss", LOSSES, ids=[each.__name__ for each in LOSSES])
def test_what_a_loss_says_of_numbers_it_says_of_what_it_takes(loss):
    assert set(loss.numbers) <= set(loss.shapes)
    for name in loss.numbers:
        if name != "sample_weight" and name.endswith(("labels", "ids", "groups", "cells")):
            assert loss.numbers[name].split()[0] in ("id", "index")


def test_labels_in_every_dtype_that_holds_them_are_the_same():
    wanted = value_of(SupCon(), A, B, labels=IDS.astype("int32"))
    for labels in (IDS, list(IDS), IDS.astype("uint8"), IDS.astype("float64"), 7 + IDS.astype("float32")):
        assert value_of(SupCon(), A, B, labels=labels) == wanted


@pytest.mark.parametrize(
    "labels, sentence",
    [
        (4466538360.0 + IDS, "of dtype float64 to 4466538362, which float32 cannot tell from its neighbours; number"),
        (IDS << 32, "from 0 to 8589934592, but ids are int32; number them with numpy.unique"),
        (np.where(IDS == 2, np.nan, IDS), "with values that are not finite, .* leave out rows without one"),
        (IDS + 0.5, "with fractions, such as 0.5, but whole numbers are expected"),
        (np.array(["cat", "cat", "dog", "owl"]), "of dtype <U3, but whole numbers are expected; number them"),
        (np.array(["cat", "cat", "dog", None]), "of dtype object"),
    ],
)
@pytest.mark.parametrize(
    "called",
    [
        lambda labels: SupCon()(A, B, labels=labels),
        lambda labels: UnifiedContrastive(0.1)(A, B, labels=IDS, b_labels=labels),
        lambda labels: Matryoshka(SupCon(), [2])(A, B, labels=labels),
        lambda labels: (InfoNCE(inputs=("a", "b")) + SupCon()).look({"labels": labels}),
        lambda labels: SupCon(labels="species").look({"species": labels, "labels": IDS}),
    ],
)
def test_ids_that_would_merge(called, labels, sentence):
    with pytest.raises(ValueError, match=f"got (b_)?labels {sentence}"):
        called(labels)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda labels: SimplexClassifier(4)(A, labels=labels),
            r"labels from {low} to {high}, but 0 to 3 is expected; ",
        ),
        (
            lambda labels: TokenClassification()(A, np.clip(labels, 0, None)[:, None]),
            "token_ids from .* to {high}, but 0 to 2",
        ),
        (lambda labels: Captioning()(A[None], labels[None]), "labels from .* but 0 to 2 is expected"),
        (lambda labels: LeaveOneOutKNN()(A, labels=-1 - abs(labels)), "but 0 or more is expected; leave out rows"),
        (
            lambda labels: IndividualTemperature(4)(A, B, ids=labels),
            "IndividualTemperature got ids from .* but 0 to 3 is expected",
        ),
    ],
)
@pytest.mark.parametrize("labels", [IDS + 2, np.where(IDS == 1, -100, 4), IDS + 1000])
def test_classes_that_there_are_not(call, labels, sentence):
    with pytest.raises(ValueError, match=sentence.format(low=labels.min(), high=labels.max())):
        call(labels)


def test_labels_that_do_not_count_may_be_anything():
    logits, labels, mask = A[None], np.array([[0, 2, -100, 7]]), np.array([[True, True, False, False]])
    cut = value_of(Captioning(), logits[:, :2], labels[:, :2])
    assert value_of(Captioning(), logits, np.maximum(labels, 0) % 3, mask=mask) == pytest.approx(cut, rel=1e-6)
    Captioning().look({"caption_labels": labels, "caption_mask": mask}, {"caption_logits": logits})
    with pytest.raises(ValueError, match="labels from -100 to 7, but 0 to 2 is expected"):
        Captioning().look({"caption_labels": labels}, {"caption_logits": logits})
    assert np.isfinite(value_of(ProtoTriplet(), A, B, labels=np.array([0, 1, 2, -1])))  # as its documentation says


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: InfoNCE(1.0)(A, B, sample_weight=-np.ones(4)), "sample_weight from -1, but weights are 0 or more"),
        (lambda: InfoNCE(1.0)(A, B, sample_weight=np.array([1, 1, np.nan, 1])), "sample_weight with values that are"),
        (lambda: InfoNCE(1.0)(A, B, sample_weight=[[1.0] * 4]), r"sample_weight as \(batch,\), but got \(1, 4\)"),
        (lambda: SupReMix()(A, targets=np.array([1.0, np.nan, 2.0, 3.0])), "targets with values that are not finite"),
        (
            lambda: SeparateCommonSalient()(A, B, A, B, is_target=IDS),
            "is_target from 0 to 2, but booleans, or 0 and 1, are expected",
        ),
    ],
)
def test_weights_and_numbers(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_what_was_named_must_be_there():
    tensors = {"view_1": A, "view_2": B}
    assert SupCon().reads == SupCon(labels=None).reads == ("view_1", "view_2")
    named = SupCon(labels="species")
    again = SupCon.from_config(named.get_config())
    for loss in (named, again, Matryoshka(named, [2]), InfoNCE(inputs=("view_1", "view_2")) + 0.5 * named):
        assert "species" in loss.reads
        with pytest.raises(ValueError, match=r" reads 'species', .* with SupCon\(labels=...\)"):
            loss.check_there(tensors)
        loss.check_there(tensors | {"species": IDS})
