"""What the loss of a step takes, measured on outputs that no tower has made."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kzoo.layers.similarity import tensors_of
from kzoo.losses.parts.blocks import FEW, blocks_of, chosen

ROWS, HELD = 1024, 2**25  # rows that a loss is measured on, and bytes of outputs that these are at most


def output_bytes(model, batch) -> int:
    """Bytes of a row of what the loss reads of the model."""
    if keras.config.backend() != "jax":
        return sum(each[:1].nbytes for each in _outputs(model, batch).values())
    import jax

    def run(rows):  # shapes are enough where each operation would be compiled by itself
        with keras.StatelessScope():
            return model(rows, training=False, only=_names(model, batch))

    found = jax.eval_shape(run, {name: each[:1] for name, each in batch.items()})
    return sum(each.size * each.dtype.itemsize for each in found.values())


def loss_peaks(batch_size, of_row, peak) -> Callable:
    """A function of a number of rows to the bytes that the loss and its gradients take beside the outputs.

    Measured on some rows and twice as many: a line with a square, as there are pairs. On TensorFlow and torch.

    Args:
        batch_size: the most rows that are asked for.
        of_row: bytes of a row of what the loss reads, see `output_bytes`.
        peak: function of a number of rows to the bytes that they take.
    """
    some = max(2, min(ROWS, HELD // max(1, of_row), batch_size // 2))
    once, twice = peak(some), peak(2 * some)
    square = max(0.0, (twice - 2.0 * once) / 2.0) / some**2
    line = max(0.0, once / some - square * some)
    return lambda rows: int(line * rows + square * rows**2)


def step_of_loss(model, batch, batch_size) -> Callable:
    """A function of a number of rows that computes the loss of so many, its gradients to what towers would give, and
    what is logged beside it; in blocks where that of `batch_size` rows is, of whose memory a few rows shall tell.

    Args:
        model: compiled.
        batch: dict of arrays.
        batch_size: rows of the batch that is asked for.
    """
    one_row = _outputs(model, batch)
    read = model.objective.may_read(model.any_number())
    given = {name: each for name, each in batch.items() if name in read and name not in one_row}
    block_size = chosen(model.loss_block_size, batch_size**2)

    def loss_of(outputs, given):
        tensors = given | model.loss_tensors(outputs) | tensors_of(model.similarity)
        with blocks_of(block_size, model.few_rows and batch_size <= FEW):
            loss = sum(model.objective.by_term(tensors, True, model.any_number())[0])
            return loss, [measure(tensors) for measure in model.measured(model.objective).values()]

    run = {"tensorflow": _with_tensorflow, "torch": _with_torch}[keras.config.backend()](loss_of)

    def step(rows):
        outputs = {name: np.resize(each, (rows, *each.shape[1:])) for name, each in one_row.items()}
        outputs = {name: np.moveaxis(each, 0, model.batch_axes.get(name, 0)) for name, each in outputs.items()}
        more = {name: np.resize(each, (rows, *each.shape[1:])) for name, each in given.items()}
        run(*({name: ops.convert_to_tensor(each) for name, each in part.items()} for part in (outputs, more)))

    return step


def _outputs(model, batch):
    """Some rows of each output that the loss reads, arrays."""
    found = model({name: each[:2] for name, each in batch.items()}, training=False, only=_names(model, batch))
    found = {name: ops.convert_to_numpy(ops.cast(each, _plain(each))) for name, each in found.items()}
    return {name: np.moveaxis(each, model.batch_axes.get(name, 0), 0) for name, each in found.items()}


def _names(model, batch):
    return tuple(model.reading(model.objective.may_read(model.any_number()), batch))


def _plain(tensor):
    """The dtype of an array in place of a tensor's: numpy knows no bfloat16."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return "float32" if "float" in dtype else dtype


def _with_tensorflow(loss_of):
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def run(outputs, given):
        floats = [each for each in outputs.values() if each.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            loss, beside = loss_of(outputs, given)
        return loss, beside, tape.gradient(loss, floats)

    return run


def _with_torch(loss_of):
    import torch

    def run(outputs, given):
        leaves = {name: each.detach().requires_grad_(each.is_floating_point()) for name, each in outputs.items()}
        floats = [each for each in leaves.values() if each.requires_grad]
        loss, beside = loss_of(leaves, given)
        return loss, beside, torch.autograd.grad(loss, floats, allow_unused=True)

    return run
