"""The kernels of `products` on torch: all that is of the size of a block's scores is written into the same memory.

To allocate it anew for each step costs more there than the arithmetic that fills it.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from kzoo.layers.numerics import NEGATIVE
from kzoo.layers.own_gradient_torch import recorded_gradients
from kzoo.types import Tensor


def softmax(softmax, x, y, block_size) -> tuple:
    """Of a `products.Softmax`: what it names of the rows, then of the columns, then `<x_i, y_i>` where asked for."""
    own = ((x * y[: len(x)]).sum(-1),) if softmax.own else ()
    return *_written().apply(SoftmaxKernel(softmax, block_size), x, y), *own


def sigmoid(x, y, bias, weight, positives, block_size) -> Tensor:
    """`products.sigmoid_sum`."""
    import torch

    inputs = (x, y, bias, weight)
    trained = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in inputs)
    return _written().apply(SigmoidKernel(positives, block_size, trained), *inputs)[0]


@cache
def _written() -> Any:
    import torch

    class Written(torch.autograd.Function):
        """A function of tensors whose gradient is written out: `kernel.forward` and `kernel.backward`. Where a second
        derivative may follow, the gradient is that of `kernel.at_once`."""

        @staticmethod
        def forward(context, kernel, *inputs):
            outputs, kept = kernel.forward(*inputs)
            context.kernel, context.count = kernel, len(inputs)
            context.save_for_backward(*inputs, *kept)
            return outputs

        @staticmethod
        def backward(context, *upstream):
            inputs, kept = context.saved_tensors[: context.count], context.saved_tensors[context.count :]
            if torch.is_grad_enabled():
                wanted = context.needs_input_grad[1:]
                return None, *recorded_gradients(context.kernel.at_once, inputs, wanted, upstream)
            return None, *context.kernel.backward(inputs, kept, upstream)

    return Written


class Blocks:
    """Blocks of rows of `x y^T`, each in the same memory.

    Args:
        x, y: tensors `(R, dim)` and `(C, dim)`.
        size: rows of a block.
        spare: arrays of the size of a block's scores beside them.
    """

    def __init__(self, x, y, size, spare):
        self.x, self.y, self.size = x, y, size
        self.memory = [x.new_empty(min(size, len(x)), len(y)) for _ in range(1 + spare)]

    def __iter__(self) -> Iterator:
        """`(rows, scores, *spare)` of each block: a slice, and views of the memory."""
        import torch

        for start in range(0, len(self.x), self.size):
            rows = slice(start, min(start + self.size, len(self.x)))
            scores, *spare = (each[: rows.stop - start] for each in self.memory)
            torch.mm(self.x[rows], self.y.T, out=scores)
            yield rows, scores, *spare

    def add_gradients(self, rows, of_scores, of_x, of_y) -> None:
        """What the gradient of a block's scores says of x, which is written, and of y, which is added."""
        import torch

        torch.mm(of_scores, self.y, out=of_x[rows])
        of_y.addmm_(of_scores.T, self.x[rows])


