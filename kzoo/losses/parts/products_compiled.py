"""The kernels of `products` on jax and TensorFlow, as loops that both compile.

An outer loop goes over chunks of the columns, an inner one over blocks of the rows. The columns' gradient is carried
transposed, so that nothing of the size of the scores has to be.
"""

from typing import Any

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, log_sum_exp
from kzoo.layers.own_gradient import own_gradient
from kzoo.layers.own_gradient_jax import is_traced
from kzoo.losses.parts.scans import cut, scanned
from kzoo.types import Tensor

HELD = 2**19  # scores at a time on TensorFlow, 2 MB of float32, which the caches hold
APART = 80.0  # of two log-sums, so that exponentials around their middle are float32 numbers
SMALL = 1e-25  # a sum of exponentials that is above has lost nothing that float32 could not hold


def softmax(softmax, x, y, block_size) -> tuple:
    """Of a `products.Softmax`: what it names of the rows, then of the columns, then `<x_i, y_i>` where asked for."""
    kernel = SoftmaxKernel(softmax, x, y, block_size)

    @own_gradient
    def sums(x, y):
        outputs = kernel.forward(x, y)

        def gradients(*upstream):
            return kernel.backward(x, y, outputs, upstream)

        return outputs, gradients

    return sums(x, y)


def sigmoid(x, y, bias, weight, positives, block_size) -> Tensor:
    """`products.sigmoid_sum`."""
    inputs = (x, y, bias) if weight is None else (x, y, bias, weight)
    kernel = SigmoidKernel(positives, x, y, block_size)

    @own_gradient
    def total(*inputs):
        if _runs_at_once(inputs):  # nobody knows yet whether gradients will be asked for
            return kernel.value(*inputs), lambda up: [up * each for each in kernel.value_and_gradients(*inputs)[1]]
        value, gradients = kernel.value_and_gradients(*inputs)  # a compiler leaves out what is not asked for
        return value, lambda up: [up * each for each in gradients]

    return total(*inputs)


def _runs_at_once(inputs):
    """Whether operations run as they are called, and are not traced."""
    if keras.config.backend() == "jax":
        return not is_traced(*inputs)
    import tensorflow as tf

    return tf.executing_eagerly()


