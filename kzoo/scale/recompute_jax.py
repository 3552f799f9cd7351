"""Micro-batches on jax: a scan over them, and a second one where gradients are asked for."""

from kzoo.types import Tensor


def joined(part, batch, most) -> dict[str, Tensor]:
    """Outputs of a batch by name, made in micro-batches of at most `most` rows; see `micro_batches.forward`.

    Rows `i::k` are a micro-batch, so that where a batch is shared among devices each of them has rows of all.
    """
    import jax

    cut = Cut(next(iter(batch.values())).shape[0], most)
    weights, state = [each.value for each in part.trained], [each.value for each in part.state]
    _look(part, weights, state, {name: each[: cut.longer] for name, each in batch.items()})
    chosen = {"read": _where(part.read), "moving": _where(part.changed), "fixed": _where([not x for x in part.changed])}
    variables = {"read": part.trained, "moving": part.state, "fixed": part.state}

    def run(read, moving, fixed, rows):
        values = {"read": read, "moving": moving, "fixed": fixed}
        pairs = [(variables[kind][place], value) for kind in chosen for place, value in zip(chosen[kind], values[kind])]
        outputs, after = part(rows, pairs)
        return outputs, [after[place] for place in chosen["moving"]]

    @jax.custom_vjp
    def whole(read, moving, fixed, batch):
        def one(moving, rows):
            outputs, moving = run(read, moving, fixed, rows)
            return moving, outputs

        moving, found = _scan(one, moving, cut.stretches(batch))
        return cut.whole(found), moving

    def forward(*given):
        return whole(*given), given

    def backward(given, upstream):
        read, moving, fixed, batch = given

        def one(carried, each):
            moving, total = carried
            rows, of_outputs = each

            def differentiable(read):
                outputs, after = run(read, moving, fixed, rows)
                return {name: outputs[name] for name in of_outputs}, after

            _, pull, after = jax.vjp(differentiable, read, has_aux=True)
            return (after, [old + new for old, new in zip(total, *pull(of_outputs))]), None

        floats = {name: each for name, each in upstream[0].items() if each.dtype != jax.dtypes.float0}
        both = list(zip(cut.stretches(batch), cut.stretches(floats)))
        (_, total), _ = _scan(one, (moving, [jax.numpy.zeros_like(each) for each in read]), both)
        return total, None, None, None

    whole.defvjp(forward, backward)
    given = [[weights[place] for place in chosen["read"]]]
    given += [[state[place] for place in chosen[kind]] for kind in ("moving", "fixed")]
    outputs, moved = whole(*given, batch)
    for place, value in zip(chosen["moving"], moved):
        part.state[place].assign(jax.lax.stop_gradient(value))
    return outputs


class Cut:
    """How the rows of a batch become micro-batches: `i::k`, in stretches of micro-batches that have equally many.

    Args:
        rows: of the batch.
        most: of a micro-batch.
    """

    def __init__(self, rows, most):
        self.rows, self.count = rows, -(-rows // most)
        self.shorter, self.left = divmod(rows, self.count)  # the first `left` micro-batches have one row more
        self.longer = self.shorter + (self.left > 0)

    def stretches(self, tensors) -> list[dict]:
        """Of a dict of tensors `(rows, ...)` dicts of `(micro-batches, rows of one, ...)`."""
        from jax import numpy

        even = {name: self._split(each) for name, each in tensors.items()}
        if not self.left:
            return [even]
        last = {name: each[self.rows - self.left :, None] for name, each in tensors.items()}
        longer = {name: numpy.concatenate([each[: self.left], last[name]], axis=1) for name, each in even.items()}
        return [longer, {name: each[self.left :] for name, each in even.items()}]

    def _split(self, tensor):
        even = tensor[: self.rows - self.left].reshape(self.shorter, self.count, *tensor.shape[1:])
        return even.swapaxes(0, 1)

    def whole(self, stretches) -> dict:
        """What `stretches` has cut, put together again."""
        from jax import numpy

        if not self.left:
            return {name: _joined(each) for name, each in stretches[0].items()}
        longer, shorter = stretches
        whole = {}
        for name, each in longer.items():
            even = numpy.concatenate([each[:, : self.shorter], shorter[name]])
            whole[name] = numpy.concatenate([_joined(even), each[:, self.shorter]])
        return whole


def _joined(parts):
    swapped = parts.swapaxes(0, 1)
    return swapped.reshape(-1, *swapped.shape[2:])


def _scan(function, carried, stretches):
    import jax

    results = []
    for stretch in stretches:
        carried, found = jax.lax.scan(function, carried, stretch)
        results.append(found)
    return carried, results


def _look(part, weights, state, rows):
    """Let a `Part` see which variables it reads and changes."""
    import jax

    def looked(weights, state, rows):
        return part(rows, [*zip(part.trained, weights), *zip(part.state, state)])

    jax.eval_shape(looked, weights, state, rows)


def _where(flags):
    return [place for place, flag in enumerate(flags) if flag]