class SoftmaxKernel:
    """A `products.Softmax` of x and y.

    Args:
        softmax: a `products.Softmax`.
        size: rows of a block.
    """

    def __init__(self, softmax, size):
        self.softmax, self.size = softmax, size
        self.of_rows, self.of_columns = softmax.names

    def said(self, rows, count) -> Any:
        """What the tile says of a block of rows."""
        import torch

        given = {name: value[rows] for name, value in self.softmax.rows.items()}
        i, j = torch.arange(rows.start, rows.stop), torch.arange(count)
        i, j = (each.to(self.device, torch.int32) for each in (i, j))
        return self.softmax.tile(i, j, given, self.softmax.columns)

    def masked(self, scores, tile) -> Tensor:
        if tile.log_weight is not None:
            scores.add_(tile.log_weight)
        if tile.keep is not None:
            scores.masked_fill_(~tile.keep, NEGATIVE)
        return scores

    def forward(self, x, y) -> tuple:
        import torch

        self.device = x.device
        rows_say = {name: x.new_empty(len(x)) for name in self.of_rows}
        columns_say = {name: x.new_zeros(len(y)) for name in self.of_columns}
        if columns_say:
            columns_say["log_sum"].fill_(NEGATIVE)
        for rows, scores, spare in Blocks(x, y, self.size, 1):
            tile = self.said(rows, len(y))
            for says, axis, target in self.targets(tile, rows_say, columns_say):
                tz, ts = torch.mul(target, scores, out=spare).sum(axis), target.sum(axis)
                if axis == 1:
                    says["tz"][rows], says["ts"][rows] = tz, ts
                else:
                    says["tz"].add_(tz)
                    says["ts"].add_(ts)
            self.masked(scores, tile)
            if rows_say:
                rows_say["log_sum"][rows] = log_sum(scores, 1, spare)
            if columns_say:
                of_all = columns_say["log_sum"]
                torch.logaddexp(of_all, log_sum(scores, 0, spare), out=of_all)
        outputs = (*rows_say.values(), *columns_say.values())
        return outputs, [each["log_sum"] for each in (rows_say, columns_say) if each]

    def at_once(self, x, y) -> tuple:
        """The same, of all scores."""
        return self.softmax.values(x, y)

    def targets(self, tile, rows_say, columns_say) -> list:
        """`(what is said, axis that is summed, target)` of each direction that has targets."""
        if not self.softmax.targets:
            return []
        column_target = tile.target if tile.column_target is None else tile.column_target
        sides = ((rows_say, 1, tile.target), (columns_say, 0, column_target))
        return [side for side in sides if side[0]]

    def backward(self, inputs, sums, upstream) -> tuple:
        import torch

        x, y = inputs
        self.device = x.device
        of_rows = dict(zip(self.of_rows, upstream))
        of_columns = dict(zip(self.of_columns, upstream[len(self.of_rows) :]))
        of_x, of_y = torch.empty_like(x), torch.zeros_like(y)
        blocks = Blocks(x, y, self.size, 1)
        for rows, scores, gradient in blocks:
            tile = self.said(rows, len(y))
            self.masked(scores, tile)
            if of_rows:
                torch.sub(scores, sums[0][rows, None], out=gradient).exp_().mul_(of_rows["log_sum"][rows, None])
            if of_columns:
                scores.sub_(sums[-1]).exp_().mul_(of_columns["log_sum"])
                gradient = gradient.add_(scores) if of_rows else scores
            for up, axis, target in self.targets(tile, of_rows, of_columns):
                gradient.addcmul_(target, up["tz"][rows, None] if axis == 1 else up["tz"])
            blocks.add_gradients(rows, gradient, of_x, of_y)
        return of_x, of_y


class SigmoidKernel:
    """`products.sigmoid_sum`, whose gradients are there as soon as its value is.

    Args:
        positives: bool `(batch, batch)`, or None.
        size: rows of a block.
        trained: whether gradients are asked for.
    """

    def __init__(self, positives, size, trained):
        self.positives, self.size, self.trained = positives, size, trained

    def turned(self, scores, rows) -> Tensor:
        """Scores, or anything of their shape, with the other sign where j belongs to i."""
        if self.positives is None:
            scores[:, rows].diagonal().neg_()
        else:
            scores.mul_(1.0 - 2.0 * self.positives[rows])
        return scores

    def forward(self, x, y, bias, weight) -> tuple:
        import torch

        of_rows, of_columns = x.new_empty(len(x)), x.new_zeros(len(y))
        of_x, of_y, of_bias = torch.empty_like(x), torch.zeros_like(y), x.new_zeros(())
        blocks = Blocks(x, y, self.size, 2)
        for rows, scores, answers, spare in blocks:
            self.turned(scores.add_(bias), rows)
            torch.abs(scores, out=answers).neg_().exp_().log1p_().add_(torch.clamp(scores, min=0.0, out=spare))
            of_rows[rows] = answers.sum(1)
            if weight is not None:
                of_columns += answers.sum(0)
            if self.trained:
                gradient = self.turned(scores.sigmoid_(), rows)
                if weight is not None:
                    gradient.mul_(torch.add(weight[rows, None], weight, out=spare).mul_(0.5))
                blocks.add_gradients(rows, gradient, of_x, of_y)
                of_bias += gradient.sum()
        if weight is None:
            return (of_rows.sum(),), (of_x, of_y, of_bias) if self.trained else ()
        of_weight = 0.5 * (of_rows + of_columns)
        return ((weight * of_weight).sum(),), (of_x, of_y, of_bias, of_weight) if self.trained else ()

    def at_once(self, x, y, bias, weight) -> tuple:
        """The value, of all scores."""
        import torch

        answers = torch.nn.functional.softplus(self.turned(x @ y.T + bias, slice(0, len(x))))
        if weight is None:
            return (answers.sum(),)
        return ((0.5 * (weight[:, None] + weight) * answers).sum(),)

    def backward(self, inputs, kept, upstream) -> tuple:
        gradients = [upstream[0] * each for each in kept]
        return (*gradients, *[None] * (4 - len(gradients)))


def log_sum(scores, axis, spare) -> Tensor:
    """`log sum exp` along an axis, by way of an array of the scores' size."""
    import torch

    largest = scores.amax(axis, keepdim=True)
    total = torch.sub(scores, largest, out=spare).exp_().sum(axis)
    return total.log_().add_(largest.squeeze(axis))
