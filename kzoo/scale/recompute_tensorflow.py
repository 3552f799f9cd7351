"""Micro-batches on TensorFlow: a loop over them, and a second one where gradients are asked for."""

from functools import cached_property
from typing import Any

from kzoo.layers.own_gradient import own_gradient
from kzoo.types import Tensor


def joined(part, batch, most) -> dict[str, Tensor]:
    """Outputs of a batch by name, made in micro-batches of at most `most` rows; see `micro_batches.forward`."""
    import tensorflow as tf

    cut = _cut_of(batch, most, part.model.jit_compile)
    # read once: of two reads of a variable one might come after the assignment below
    weights = [tf.convert_to_tensor(each.value) for each in part.trained]
    state = [tf.stop_gradient(tf.identity(each.value)) for each in part.state]
    traced = Traced(part, cut.specs(batch), weights, state)
    names = [*traced.floats, *(name for name in traced.specs if name not in traced.floats)]

    @own_gradient
    def whole(*weights):
        weights = [tf.stop_gradient(each) for each in weights]
        moved, outputs = traced.forward(cut, batch, weights, state)

        def backward(*upstream):  # first those of the floats; what is behind them has no gradient
            return traced.backward(cut, batch, weights, state, dict(zip(traced.floats, upstream)))

        return (*(outputs[name] for name in names), *moved), backward

    found = whole(*weights)
    for place, value in zip(traced.moving, found[len(names) :]):
        part.state[place].assign(value)
    return {name: value if name in traced.floats else tf.stop_gradient(value) for name, value in zip(names, found)}


class Traced:
    """A `Part` as a graph, made once for all micro-batches.

    Args:
        part: a `Part`.
        rows: name -> `tf.TensorSpec` of the rows of a micro-batch.
        weights, state: tensors that stand for the variables of `part`.

    Attributes:
        moving: places in the state of what a micro-batch changes.
        specs: name -> `tf.TensorSpec` of an output.
        floats: names of the outputs that may have a gradient.
    """

    def __init__(self, part, rows, weights, state):
        import tensorflow as tf

        self.part = part
        self.arguments = [rows, *([_spec(each) for each in group] for group in (weights, state))]
        self.one = tf.function(self._outputs, autograph=False).get_concrete_function(*self.arguments)
        self.moving = [place for place, changed in enumerate(part.changed) if changed]
        self.specs = self.one.structured_outputs[0]
        self.floats = [name for name, spec in self.specs.items() if spec.dtype.is_floating]

    @cached_property
    def back(self) -> Any:
        """Gradients of a micro-batch, the same graph for each term of a loss."""
        import tensorflow as tf

        upstream = {name: _spec(self.specs[name]) for name in self.floats}
        return tf.function(self._gradients, autograph=False).get_concrete_function(*self.arguments, upstream)

    def _outputs(self, rows, weights, state):
        pairs = [*zip(self.part.trained, weights), *zip(self.part.state, state)]
        outputs, after = self.part(rows, pairs)
        return outputs, [value for value, changed in zip(after, self.part.changed) if changed]

    def _gradients(self, rows, weights, state, upstream):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, after = self._outputs(rows, weights, state)
        ends = [outputs[name] for name in self.floats]
        found = tape.gradient(ends, weights, output_gradients=[upstream[name] for name in self.floats])
        self.reached = [place for place, each in enumerate(found) if each is not None]
        return [tf.convert_to_tensor(found[place]) for place in self.reached], after

    def forward(self, cut, batch, weights, state) -> tuple:
        """`(moved, outputs)` of a whole batch: values at the places `moving`, and a dict of tensors."""
        import tensorflow as tf

        moved, stores = [state[place] for place in self.moving], cut.stores(self.specs)
        for first, end, size in cut.stretches:

            def step(number, moved, stores, size=size):
                outputs, moved = self.one(cut.rows_of(batch, number, size), weights, self._now(state, moved))
                return number + 1, moved, cut.put(stores, number, size, outputs)

            start = tf.convert_to_tensor(first), moved, stores
            _, moved, stores = tf.while_loop(lambda number, *_: number < end, step, start, parallel_iterations=1)  # noqa: B023
        return moved, {name: cut.whole(store, self.specs[name]) for name, store in stores.items()}

    def backward(self, cut, batch, weights, state, upstream) -> list:
        """Gradients of the weights, None where the outputs do not depend on one."""
        import tensorflow as tf

        one = self.back  # whose trace finds out what is reached

        moved, total = (
            [state[place] for place in self.moving],
            [tf.zeros_like(weights[place]) for place in self.reached],
        )
        for first, end, size in cut.stretches:

            def step(number, moved, total, size=size):
                rows, of_rows = (cut.rows_of(each, number, size) for each in (batch, upstream))
                found, moved = one(rows, weights, self._now(state, moved), of_rows)
                return number + 1, moved, [old + new for old, new in zip(total, found)]

            start = tf.convert_to_tensor(first), moved, total
            _, moved, total = tf.while_loop(lambda number, *_: number < end, step, start, parallel_iterations=1)  # noqa: B023
        found = dict(zip(self.reached, total))
        return [found.get(place) for place in range(len(weights))]

    def _now(self, state, moved):
        """The whole state, with the values that have moved."""
        now = dict(enumerate(state)) | dict(zip(self.moving, moved))
        return [now[place] for place in range(len(state))]


