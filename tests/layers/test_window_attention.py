"""Attention within windows against its definition, position by position; merged patches."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.layers.window_attention import PatchMerging, WindowAttention, WindowBlock, fitted_window

random = np.random.default_rng(0)


def by_definition(layer, x):
    """Each position of a map `(rows, columns, width)` attends to those of its window, one by one."""
    (height, width), (down, right), heads, size = layer.window, layer.shift, layer.num_heads, layer.head_width
    rows, columns, _ = x.shape
    moved = np.roll(x, (-down, -right), (0, 1))
    fill = (-rows % height, -columns % width)
    moved = np.pad(moved, ((0, fill[0]), (0, fill[1]), (0, 0)))
    query, key, value = (
        (moved @ numpy(each.kernel) + numpy(each.bias)).reshape(*moved.shape[:2], heads, size)
        for each in (layer.query, layer.key, layer.value)
    )
    bias = numpy(layer.position_bias).reshape(2 * height - 1, 2 * width - 1, heads)
    mixed = np.zeros((*moved.shape[:2], heads, size))

    def region(place, length, side, shift):
        """Which part of the map a place came from: only the last window of a shifted axis holds two of them."""
        return 0 if not shift or place < length - side else 1 if place < length - shift else 2

    def regions(place):
        return [region(*each) for each in zip(place, moved.shape[:2], layer.window, layer.shift)]

    for row, column in np.ndindex(moved.shape[:2]):
        top, left = row - row % height, column - column % width
        seen = [(top + r, left + c) for r in range(height) for c in range(width)]
        scores = np.array([(query[row, column] * key[each]).sum(-1) / np.sqrt(size) for each in seen])
        scores += [bias[row - r + height - 1, column - c + width - 1] for r, c in seen]
        scores += [[0.0 if regions(each) == regions((row, column)) else -100.0] for each in seen]
        weights = np.exp(scores - scores.max(0)) / np.exp(scores - scores.max(0)).sum(0)
        mixed[row, column] = (weights[..., None] * np.array([value[each] for each in seen])).sum(0)
    out = mixed.reshape(*moved.shape[:2], heads * size) @ numpy(layer.out.kernel) + numpy(layer.out.bias)
    return np.roll(out[:rows, :columns], (down, right), (0, 1))


@pytest.mark.parametrize(
    "grid, window, shift, head_width",
    [((4, 6), (2, 3), (0, 0), None), ((6, 9), (3, 3), (1, 1), 3), ((7, 5), (3, 4), (1, 2), None)],
    ids=["whole windows", "shifted", "shifted and filled up"],
)
def test_each_position_sees_its_window(grid, window, shift, head_width):
    keras.utils.set_random_seed(0)
    layer = WindowAttention(8, 2, window, shift, head_width)
    layer.build((None, *grid, 8))
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    x = random.normal(size=(2, *grid, 8)).astype("float32")
    expected = np.stack([by_definition(layer, each) for each in x])
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=5e-6)


@pytest.mark.once
def test_a_window_is_as_large_as_a_map_that_it_spans():
    assert fitted_window((14, 14), 7) == ((7, 7), (0, 0))
    assert fitted_window((14, 20), 7, shifted=True) == ((7, 7), (3, 3))
    assert fitted_window((7, 8), 7, shifted=True) == ((7, 7), (0, 3))
    assert fitted_window((3, 2), 7, shifted=True) == ((3, 2), (0, 0))


def test_four_neighbours_become_one_the_row_first():
    layer = PatchMerging()
    layer.build((None, 3, 4, 2))
    order = np.random.default_rng(1).normal(size=(8, 4)).astype("float32")
    layer.reduction.kernel.assign(order)
    x = random.normal(size=(1, 3, 4, 2)).astype("float32")
    filled = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
    four = np.concatenate([filled[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], axis=-1)
    normed = (four - four.mean(-1, keepdims=True)) / np.sqrt(four.var(-1, keepdims=True) + 1e-5)
    assert layer.compute_output_shape((None, 3, 4, 2)) == (None, 2, 2, 4)
    np.testing.assert_allclose(numpy(layer(x)), normed @ order, atol=1e-5)


def test_a_block_in_half_precision_keeps_scores_and_norms_in_float32():
    layer = WindowBlock(8, 2, (2, 3), 16, shift=(1, 1), dtype="mixed_bfloat16")
    layer.build((None, 4, 6, 8))
    assert keras.backend.standardize_dtype(layer(np.ones((1, 4, 6, 8), "float32")).dtype) == "bfloat16"
    assert layer.norm_1.compute_dtype == "float32"


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"width": 9, "num_heads": 2, "window": (2, 2)}, "num_heads=2 does not divide width=9"),
        ({"width": 8, "num_heads": 2, "window": (2, 2), "shift": (2, 0)}, r"shift=\(2, 0\) is not within window"),
        ({"width": 8, "num_heads": 2, "window": (2,)}, r"window is \(2,\); give \(rows, columns\) of a window"),
    ],
)
def test_windows_that_cannot_be(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        WindowAttention(**arguments)
