"""Losses called by hand: lists are arrays, and what is no array, or not there, gets one sentence of the loss."""

import keras
import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from shared_case import numpy

import kzoo.losses
from kzoo.encoders import VisionTransformer
from kzoo.losses import DINO, IndividualTemperature, InfoNCE, SupCon, SwAV, Triplet

CASES = list({each.values[0]: each.values[1] for each in reversed(parametrized())}.items())[::-1]  # one of each loss
EYE = np.eye(4, dtype="float32")
WRONG = {
    "a string": "embeddings",
    "an object": object(),
    "names": ["a", "b"],
    "rows of different lengths": [[1.0, 2.0], [3.0]],
    "objects": np.array([[1.0, None], [None, 2.0]], dtype=object),
    "complex numbers": np.ones((2, 2), "complex64"),
    "a dict": {"image_embeddings": EYE},
}


def listed(array):
    return array.tolist() if isinstance(array, np.ndarray) and array.ndim else array


def said(call, error=TypeError):
    """The sentence that a call stops with: one, without pages of Keras around it."""
    with pytest.raises(error) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1 and "Exception encountered" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name, case", CASES, ids=[name for name, _ in CASES])
def test_of_every_loss_lists_are_arrays_and_anything_else_is_refused_by_name(name, case):
    loss = built(name, case)
    arguments, keywords = called_with(case)
    with_lists = [listed(each) for each in arguments], {key: listed(each) for key, each in keywords.items()}
    of_arrays = numpy(built(name, case)(*arguments, **keywords))
    np.testing.assert_allclose(numpy(built(name, case)(*with_lists[0], **with_lists[1])), of_arrays, rtol=1e-6)
    if not arguments or isinstance(loss, kzoo.losses.WeightedSum):
        return
    for wrong in (None, *WRONG.values()):
        assert f"{name} " in said(lambda wrong=wrong: loss(wrong, *arguments[1:], **keywords))
    said(lambda: loss(1.0, *arguments[1:], **keywords), ValueError)
    for keyword in keywords:
        for wrong in ("embeddings", object()):
            sentence = said(lambda keyword=keyword, wrong=wrong: loss(*arguments, **keywords | {keyword: wrong}))
            assert f"{name} got {keyword} " in sentence


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_what_came_is_in_the_sentence(wrong):
    assert "InfoNCE got b " in said(lambda: InfoNCE()(EYE, wrong))


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: InfoNCE()(EYE), "InfoNCE needs b; call it as loss(a, b)."),
        (lambda: InfoNCE()(), "InfoNCE needs a; call it as loss(a, b)."),
        (lambda: InfoNCE()(EYE, EYE, EYE, EYE, EYE), "InfoNCE got 5 arrays by position; call it as loss(a, b)."),
        (lambda: InfoNCE()(EYE, a=EYE), "InfoNCE got a twice; call it as loss(a, b)."),
        (lambda: InfoNCE()(EYE, EYE, weight=1.0), "InfoNCE does not take 'weight' (is 'sample_weight' meant?); call"),
        (lambda: Triplet()(EYE), "Triplet needs labels; call it as loss(a, labels=...)."),
        (
            lambda: Triplet()(EYE, label=[0, 0, 1, 1]),
            "Triplet does not take 'label' (is 'labels' meant?); call it as loss(a, labels=...).",
        ),
        (lambda: SwAV()(), "SwAV needs views; call it as loss(*views)."),
        (
            lambda: (InfoNCE() + SupCon())(EYE, EYE),
            "a sum of losses takes one dict of named tensors; its terms take theirs from it.",
        ),
    ],
)
def test_what_is_missing_or_unknown(call, sentence):
    assert said(call).startswith(sentence)


def test_whole_numbers_are_embeddings_and_labels_stay_whole():
    want = float(numpy(SupCon()(EYE, EYE, labels=np.array([0, 0, 1, 1]))))
    assert float(numpy(SupCon()(EYE.astype(int).tolist(), EYE.tolist(), labels=[0, 0, 1, 1]))) == pytest.approx(want)
    objects = EYE.astype(object)
    assert float(numpy(SupCon()(objects, objects, labels=(0, 0, 1, 1)))) == pytest.approx(want)


def test_tensors_of_another_backend_are_taken_where_they_hold_values():
    torch = pytest.importorskip("torch")
    if keras.config.backend() == "torch":
        return
    want = numpy(InfoNCE()(EYE, EYE))
    np.testing.assert_allclose(numpy(InfoNCE()(torch.eye(4), torch.eye(4))), want)
    sentence = said(lambda: InfoNCE()(torch.eye(4, requires_grad=True), EYE))
    assert sentence.startswith("InfoNCE got a as a tensor of torch, which holds no values; give an array of numbers")


class Within(keras.layers.Layer):
    """A layer of somebody else around one of kzoo."""

    def __init__(self):
        super().__init__()
        self.loss = DINO(5)

    def call(self, x):
        return self.loss(x, x)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: IndividualTemperature(4)(EYE[:1], EYE[:1], ids=[0]), "IndividualTemperature compares each row with"),
        (lambda: DINO(5)(EYE[None], EYE[None], training=True), "DINO has dim=5 prototypes, but received heads 4 wide"),
        (lambda: Within()(EYE[None]), "DINO has dim=5 prototypes, but received heads 4 wide"),
        (lambda: VisionTransformer(8, 4, 8, 1, 2)(np.zeros((1, 4, 4, 3))), r"images have shape (1, 4, 4, 3), but this"),
    ],
)
def test_what_is_said_within_a_call_is_all_that_is_said(call, sentence):
    assert said(call, ValueError).startswith(sentence)


def test_what_others_say_within_a_call_keeps_the_page_of_keras():
    with pytest.raises(Exception, match="Exception encountered when calling Mine"):

        class Mine(kzoo.losses.Loss):
            def call(self, a, b):
                return keras.ops.sum(np.zeros(3) / np.zeros((2, 2)))

        Mine()(EYE, EYE)