def _spec(tensor):
    import tensorflow as tf

    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _cut_of(batch, most, compiled):
    rows = next(iter(batch.values())).shape[0]
    if all(each.shape.is_fully_defined() for each in batch.values()) and rows % -(-rows // most) == 0:
        return EvenCut(batch, most)
    return (CompiledCut if compiled else Cut)(batch, most)


class Cut:
    """How the rows of a batch become micro-batches, `i::k` each, where their number is known when the graph runs.

    Args:
        batch: dict of tensors.
        most: rows of a micro-batch.

    Attributes:
        stretches: list of `(first, end, size)`: numbers of micro-batches that one loop runs, and their rows.
    """

    def __init__(self, batch, most):
        import tensorflow as tf

        first = next(iter(batch.values()))
        self.rows = tf.shape(first)[0] if first.shape[0] is None else first.shape[0]
        self.count = -(-self.rows // most)
        self.stretches = [(0, self.count, None)]

    def specs(self, tensors) -> dict:
        """Name -> `tf.TensorSpec` of the rows of a micro-batch."""
        import tensorflow as tf

        return {name: tf.TensorSpec([None, *each.shape[1:]], each.dtype) for name, each in tensors.items()}

    def rows_of(self, tensors, number, size) -> dict:
        """The rows of a micro-batch, of a dict of tensors."""
        import tensorflow as tf

        places = tf.range(number, self.rows, self.count)  # a gather copies whole rows, a strided slice number by number
        return {name: tf.gather(each, places) for name, each in tensors.items()}

    def stores(self, specs) -> dict:
        """Where the outputs of micro-batches are put, by name."""
        import tensorflow as tf

        options = {"size": self.count, "infer_shape": False}
        return {name: tf.TensorArray(spec.dtype, element_shape=spec.shape, **options) for name, spec in specs.items()}

    def put(self, stores, number, size, outputs) -> dict:
        """The stores with the outputs of one micro-batch."""
        return {name: store.write(number, outputs[name]) for name, store in stores.items()}

    def whole(self, store, spec) -> Tensor:
        """What was put into a store, in the order of the batch."""
        import tensorflow as tf

        row = tf.range(self.rows)
        part, place = row % self.count, row // self.count
        before = part * (self.rows // self.count) + tf.minimum(part, self.rows % self.count)  # rows of earlier ones
        return tf.ensure_shape(tf.gather(store.concat(), before + place), [None, *spec.shape[1:]])


class _Sized(Cut):
    """How a batch is cut where a loop has as many rows in each of its micro-batches."""

    def _places(self, number, size):
        import tensorflow as tf

        return number + self.count * tf.range(size)

    def rows_of(self, tensors, number, size) -> dict:
        import tensorflow as tf

        return {name: tf.gather(each, self._places(number, size)) for name, each in tensors.items()}


class EvenCut(_Sized):
    """The same where all shapes are known before and every micro-batch has as many rows, of which a graph is made that
    computes no shapes: half as many operations, which take time where micro-batches are small."""

    def __init__(self, batch, most):
        super().__init__(batch, most)
        self.size = self.rows // self.count
        self.stretches = [(0, self.count, self.size)]

    def specs(self, tensors) -> dict:
        import tensorflow as tf

        return {name: tf.TensorSpec([self.size, *each.shape[1:]], each.dtype) for name, each in tensors.items()}

    def whole(self, store, spec) -> Tensor:
        import tensorflow as tf

        parts = store.stack()  # (micro-batches, rows of one, ...)
        turned = tf.transpose(parts, [1, 0, *range(2, len(parts.shape))])
        return tf.reshape(turned, [self.rows, *spec.shape[1:]])


class CompiledCut(_Sized):
    """The same for XLA, in whose loops every micro-batch has as many rows: first run those that have one more."""

    def __init__(self, batch, most):
        super().__init__(batch, most)
        size, left = self.rows // self.count, self.rows % self.count
        self.stretches = [(0, left, size + 1), (left, self.count, size)]

    def stores(self, specs) -> dict:
        import tensorflow as tf

        for name, spec in specs.items():
            if not spec.shape[1:].is_fully_defined():
                raise NotImplementedError(
                    f"{name} has shape {spec.shape}, of which XLA has to know all but the rows before it runs; compile "
                    "with jit_compile=False, or fit arrays of one length."
                )
        return {name: tf.zeros([self.rows, *spec.shape[1:]], spec.dtype) for name, spec in specs.items()}

    def put(self, stores, number, size, outputs) -> dict:
        import tensorflow as tf

        places = self._places(number, size)[:, None]
        return {name: tf.tensor_scatter_nd_update(store, places, outputs[name]) for name, store in stores.items()}

    def whole(self, store, spec) -> Tensor:
        return store