class Kernel:
    """How rows and columns are cut.

    Args:
        x, y: tensors `(R, dim)` and `(C, dim)`.
        size: rows of a block.
        whole: whether a block has all columns. On jax it always does: where devices share a batch, each has its columns
            of every block.
    """

    def __init__(self, x, y, size, whole=False):
        self.count, self.others, self.size = ops.shape(x)[0], ops.shape(y)[0], size
        self.filled = -(-self.count // size) * size  # rows with those that fill up the last block
        self.chunk, self.full_columns = self.others, True
        if not whole and keras.config.backend() != "jax":
            self.chunk = max(1, HELD // size)
            if isinstance(self.others, int):
                self.chunk = -(-self.others // -(-self.others // self.chunk))  # as even as they can be
            self.full_columns = isinstance(self.others, int) and self.others % self.chunk == 0
        self.full_rows = isinstance(self.count, int) and self.filled == self.count

    def rows(self, value) -> Tensor:
        """`(R, ...)` as `(blocks, size, ...)`."""
        return cut(value, self.size)

    def columns(self, value) -> Tensor:
        """`(C, ...)` as `(chunks, columns, ...)`."""
        return value[None] if self.chunk is self.others else cut(value, self.chunk)

    def turned(self, y) -> Tensor:
        """y as `product` takes it: transposed once for all blocks, which on jax would be a copy for nothing."""
        return y if keras.config.backend() == "jax" else ops.transpose(y)

    def product(self, x, turned) -> Tensor:
        """`x y^T`."""
        return ops.einsum("id,jd->ij", x, turned) if keras.config.backend() == "jax" else ops.matmul(x, turned)

    def joined(self, blocks) -> Tensor:
        """`(blocks, size, ...)` of the rows as `(filled, ...)`."""
        return ops.reshape(blocks, (self.filled, *blocks.shape[2:]))

    def numbers(self) -> tuple:
        """Of the rows, and of the columns, int32; those that fill up are beyond the last."""
        blocks, chunks = (
            ops.arange(filled, dtype="int32") for filled in (self.filled, -(-self.others // self.chunk) * self.chunk)
        )
        return ops.reshape(blocks, (-1, self.size)), ops.reshape(chunks, (-1, self.chunk))

    def real(self, scores, i, j) -> Tensor:
        """Scores that are `NEGATIVE` where a row or a column only fills up."""
        if not self.full_rows:
            scores = ops.where((i < self.count)[:, None], scores, NEGATIVE)
        return scores if self.full_columns else ops.where((j < self.others)[None], scores, NEGATIVE)


class SoftmaxKernel(Kernel):
    """A `products.Softmax` of x and y; arguments as those of `Kernel`."""

    def __init__(self, softmax, x, y, size):
        self.softmax = softmax
        self.of_rows, self.of_columns = softmax.names
        super().__init__(x, y, size, whole=True)
        self.beside = tuple(self.rows(value) for value in softmax.rows.values())
        tile = self.tile(self.numbers()[0][0], [each[0] for each in self.beside])
        if not softmax.targets and tile.keep is None and tile.log_weight is None:  # then a block may be cut
            super().__init__(x, y, size)

    def tile(self, i, beside) -> Any:
        j = ops.arange(self.others, dtype="int32")
        return self.softmax.tile(i, j, dict(zip(self.softmax.rows, beside)), self.softmax.columns)

    def scores(self, x, turned, i, j, beside) -> tuple:
        """`(z, z as the denominators take it, tile)` of one block."""
        tile, z = self.tile(i, beside), self.product(x, turned)
        masked = z if tile.log_weight is None else z + tile.log_weight
        masked = masked if tile.keep is None else ops.where(tile.keep, masked, NEGATIVE)
        return z, self.real(masked, i, j), tile

    def forward(self, x, y) -> tuple:
        i, j = self.numbers()
        blocks = (self.rows(x), i, *self.beside)

        def chunk(of_rows, given):
            y, j = given
            turned = self.turned(y)

            def block(of_columns, given):
                x, i, *beside = given
                z, masked, tile = self.scores(x, turned, i, j, beside)
                log_sums = self.log_sums(masked)
                says = []
                for axis, names in ((1, self.of_rows), (0, self.of_columns)):
                    values = {"log_sum": log_sums[1 - axis]}
                    if "tz" in names:
                        target = self.target(tile, axis, i)
                        values |= {"tz": ops.sum(target * z, axis=axis), "ts": ops.sum(target, axis=axis)}
                    says.append([values[name] for name in names])
                return together(self.of_columns, of_columns, says[1]), tuple(says[0])

            start = nothing(self.of_columns, self.chunk)
            of_columns, found = scanned(block, start, blocks, len(self.of_rows))
            return together(self.of_rows, of_rows, [self.joined(each) for each in found]), of_columns

        start = nothing(self.of_rows, self.filled)
        of_rows, of_columns = scanned(chunk, start, (self.columns(y), j), len(self.of_columns))
        of_columns = (ops.reshape(each, (-1,))[: self.others] for each in of_columns)
        own = (ops.sum(x * y[: self.count], axis=-1),) if self.softmax.own else ()
        return *(each[: self.count] for each in of_rows), *of_columns, *own

    def target(self, tile, axis, i) -> Tensor:
        if axis == 1:
            return tile.target
        target = tile.target if tile.column_target is None else tile.column_target
        return target if self.full_rows else ops.where((i < self.count)[:, None], target, 0.0)

    def log_sums(self, z) -> tuple:
        """Of the rows and of the columns, from the same exponentials where that loses nothing."""
        if not self.of_columns:
            return log_sum_exp(z, 1), None
        if not self.of_rows:
            return None, log_sum_exp(z, 0)
        largest = ops.max(z, axis=1, keepdims=True)
        e = ops.exp(z - largest)
        top = ops.max(largest)
        total = ops.matmul(ops.transpose(ops.exp(largest - top)), e)[0]
        kept = ops.all(total > SMALL)
        of_columns = ops.cond(kept, lambda: top + ops.log(total), lambda: log_sum_exp(z, 0))
        return largest[:, 0] + ops.log(ops.sum(e, axis=1)), of_columns

    def backward(self, x, y, outputs, upstream) -> tuple:
        rows_say = dict(zip(self.of_rows, zip(outputs, upstream)))
        after = len(self.of_rows)
        columns_say = dict(zip(self.of_columns, zip(outputs[after:], upstream[after:])))
        sums = [each["log_sum"][0] for each in (rows_say, columns_say) if each]
        low = ops.min(ops.stack([ops.min(each) for each in sums]))
        high = ops.max(ops.stack([ops.max(each) for each in sums]))
        near, middle = high - low < APART, 0.5 * (low + high)

        def around(says):
            """Log-sums, upstream gradients, and both as factors of the exponentials around the middle."""
            if not says:
                return ()
            log_sum, up = says["log_sum"]
            targets = (says["tz"][1],) if "tz" in says else ()
            return log_sum, up, up * ops.exp(ops.where(near, middle - log_sum, 0.0)), *targets

        i, j = self.numbers()
        of_rows = tuple(self.rows(each) for each in around(rows_say))
        blocks = (self.rows(x), i, *of_rows, *self.beside)

        def chunk(of_x, given):
            y, j, start, *column = given
            turned = self.turned(y)

            def block(of_y, given):
                x, i, *beside = given
                row, beside = beside[: len(of_rows)], beside[len(of_rows) :]
                _, z, tile = self.scores(x, turned, i, j, beside)
                parts = [[each[:, None] for each in row], [each[None] for each in column]]
                parts = [each for each in parts if each]

                def once():
                    return ops.exp(z - middle) * sum(each[2] for each in parts)

                def twice():
                    return sum(ops.exp(z - each[0]) * each[1] for each in parts)

                of_z = ops.cond(near, once, twice) if len(parts) == 2 else twice()
                for axis, each in ((1, row), (0, column)):
                    if len(each) == 4:
                        of_z = of_z + self.target(tile, axis, i) * (each[3][:, None] if axis == 1 else each[3][None])
                return (of_y[0] + ops.matmul(ops.transpose(x), of_z),), (ops.matmul(of_z, y),)

            (of_y,), (found,) = scanned(block, (ops.transpose(start),), blocks, 1)
            return (of_x[0] + self.joined(found),), (ops.transpose(of_y),)

        of_x, of_y = self.of_own(x, y, upstream)
        chunks = (self.columns(y), j, self.columns(of_y), *(self.columns(each) for each in around(columns_say)))
        (of_x,), (of_y,) = scanned(chunk, (of_x,), chunks, 1)
        return of_x[: self.count], ops.reshape(of_y, (-1, y.shape[1]))[: self.others]

    def of_own(self, x, y, upstream) -> tuple:
        """What `<x_i, y_i>` says of the gradients. Their sums begin with it: to add it afterwards would hold more."""
        if not self.softmax.own:
            return ops.zeros((self.filled, x.shape[1])), ops.zeros_like(y)
        up, y = upstream[-1][:, None], y[: self.count]
        rows, columns = [0, self.filled - self.count], [0, self.others - self.count]
        return ops.pad(up * y, [rows, [0, 0]]), ops.pad(up * x, [columns, [0, 0]])


class SigmoidKernel(Kernel):
    """`products.sigmoid_sum` of x and y.

    Args:
        positives: bool `(batch, batch)`, or None.
        x, y, size: as those of `Kernel`.
    """

    def __init__(self, positives, x, y, size):
        super().__init__(x, y, size, whole=positives is not None)
        self.positives = () if positives is None else (self.rows(positives),)

    def answers(self, x, turned, bias, i, j, positives) -> tuple:
        """`(z, softplus(-+ z), whether j belongs to i)` of one block; 0 for what only fills up."""
        z = self.product(x, turned) + bias
        positive = positives[0] if positives else ops.equal(i[:, None], j[None, :])
        z = self.real(ops.where(positive, -z, z), i, j)
        return z, ops.softplus(z), positive

    def value(self, x, y, bias, weight=None) -> Tensor:
        return self.run(False, x, y, bias, weight)[0]

    def value_and_gradients(self, x, y, bias, weight=None) -> tuple:
        return self.run(True, x, y, bias, weight)

    def run(self, trained, x, y, bias, weight) -> tuple:
        """The value, and the gradients where they are asked for, else an empty tuple."""
        i, j = self.numbers()
        weights = () if weight is None else (weight,)
        blocks = (self.rows(x), i, *(self.rows(each) for each in weights), *self.positives)

        def chunk(carry, given):
            y, j, *column_weight = given
            turned = self.turned(y)

            def block(carry, given):
                x, i, *beside = given
                row_weight, positives = beside[: len(weights)], beside[len(weights) :]
                z, answers, positive = self.answers(x, turned, bias, i, j, positives)
                found = (ops.sum(answers, axis=1),)
                carried = (carry[0] + ops.sum(answers, axis=0),) if weights else ()
                if trained:
                    share = ops.sigmoid(z)
                    of_z = ops.where(positive, -share, share)
                    if weights:
                        of_z = of_z * (0.5 * (row_weight[0][:, None] + column_weight[0][None]))
                    carried = (*carried, carry[-2] + ops.matmul(ops.transpose(x), of_z), carry[-1] + ops.sum(of_z))
                    found = (*found, ops.matmul(of_z, y))
                return carried, found

            start = (ops.zeros((self.chunk,)),) if weights else ()
            start = (*start, ops.zeros_like(ops.transpose(y)), ops.zeros(())) if trained else start
            of_columns, found = scanned(block, start, blocks, 1 + trained)
            found = [self.joined(each) for each in found]
            if trained:
                *of_columns, of_y, of_bias = of_columns
                found, of_columns = [*found, of_bias], [*of_columns, ops.transpose(of_y)]
            return tuple(a + b for a, b in zip(carry, found)), tuple(of_columns)

        start = (ops.zeros((self.filled,)),)
        if trained:
            start = (*start, ops.zeros((self.filled, x.shape[1])), ops.zeros(()))
        chunks = (self.columns(y), j, *(self.columns(each) for each in weights))
        (of_rows, *of_x), of_columns = scanned(chunk, start, chunks, len(weights) + trained)
        of_rows = of_rows[: self.count]
        gradients = ()
        if trained:
            of_y = ops.reshape(of_columns[-1], (-1, y.shape[1]))[: self.others]
            gradients = (of_x[0][: self.count], of_y, of_x[1])
        if not weights:
            return ops.sum(of_rows), gradients
        of_weight = 0.5 * (of_rows + ops.reshape(of_columns[0], (-1,))[: self.others])
        return ops.sum(weight * of_weight), (*gradients, of_weight) if trained else ()


def nothing(names, count) -> tuple:
    """What no block has said anything of yet."""
    return tuple(ops.full((count,), NEGATIVE if name == "log_sum" else 0.0) for name in names)


def together(names, some, others) -> tuple:
    """What two blocks say of the same rows or columns."""
    return tuple(
        ops.logaddexp(one, other) if name == "log_sum" else one + other
        for name, one, other in zip(names, some, others, strict=True)
    )
