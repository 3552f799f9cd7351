"""Blocks of scores that are a matrix product: values and gradients are those of all scores at once."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import batch_of, numpy, value_and_gradients

from kzoo.losses import SigmoidContrastive
from kzoo.losses.parts import products_compiled, products_torch
from kzoo.losses.parts.pairwise import Tile, cross_entropies, same
from kzoo.losses.parts.products import sigmoid_sum

random = np.random.default_rng(0)
ROWS, COLUMNS = 13, 17  # neither a multiple of the rows of a block
X, Y = (random.normal(size=(count, 5)).astype("float32") for count in (ROWS, COLUMNS))
LABELS, OTHERS = (random.integers(0, 4, count).astype("int32") for count in (ROWS, COLUMNS))
UP = [random.normal(size=count).astype("float32") for count in (ROWS, COLUMNS)]
SHARES = random.uniform(size=(ROWS, COLUMNS)).astype("float32")


@pytest.fixture(autouse=True)
def few_columns(monkeypatch):
    """Chunks of columns are small ones too."""
    monkeypatch.setattr(products_compiled, "HELD", 20)


def untrained():
    """Where torch asks for no gradients."""
    if keras.config.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


def plain(i, j, rows, columns):
    return Tile()


def kept(i, j, rows, columns):
    return Tile(keep=ops.not_equal(rows["label"][:, None], columns["label"][None]))


def weighed(i, j, rows, columns):
    return Tile(
        keep=ops.not_equal(i[:, None], j[None]), log_weight=rows["share"] - same(rows["label"], columns["label"])
    )


def aimed(i, j, rows, columns):
    return Tile(target=same(rows["label"], columns["label"]))


def aimed_apart(i, j, rows, columns):
    return Tile(target=rows["share"], column_target=same(i, j), log_weight=rows["share"])


def in_blocks(tile, direction, own, size, scale=1.0):
    """A function of x and y: all cross-entropies, each row's and each column's with a weight of its own."""

    def total(x, y):
        x = scale * x
        rows, columns = {"x": x, "label": LABELS, "share": SHARES}, {"y": y, "label": OTHERS}
        chosen = ops.sum(x * y[:ROWS], axis=-1) if own else None
        found = cross_entropies(tile, rows, columns, direction, size, chosen, product=("x", "y"))
        ups = (UP[0], UP[1][: ROWS if own else COLUMNS])
        return sum(ops.sum(ops.multiply(up, each)) for up, each in zip(ups, found) if each is not None)

    return total


def assert_same(one, other, of_largest=1e-6):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for a, b in zip(one[1], other[1], strict=True):
        assert np.isfinite(a).all() and np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=of_largest * np.abs(b).max())


@pytest.mark.parametrize(
    ("tile", "direction", "own"),
    [
        (plain, "both", True),
        (plain, "a_to_b", True),
        (plain, "b_to_a", True),
        (kept, "both", True),
        (weighed, "both", True),
        (aimed, "both", False),
        (aimed_apart, "both", False),
        (aimed, "b_to_a", False),
    ],
)
def test_a_softmax_of_a_product(tile, direction, own):
    whole, cut = (value_and_gradients(in_blocks(tile, direction, own, size), [X, Y]) for size in (None, 4))
    assert_same(cut, whole)


def test_scores_that_are_far_apart():
    """Exponentials of rows and of columns have no common middle that float32 holds."""
    scale = 40.0
    log_sums = [np.log(np.exp(scale * (X @ Y.T).astype("float64")).sum(axis)) for axis in (0, 1)]
    assert np.ptp(np.concatenate(log_sums)) > products_compiled.APART
    whole, cut = (value_and_gradients(in_blocks(plain, "both", True, size, scale), [X, Y]) for size in (None, 4))
    assert_same(cut, whole, 1e-7 * max(np.abs(each).max() for each in log_sums))


def questions(size, weighs, positives):
    """A function of embeddings, scale, bias and weights: the sigmoid loss of them."""
    known = (SHARES[:, :ROWS] > 0.8) if positives else None

    def total(a, b, scale, bias, weight):
        loss = SigmoidContrastive(block_size=size)
        keywords = {"scale": scale, "bias": bias, "positives": known} | ({"sample_weight": weight} if weighs else {})
        return 3.0 * loss(a, b, **keywords)

    return total


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("positives", [False, True])
def test_the_sigmoid_loss(weighs, positives):
    arrays = [X, Y[:ROWS], np.float32(3.0), np.float32(-2.0), np.abs(UP[0])]
    arrays = arrays if weighs else arrays[:4]
    functions = (questions(size, weighs, positives) for size in (None, 4))
    functions = [each if weighs else (lambda *four, each=each: each(*four, None)) for each in functions]
    whole, cut = (value_and_gradients(each, arrays) for each in functions)
    assert_same(cut, whole)


def test_the_sigmoid_of_a_pair_that_is_found_has_a_gradient_still():
    """That of one of the diagonal is not the small rest of two large numbers."""
    x, y = np.eye(4, dtype="float32") * 25.0, np.eye(4, dtype="float32")
    weight = ops.ones((4,))

    def total(x, y):
        return sigmoid_sum(x, y, ops.convert_to_tensor(-10.0), weight, None, 3)

    _, (of_x, _) = value_and_gradients(total, [x, y])
    np.testing.assert_allclose(np.diag(of_x), -1.0 / (1.0 + np.exp(15.0)), rtol=1e-4)


def test_a_value_alone_costs_no_gradient(monkeypatch):
    def made(*arguments):
        raise AssertionError("a gradient was made that nobody asked for")

    loss = SigmoidContrastive(3.0, -2.0, block_size=4)
    value, _ = value_and_gradients(loss, [X, Y[:ROWS]])
    monkeypatch.setattr(products_torch.Blocks, "add_gradients", made)
    monkeypatch.setattr(products_compiled.SigmoidKernel, "value_and_gradients", made)
    with untrained():
        assert float(loss(X, Y[:ROWS])) == pytest.approx(value, rel=1e-6)


def test_a_model_is_trained_alike(model):
    """In a step that is compiled, on TensorFlow for batches of any size."""
    batch = batch_of(model, 8)
    before = [numpy(each) for each in model.trainable_variables]
    moved = []
    for size in (None, 3):
        loss = SigmoidContrastive(3.0, -2.0)
        model.compile(keras.optimizers.SGD(0.5), loss=loss, loss_block_size=size)
        model.train_on_batch(batch)
        moved.append([numpy(each) for each in model.trainable_variables])  # with those of the loss
        for variable, value in zip(model.trainable_variables, before):
            variable.assign(value)
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
