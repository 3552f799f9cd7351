"""Tensors that do not go together stop with a sentence, on every backend, in every loss."""

import inspect

import keras
import numpy as np
import pytest
from golden_case import built, called_with, parametrized

import kzoo.losses
from kzoo.layers import LinearLogits
from kzoo.losses import Captioning, InfoNCE, Loss, MoCHi, MultipleNegativesRanking, OnlineBagOfWords, SupCon
from kzoo.losses.base import WeightedSum

FIRST = list({parameter.values[0]: parameter for parameter in reversed(parametrized())}.values())[::-1]
LOSSES = [each for each in vars(kzoo.losses).values() if isinstance(each, type) and issubclass(each, Loss)]
WRAPPERS = {"Matryoshka"}  # which give what they get to the loss within
ROWS = ("batch", "pairs", "nodes", "rows")  # what the axis of the samples is called
Z = np.eye(4, 3, dtype="float32")


def place_of_rows(loss, name):
    """The axis of a loss's argument along which the samples are."""
    taken = loss.shapes[name]
    axes = (taken[0] if isinstance(taken, tuple) else taken).split("|")[0].split()
    return next(place for place, axis in enumerate(axes) if axis in ROWS)


@pytest.mark.once
@pytest.mark.parametrize("loss", LOSSES, ids=[each.__name__ for each in LOSSES])
def test_every_argument_of_a_loss_has_a_shape(loss):
    if loss not in (Loss, WeightedSum) and loss.__name__ not in WRAPPERS:
        parameters = {
            name: each
            for name, each in inspect.signature(loss.call).parameters.items()
            if each.kind is not each.VAR_KEYWORD
        }
        assert set(parameters) - {"self", "training"} <= set(loss.shapes)


@pytest.mark.one_other
@pytest.mark.parametrize("name, case", FIRST)
def test_a_row_too_few_and_an_axis_too_many(name, case):
    loss, (args, kwargs) = built(name, case), called_with(case)
    first = next(iter(inspect.signature(loss.call).parameters))
    with pytest.raises(ValueError, match=r" takes .*, but got "):
        loss(np.stack([args[0]] * 2)[:, None, None], *args[1:], **kwargs)
    if name in WRAPPERS:
        first, place = "a", 0
    else:
        place = place_of_rows(loss, first)
    others = [each for each in (*args[1:], *kwargs.values()) if np.ndim(each)]
    if others:
        short = np.delete(args[0], -1, axis=place)
        with pytest.raises(ValueError, match=r" takes .*, but got .*; they must agree in |must be crops of"):
            loss(short, *args[1:], **kwargs)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: InfoNCE()(Z, np.eye(5, 3)),
            r"InfoNCE takes a as \(batch, dim\) and b as \(batch, dim\), but got a \(4, 3\) and b \(5, 3\); "
            "they must agree in batch.",
        ),
        (
            lambda: SupCon()(Z, np.arange(4)),
            r"SupCon takes b as \(batch, dim\), but got \(4,\); give that, and labels or sample_weight by name: "
            "labels=...",
        ),
        (lambda: InfoNCE()(Z, Z, sample_weight=np.ones((4, 2))), r"sample_weight as \(batch,\), but got \(4, 2\)"),
        (lambda: InfoNCE()(Z, Z, scale=np.ones((4, 4))), r"scale as a number or \(1,\), but got \(4, 4\)"),
        (
            lambda: MultipleNegativesRanking()(Z, Z[:3], Z),
            r"candidates as \(batch, dim\), but got .* \(3, 3\), \(4, 3\)",
        ),
        (lambda: OnlineBagOfWords(2, dim=2)(Z[:3], np.ones((2, 3, 3, 2))), "3 rows of the student .* 2 maps"),
        (
            lambda: Captioning()(LinearLogits(np.ones((2, 5, 3)), np.ones((3, 8))), np.ones((2, 4), "int32")),
            r"logits \(2, 5, 8\) and labels \(2, 4\); they must agree in length",
        ),
        (
            lambda: MoCHi(queue_size=4, dim=3, n_hard=2, s=1, s_prime=0)(Z[:1], Z[:1], pair_indices=[[[0, 1, 1]]]),
            r"pair_indices \(1, 1, 3\); give 2 numbers there",
        ),
    ],
)
def test_what_came_and_what_was_expected(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_sizes_that_are_not_known_yet_pass():
    symbolic = keras.Input((3,)), keras.Input((3,))
    assert InfoNCE(1.0)(*symbolic).shape == ()
    with pytest.raises(ValueError, match="they must agree in dim"):
        InfoNCE(1.0)(symbolic[0], keras.Input((4,)))


def test_a_loss_of_ones_own_is_checked_where_it_says_so():
    class Free(Loss):
        def call(self, a, b, sample_weight=None):
            return keras.ops.sum(a) + keras.ops.sum(b)

    class Strict(Free):
        shapes = Free.shapes | {"a": "batch ...", "b": "batch dim 2"}

    assert float(Free()(np.ones(3), np.ones((2, 2)))) == 7.0
    assert float(Strict()(np.ones((3, 4, 1)), np.ones((3, 1, 2)))) == 18.0
    with pytest.raises(ValueError, match=r"takes a as \(batch, ...\) and b as \(batch, dim, 2\)"):
        Strict()(np.ones((3, 4)), np.ones((4, 1, 2)))


def test_a_plain_keras_model_is_told_what_it_gives():
    def compiled(loss):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=loss)
        return model

    model = compiled(InfoNCE())
    with pytest.raises(ValueError, match="is the loss of a plain keras.Model, which calls it with y_true and y_pred"):
        model.fit(Z, Z, verbose=0)
    loss = InfoNCE(1.0)
    assert np.isfinite(compiled(lambda y_true, y_pred: loss(y_pred, y_true)).evaluate(Z, Z, verbose=0))
