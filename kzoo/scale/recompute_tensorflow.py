"""Micro-batches on TensorFlow: a loop over them, and a second one where gradients are asked for."""

from functools import cached_property
from typing import Any

from kzoo.types import Tensor


def joined(part, batch, most) -> dict[str, Tensor]:
    """Outputs of a batch by name, made in micro-batches of at most `most` rows; see `micro_batches.forward`."""
    import tensorflow as tf

    cut = Cut(batch, most)
    # read once: of two reads of a variable one might come after the assignment below
    weights = [tf.convert_to_tensor(each.value) for each in part.trained]
    state = [tf.stop_gradient(tf.identity(each.value)) for each in part.state]
    traced = Traced(part, cut.specs(batch), weights, state)
    beside = {}  # what has no gradient

    @tf.custom_gradient
    def floats(*weights):
        weights = [tf.stop_gradient(each) for each in weights]
        moved, outputs = traced.forward(cut, batch, weights, state)
        beside["state"] = moved
        beside["outputs"] = {name: each for name, each in outputs.items() if name not in traced.floats}

        def backward(*upstream):
            return traced.backward(cut, batch, weights, state, dict(zip(traced.floats, upstream)))

        return tuple(outputs[name] for name in traced.floats), backward

    outputs = dict(zip(traced.floats, floats(*weights)))
    for place, value in zip(traced.moving, beside["state"]):
        part.state[place].assign(value)
    return {name: outputs[name] if name in outputs else beside["outputs"][name] for name in traced.specs}


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

        def step(number, moved, stores):
            outputs, moved = self.one(cut.rows_of(batch, number), weights, self._now(state, moved))
            return number + 1, moved, {name: stores[name].write(number, outputs[name]) for name in stores}

        stores = {
            name: tf.TensorArray(spec.dtype, cut.count, infer_shape=False, element_shape=[None, *spec.shape[1:]])
            for name, spec in self.specs.items()
        }
        start = 0, [state[place] for place in self.moving], stores
        _, moved, stores = tf.while_loop(lambda number, *_: number < cut.count, step, start, parallel_iterations=1)
        return moved, {name: cut.whole(store.concat(), self.specs[name]) for name, store in stores.items()}

    def backward(self, cut, batch, weights, state, upstream) -> list:
        """Gradients of the weights, None where the outputs do not depend on one."""
        import tensorflow as tf

        one = self.back  # whose trace finds out what is reached

        def step(number, moved, total):
            rows, of_rows = cut.rows_of(batch, number), cut.rows_of(upstream, number)
            found, moved = one(rows, weights, self._now(state, moved), of_rows)
            return number + 1, moved, [old + new for old, new in zip(total, found)]

        total = [tf.zeros_like(weights[place]) for place in self.reached]
        start = 0, [state[place] for place in self.moving], total
        _, _, total = tf.while_loop(lambda number, *_: number < cut.count, step, start, parallel_iterations=1)
        found = dict(zip(self.reached, total))
        return [found.get(place) for place in range(len(weights))]

    def _now(self, state, moved):
        """The whole state, with the values that have moved."""
        now = dict(enumerate(state)) | dict(zip(self.moving, moved))
        return [now[place] for place in range(len(state))]


def _spec(tensor):
    import tensorflow as tf

    return tf.TensorSpec(tensor.shape, tensor.dtype)


class Cut:
    """How the rows of a batch become micro-batches, `i::k` each, where their number is known when the graph runs.

    Args:
        batch: dict of tensors.
        most: rows of a micro-batch.
    """

    def __init__(self, batch, most):
        import tensorflow as tf

        first = next(iter(batch.values()))
        self.rows = tf.shape(first)[0] if first.shape[0] is None else first.shape[0]
        self.count = -(-self.rows // most)

    def specs(self, tensors) -> dict:
        """Name -> `tf.TensorSpec` of the rows of a micro-batch."""
        import tensorflow as tf

        return {name: tf.TensorSpec([None, *each.shape[1:]], each.dtype) for name, each in tensors.items()}

    def rows_of(self, tensors, number) -> dict:
        """The rows of a micro-batch, of a dict of tensors."""
        return {name: each[number :: self.count] for name, each in tensors.items()}

    def whole(self, tensor, spec) -> Tensor:
        """What micro-batches gave one after another, in the order of the batch."""
        import tensorflow as tf

        row = tf.range(self.rows)
        part, place = row % self.count, row // self.count
        before = part * (self.rows // self.count) + tf.minimum(part, self.rows % self.count)  # rows of earlier ones
        return tf.ensure_shape(tf.gather(tensor, before + place), [None, *spec.shape[1:]])
