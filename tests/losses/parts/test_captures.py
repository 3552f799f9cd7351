"""Trained tensors that a block function captures: their gradient is the same in blocks as whole."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import value_and_gradients

from kzoo.losses import LearnableTemperature
from kzoo.losses.parts.pairwise import Tile, by_blocks, cross_entropies, same

random = np.random.default_rng(0)
A, B, SHIFT, LOG_SCALE = (random.normal(size=shape).astype("float32") for shape in ((6, 3), (6, 3), (3,), ()))


def contrast(a, b, scale, shift, block_size):
    """A loss whose tile uses two tensors that it is not passed; `scale()` is called within it."""
    shifts = [{"shift": shift}]

    def shifted(x):
        return x + shifts[0]["shift"]

    def tile(i, j, rows, columns):
        return Tile(scale() * ops.matmul(shifted(rows["a"]), ops.transpose(columns["b"])), same(i, j))

    of_rows, of_columns = cross_entropies(tile, {"a": a}, {"b": b}, "both", block_size)
    return ops.mean(of_rows + of_columns)


def assert_blocks_agree(function, arrays):
    value, gradients = value_and_gradients(lambda *tensors: function(*tensors, None), arrays)
    value_of_blocks, of_blocks = value_and_gradients(lambda *tensors: function(*tensors, 4), arrays)
    assert value_of_blocks == pytest.approx(value, rel=1e-6)
    for one, other in zip(gradients, of_blocks, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_captured_tensors_have_their_gradient_in_blocks():
    def function(a, b, log_scale, shift, block_size):
        scale = ops.exp(log_scale)
        return contrast(a, b, lambda: scale, shift, block_size)

    assert_blocks_agree(function, [A, B, LOG_SCALE, SHIFT])


class Contrasting(keras.Model):
    """A model whose step calls `contrast` with the scale of its temperature, read before the tile or within it."""

    def __init__(self, inside, block_size):
        super().__init__()
        self.inside, self.block_size = inside, block_size
        self.dense = keras.layers.Dense(3, kernel_initializer="identity")
        self.temperature = LearnableTemperature(0.5)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        scale, shift = self.temperature.scale, ops.convert_to_tensor(SHIFT)
        return contrast(y_pred, B, lambda: self.temperature.scale if self.inside else scale, shift, self.block_size)


@pytest.mark.parametrize("inside", [False, True])
def test_a_captured_temperature_is_trained_alike_in_blocks(inside):
    moved = []
    for block_size in (None, 4):
        model = Contrasting(inside, block_size)
        model.compile(keras.optimizers.SGD(0.1))
        model.fit(A, batch_size=6, shuffle=False, verbose=0)
        moved.append([ops.convert_to_numpy(each) for each in model.trainable_variables])
    assert abs(float(moved[0][-1]) - np.log(2.0)) > 1e-3
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_a_captured_tensor_that_no_closure_holds_is_refused_or_right():
    class Holder:
        pass

    def function(a, shift, block_size):
        holder = Holder()
        holder.shift = shift

        def rows(i, real, rows, columns):
            return {"sum": ops.sum(ops.square(rows["a"] + holder.shift), axis=1)}, {}

        return ops.sum(by_blocks(rows, {"a": a}, {}, block_size)[0]["sum"])

    if keras.config.backend() == "tensorflow":
        with pytest.raises(ValueError, match=r"uses a tensor of shape \(3,\) that it was not passed"):
            value_and_gradients(lambda *tensors: function(*tensors, 4), [A, SHIFT])
    else:
        assert_blocks_agree(function, [A, SHIFT])
