"""How much memory a step of training takes, said before anything is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Self

import keras
import numpy as np

from kzoo.arguments import COUNT, TABLE, able, takes
from kzoo.keras_contact import carried_variables, untracked
from kzoo.scale.apart import STEPS, Apart
from kzoo.scale.loss_memory import loss_peaks, output_bytes, step_of_loss
from kzoo.scale.peak import bytes_of, free_memory, on_accelerator, peak_of
from kzoo.scale.rows import resized

MEASURED = 16  # micro-batches of which a step is measured, at most
KEPT = {"tensorflow": 0.25, "torch": 0.0}  # of memory that is given back, as seen, what a process keeps
OF_STEP = ("batch", "gradients", "activations", "outputs", "loss")


class MemoryEstimate(int):
    """Bytes of memory at the peak of a step, which print as a table of what they are.

    Attributes:
        parts: dict of name -> bytes: `weights`, `optimizer`, `batch`, `gradients`, `activations`, `outputs` and `loss`.
        title: what they are for, in a line.

    Example:
        >>> estimate = kzoo.scale.memory_estimate(model, 4096, micro_batch_size=64)
        >>> estimate < 16 * 2**30, estimate.parts["activations"]
        (True, 981467136)
    """

    parts: dict
    title: str

    def __new__(cls, parts, title) -> Self:
        estimate = super().__new__(cls, sum(parts.values()))
        estimate.parts, estimate.title = dict(parts), title
        return estimate

    @property
    def step(self) -> int:
        """Bytes that a step takes beside the weights and the state of the optimizer."""
        return sum(self.parts[name] for name in OF_STEP)

    def __str__(self) -> str:
        rows = [*self.parts.items(), ("all", int(self))]
        return "\n".join([self.title, *(f"  {name:<12} {size / 2**20:>12,.1f} MiB" for name, size in rows)])

    __repr__ = __str__


@takes(
    model=able("compile train_on_batch towers", "a model of kzoo"),
    batch_size=COUNT,
    micro_batch_size=COUNT | None,
    batch=TABLE | None,
)
def memory_estimate(model, batch_size, micro_batch_size=None, batch=None) -> MemoryEstimate:
    """The memory that a step of training takes at its peak, on one device, without making it.

    On jax the step is compiled for the whole batch, and its compiler says what it takes. On the other backends steps of
    a few rows and of twice as many are made, on what the model is on, and the straight line through them is followed;
    so is the loss by itself, whose memory may grow with the square of the batch. In micro-batches one step of up to 16
    of them is made. The model is put back afterwards. On a CPU it is by how much a process rises whose memory was not
    larger before. TensorFlow gives nothing back there, so a copy of the model makes the steps in processes of their
    own, which takes a minute or more. Plain steps of small presets were measured within a twentieth of it, those in
    micro-batches on jax within a fifth; on the other backends in small ones, where little is taken, it may be off by
    nearly half. `benchmarks/activation_memory.py` prints both.

    Args:
        model: a compiled model; of its own `micro_batch_size` nothing is read.
        batch_size: rows of a batch.
        micro_batch_size: as in `compile`; None for the plain step.
        batch: dict of arrays that the model trains on, of any number of rows: for lengths, and for a loss that reads
            more than pictures and texts. By default pictures and ids are made up.

    Returns:
        `MemoryEstimate`, an `int`, bytes.

    Raises:
        ValueError: the model is not compiled, or its loss reads what is not there, such as labels.
        NotImplementedError: the memory of a process cannot be measured here; see the sentence.

    Example:
        >>> model.compile("clip_adamw")
        >>> print(kzoo.scale.memory_estimate(model, 4096, micro_batch_size=64))
        a step of 4,096 rows in micro-batches of 64
          weights             577.1 MiB
          ...
    """
    if not model.compiled:
        raise ValueError("the model is not compiled, and memory depends on loss and optimizer; call compile() first.")
    batch = _made_up(model) if batch is None else batch
    batch = {name: np.asarray(each) for name, each in batch.items()}
    rows, of_row = micro_rows(batch_size, micro_batch_size), output_bytes(model, batch)
    parts = {
        "weights": _bytes(model.variables),
        "optimizer": _bytes(_optimizer(model).variables),
        "batch": batch_size * sum(each[:1].nbytes for each in batch.values()),
        "gradients": _bytes(model.trainable_variables),
        "activations": 0,
        "outputs": 2 * batch_size * of_row,  # with their gradients
        "loss": 0,
    }
    if keras.config.backend() == "jax":
        peak = _compiled(model, batch, batch_size, micro_batch_size)
    elif rows == batch_size:
        peak, parts["loss"] = _followed(model, batch, batch_size, of_row)
    else:
        peak, parts["loss"] = _followed_in_micro_batches(model, batch, batch_size, rows, of_row)
    counted = sum(parts[name] for name in OF_STEP)
    parts["activations"] = max(0, peak - counted)
    if peak < counted:  # not all of it is there at one time, but for the batch
        share = max(0, peak - parts["batch"]) / max(1, counted - parts["batch"])
        parts |= {name: int(parts[name] * share) for name in OF_STEP if name != "batch"}
    how = "" if rows == batch_size else f" in micro-batches of {rows:,}"
    return MemoryEstimate(parts, f"a step of {batch_size:,} rows{how}")


def micro_rows(batch_size, micro_batch_size) -> int:
    """Rows of the largest micro-batch of a batch; all of them where it is not cut."""
    if micro_batch_size is None or micro_batch_size >= batch_size:
        return batch_size
    return -(-batch_size // -(-batch_size // micro_batch_size))


def _made_up(model):
    """Two rows of arrays that the towers read, where the loss reads no others."""
    batch = {}
    for slot in model.exported():
        arrays = model.modalities()[slot.modality].samples(2)
        batch |= {slot.arrays[name]: each for name, each in arrays.items()}
    known = {*batch, *model.gives(batch), "logit_scale", "logit_bias"}
    lacking = [name for name in model.objective.reading(model.any_number()) if name not in known]
    if lacking:
        raise ValueError(
            f"pictures and ids are made up to measure a step, but the loss reads {lacking[0]!r} too; give a batch, a "
            "dict of arrays as fit takes them."
        )
    return batch


# -- what is counted --
def _bytes(variables):
    return sum(map(bytes_of, variables))


def _optimizer(model):
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return model.optimizer


# -- what is measured --
def _compiled(model, batch, batch_size, micro_batch_size):
    """What a step takes beside weights and optimizer as jax has compiled it, for rows that are never made."""
    import jax

    def shape_of(array, rows=None):
        shape = array.shape if rows is None else (rows, *array.shape[1:])
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(array.dtype))

    batch = {name: shape_of(each, batch_size) for name, each in (batch | model.objective.rows_of(batch)).items()}
    state = tuple([shape_of(each.value) for each in group] for group in carried_variables(model, 4))
    with _in_micro_batches(model, micro_batch_size):
        # a new function: jax would take the step that it knows for this one, of another micro_batch_size
        step = jax.jit(lambda *arguments: model.train_step(*arguments), donate_argnums=0)
        compiled = step.lower(state, (batch,)).compile()
    found = compiled.memory_analysis()
    if found is None:
        raise NotImplementedError("jax does not say here what a compiled step takes; try a micro_batch_size.")
    held = sum(each.size * each.dtype.itemsize for each in jax.tree.leaves(state))
    arguments = found.argument_size_in_bytes - held + found.output_size_in_bytes - found.alias_size_in_bytes
    return max(0, arguments) + found.temp_size_in_bytes


def _followed(model, batch, batch_size, of_row):
    """What a plain step takes beside weights and optimizer, and what the loss takes of it, by peaks of small ones."""
    least = 2**20 if on_accelerator() else 48 * 2**20  # a rise that is more than noise
    few = max(2, min(1024, least // max(1, 8 * model.count_params())))
    with _measuring(model, batch, batch_size) as peak:
        step = cache(partial(peak, "step"))
        loss_of = loss_peaks(batch_size, of_row, partial(peak, "loss"))
        while step(2 * few) - step(few) < least and 2 * few < batch_size:
            few *= 2
        peaks = {count: step(count) for count in (few, 2 * few)}
    one, two = (max(0, peaks[count] - loss_of(count)) for count in (few, 2 * few))
    of_activations = max(0, two - one) / few
    beside, loss = max(0, one - few * of_activations), loss_of(batch_size)
    return int(beside + batch_size * of_activations + loss), loss


def _followed_in_micro_batches(model, batch, batch_size, rows, of_row):
    """The same of a step in micro-batches of so many rows, by the peak of one with a few of them, all if they are few.

    A loss is computed where no activations are held, so of both the larger one is at the peak; but a process keeps some
    of what it gave back. What goes by the batch beside them are its arrays and the outputs with their gradients.
    """
    some, kept = min(batch_size, MEASURED * rows), 0.0 if on_accelerator() else KEPT[keras.config.backend()]
    with _measuring(model, batch, batch_size) as peak:
        loss_of = loss_peaks(batch_size, of_row, partial(peak, "loss"))
        found, before, loss = peak("step", some, rows), loss_of(some), loss_of(batch_size)
    if some == batch_size:
        return found, min(found, loss)
    whole = 2 * of_row + sum(each[:1].nbytes for each in batch.values())
    rest = max(0.0, found - some * whole)
    back = rest - kept * before if rest > (1.0 + kept) * before else max(0.0, rest - before) / (kept or 1.0)
    return int(batch_size * whole + max(loss, back) + kept * min(loss, back)), loss


@contextmanager
def _measuring(model, batch, batch_size) -> Iterator:
    """A function of `"step"` or `"loss"`, a number of rows and one of a micro-batch to the bytes that it takes."""
    if keras.config.backend() == "tensorflow" and not on_accelerator():
        with Apart(model, batch, batch_size) as apart:
            yield apart.peak
        return
    of_loss = step_of_loss(model, batch, batch_size)

    def peak(what, rows, micro_batch_size=None):
        run = of_loss if what == "loss" else lambda count: model.train_on_batch(resized(batch, count))
        # of micro-batches an allocator keeps some, in a whole step as in this one; of the small plain steps, from which
        # a large one is reckoned, it keeps what of a large one it gives back
        before, steps = (rows, 1) if micro_batch_size is None else (min(rows, 2 * micro_batch_size), STEPS)
        with _in_micro_batches(model, micro_batch_size):
            run(before)  # what a first step makes once
            return peak_of(lambda: [run(rows) for _ in range(steps)])

    with _as_it_was(model):
        yield peak


@contextmanager
def _in_micro_batches(model, size) -> Iterator:
    """Within it the steps of a model are those of another `micro_batch_size`."""
    before = model.micro_batch_size
    untracked(model, "micro_batch_size", size)
    model.train_function = None
    try:
        yield
    finally:
        untracked(model, "micro_batch_size", before)
        model.train_function = None


@contextmanager
def _as_it_was(model) -> Iterator:
    """Afterwards a model has its weights and the state of optimizer, metrics and random numbers that it had before."""
    variables = [*model.variables, *_optimizer(model).variables, *model.metrics_variables]
    before = [keras.ops.convert_to_numpy(each).copy() for each in variables]
    try:
        if keras.config.backend() == "torch":
            import torch

            with torch.random.fork_rng():
                yield
        else:
            yield
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)


# -- what fits --
SHARE = 0.8  # of the free memory that a step may take: an allocator needs room, and so does what reads the data
SURELY = 32  # bytes of activations for each parameter and row, several times what any tower was seen to take


def fitting_micro_batch(model, batch_size, batch=None) -> tuple[int | None, str]:
    """The largest micro-batch whose step fits into the memory that is free, and a sentence that says so.

    Nothing is measured where a step fits by far: where the batch times the parameters of the model is small.

    Args:
        model, batch_size, batch: as in `memory_estimate`.

    Returns:
        `(micro_batch_size, sentence)`: None and `""` where the whole batch fits, or where nothing says what is free.

    Raises:
        MemoryError: a step of micro-batches of one row does not fit; the sentence says what it takes.
    """
    free = free_memory()
    if free is None or batch_size * SURELY * model.count_params() < SHARE * free:
        return None, ""
    size = batch_size
    while (estimate := memory_estimate(model, batch_size, size, batch)).step > SHARE * free:
        if size == 1:
            raise MemoryError(
                f"a step of {batch_size:,} rows takes {_size(estimate.step)} beside the weights, row by row, but "
                f"only {_size(free)} are free; take a smaller batch or model."
            )
        # as many rows as their share of the memory allows, and never more than half of what was too much
        size = max(1, min(size // 2, int(size * SHARE * free / estimate.step)))
    if size == batch_size:
        return None, ""
    return size, (
        f"micro-batches of {size:,}: a step of {batch_size:,} rows takes about {_size(estimate.step)} so, of "
        f"{_size(free)} that are free"
    )


def _size(count):
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
