"""A low-rank update of a layer that stays as it is, beside it."""

import math

import keras
from keras import ops

from kzoo.arguments import COUNT, FLAG, POSITIVE, RATE, number
from kzoo.keras_contact import untracked
from kzoo.layers.configured import Configured
from kzoo.layers.matrices import Matrix
from kzoo.types import Tensor

SMALLEST = 1e-12  # norm of a column that is divided by


@keras.saving.register_keras_serializable(package="kzoo")
class LowRank(Configured, keras.layers.Layer):
    """What is added to `y = x W + b`: `s (drop(x) A) B`, or what turns W into `m (W + s A B) / |W + s A B|`.

    Args:
        rank: r of A `(d_in, r)` and B `(r, d_out)`.
        alpha: s is `alpha / rank`.
        dropout: rate on `x` while training.
        rank_stabilized: s is `alpha / sqrt(rank)` in place of that.
        decomposed: a trained length of each column, `magnitude`, apart from its direction. The length of the column
            itself is a constant to the gradient, as in the paper.
        rate_ratio: what the learning rate of B is multiplied by.

    Inputs:
        x: float tensor `(..., d_in)`, what the layer got.
        y: float tensor `(..., d_out)`, what it gave.

    Returns:
        float tensor as `y`.

    Example:
        >>> update = LowRank(rank=4, alpha=8)
        >>> update.follow(matrix_of(dense))
        >>> y = dense(x) + update(x, dense(x))

    Reference:
        Hu et al., LoRA, 2021, arXiv 2106.09685; Kalajdzievski, rsLoRA, 2023, arXiv 2312.03732; Liu et al., DoRA, 2024,
        arXiv 2402.09353; Hayou et al., LoRA+, 2024, arXiv 2402.12354.
    """

    arguments = {
        "rank": COUNT,
        "alpha": POSITIVE,
        "dropout": RATE,
        "rank_stabilized": FLAG,
        "decomposed": FLAG,
        "rate_ratio": number(above=0),
    }

    merges = True  # into the kernel of the layer

    @staticmethod
    def fits(place) -> bool:
        """Whether it can stand at a place: beside a matrix."""
        return isinstance(place, Matrix)

    def __init__(self, rank, alpha, dropout=0.0, rank_stabilized=False, decomposed=False, rate_ratio=1.0, **kwargs):
        super().__init__(**kwargs)
        self.rank, self.rate_ratio = rank, rate_ratio
        self.scale = alpha / (math.sqrt(rank) if rank_stabilized else rank)
        self.dropout = keras.layers.Dropout(dropout, name="dropout") if dropout else None
        self.direction = Direction(dtype="float32", name="direction") if decomposed else None

    def follow(self, matrix) -> None:
        """Take the sides of a layer's matrix, a `kzoo.layers.matrices.Matrix`, and update that one."""
        untracked(self, "matrix", matrix)
        d_in, d_out = matrix.shape
        spread = keras.initializers.RandomUniform(-(d_in**-0.5), d_in**-0.5)  # torch's of a linear layer
        self.a = self.add_weight(name="a", shape=(d_in, self.rank), initializer=spread)
        self.b = self.add_weight(name="b", shape=(self.rank, d_out), initializer="zeros")
        once = {"shape": (), "dtype": "float32", "trainable": False, "autocast": False}
        self.weight = self.add_weight(name="weight", initializer="ones", **once)  # with which it is added
        self.merged = self.add_weight(name="merged", initializer="zeros", **once)  # with which the kernel has it
        if self.direction is not None:
            self.direction.follow(self.updated, matrix.columns, d_out)
        self.built = True

    def call(self, x, y) -> Tensor:
        if self.dropout is not None:
            x = self.dropout(x)
        low = self.scale * self.matrix.up(self.matrix.down(x, self.a), self.b)
        if self.direction is not None:
            low = self.direction(self.matrix.unbiased(y), low)
        return ops.cast(low, y.dtype) * ops.cast(self.added(), y.dtype)

    def added(self) -> Tensor:
        """With what it is added, a float32 scalar: 0 where the kernel has it."""
        merged, weight = (ops.convert_to_tensor(each) for each in (self.merged, self.weight))
        return ops.where(ops.equal(merged, 0.0), weight, 0.0)

    def trained(self) -> list:
        """The weights that are trained while it is added."""
        return [self.a, self.b] if self.direction is None else [self.a, self.b, self.direction.magnitude]

    def product(self) -> Tensor:
        """`s A B`, float32 tensor `(d_in, d_out)`."""
        return self.scale * ops.matmul(ops.cast(self.a, "float32"), ops.cast(self.b, "float32"))

    def delta(self) -> Tensor:
        """What it adds to the matrix at a weight of 1, float32 tensor `(d_in, d_out)`."""
        if self.direction is None:
            return self.product()
        return self.direction.factor() * self.updated() - ops.cast(self.matrix.kernel(), "float32")

    def updated(self) -> Tensor:
        """`W + s A B`, float32 tensor `(d_in, d_out)`."""
        return ops.cast(self.matrix.kernel(), "float32") + self.product()


class Direction(keras.layers.Layer):
    """The lengths of the columns of an updated matrix, in float32."""

    def follow(self, updated, columns, d_out) -> None:
        """Take the lengths of an updated matrix.

        Args:
            updated: function of nothing to it, `(d_in, d_out)`.
            columns: function of `(d_out,)` to that in the shape in which it multiplies what comes out of the layer.
            d_out: number of columns.
        """
        untracked(self, "updated", updated)
        untracked(self, "columns", columns)
        self.magnitude = self.add_weight(name="magnitude", shape=(d_out,), initializer="ones")
        # what the columns were multiplied by when they were merged
        self.factors = self.add_weight(name="factors", shape=(d_out,), initializer="ones", trainable=False)
        self.built = True
        self.begin()

    def begin(self) -> None:
        """The lengths that the columns have now."""
        self.magnitude.assign(self.lengths())

    def lengths(self) -> Tensor:
        """Of the columns of the updated matrix, float32 tensor `(d_out,)`."""
        return ops.maximum(ops.sqrt(ops.sum(ops.square(self.updated()), axis=0)), SMALLEST)

    def factor(self) -> Tensor:
        """What each column of the updated matrix is multiplied by, float32 tensor `(d_out,)`."""
        return self.magnitude / ops.stop_gradient(self.lengths())

    def call(self, unbiased, low) -> Tensor:
        factor = self.columns(self.factor())
        return (factor - 1.0) * unbiased + factor * low
