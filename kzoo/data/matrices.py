"""Numbers that a loss reads of each pair of rows in a batch: weights, edges, likeness. In numpy."""

import numpy as np

from kzoo.shown import AsCalled
from kzoo.types import Array


class Lookup(AsCalled):
    """A matrix over all rows of a data set, of which a batch gets its own rows and columns.

    Args:
        matrix: array `(rows, rows)`: scores, positives, edges.

    Raises:
        ValueError: no square matrix of numbers.

    Example:
        >>> kzoo.data.views(images, steps, 64, matrices={"positives": Lookup(tree_similarity)})
    """

    def __init__(self, matrix):
        matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "biuf":
            raise ValueError(f"the matrix is {matrix.dtype} of shape {matrix.shape}; give numbers (rows, rows).")
        self.matrix, self.count = matrix, len(matrix)

    def __call__(self, rows) -> Array:
        """float32 array `(batch, batch)` for the numbers of the rows of a batch."""
        return self.matrix[np.ix_(rows, rows)].astype("float32")


class Separations(AsCalled):
    """In how many of several clusterings two rows fall into different clusters: the `weights` of `WeightedInfoNCE`.

    Args:
        assignments: int array `(runs, rows)`, such as `kzoo.data.clusterings` gives, or `(rows,)` of one run.

    Raises:
        ValueError: assignments of another shape, or that are no whole numbers.

    Example:
        >>> Separations([[0, 0, 1], [0, 1, 1]])([0, 1, 2])
        array([[0., 1., 2.], [1., 0., 1.], [2., 1., 0.]], dtype=float32)

    Reference:
        Yu et al., MEOW, 2022, arXiv 2212.13847.
    """

    def __init__(self, assignments):
        self.assignments = np.atleast_2d(np.asarray(assignments))
        if self.assignments.ndim != 2 or self.assignments.dtype.kind not in "iu":
            raise ValueError(
                f"assignments are {self.assignments.dtype} of shape {self.assignments.shape}; give whole numbers of "
                "shape (runs, rows)."
            )
        self.count = self.assignments.shape[1]

    def __call__(self, rows) -> Array:
        """float32 array `(batch, batch)` for the numbers of the rows of a batch."""
        chosen = self.assignments[:, rows]
        return (chosen[:, :, None] != chosen[:, None, :]).sum(axis=0).astype("float32")


class Likeness(AsCalled):
    """How alike two rows are by features of them, `(1 + cosine) / 2`: `weights` of `ContinuouslyWeightedContrastive`.

    Args:
        features: float array `(rows, dim)`, of a model that is trained already; any length.

    Raises:
        ValueError: features of another shape.

    Example:
        >>> Likeness(np.eye(2))([0, 1])
        array([[1. , 0.5], [0.5, 1. ]], dtype=float32)

    Reference:
        Srinivasa et al., CWCL, 2023, arXiv 2309.14580.
    """

    def __init__(self, features):
        features = np.asarray(features, "float32")
        if features.ndim != 2:
            raise ValueError(f"features have shape {features.shape}; give (rows, dim).")
        self.features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        self.count = len(features)

    def __call__(self, rows) -> Array:
        """float32 array `(batch, batch)` for the numbers of the rows of a batch."""
        chosen = self.features[rows]
        return ((1.0 + chosen @ chosen.T) / 2.0).astype("float32")


class Edges(AsCalled):
    """The edges between the rows of a batch in a graph that is too large for a matrix: `adjacency`.

    Args:
        edges: int array `(edges, 2)`, the rows at both ends; each edge goes both ways.
        count: rows of the data set.
        weights: float array `(edges,)`; default 1. Of an edge that is given twice the last counts.

    Raises:
        ValueError: edges of another shape, or between rows that there are not.

    Example:
        >>> Edges([[0, 1], [1, 2]], count=3)([2, 1])
        array([[0., 1.], [1., 0.]], dtype=float32)

    Reference:
        Kulatilleke et al., PamC, 2022, arXiv 2209.14067.
    """

    def __init__(self, edges, count, weights=None):
        edges = np.asarray(edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
            raise ValueError(f"edges are {edges.dtype} of shape {edges.shape}; give whole numbers of shape (edges, 2).")
        if len(edges) and not (edges.min() >= 0 and edges.max() < count):
            raise ValueError(f"edges name rows from {edges.min()} to {edges.max()}, but there are {count} rows.")
        weights = np.ones(len(edges), "float32") if weights is None else np.asarray(weights, "float32")
        if weights.shape != (len(edges),):
            raise ValueError(f"there are {len(edges)} edges but weights of shape {weights.shape}; give one for each.")
        ends = (
            np.stack([edges, edges[:, ::-1]], axis=1).reshape(-1, 2)[::-1].astype("int64")
        )  # the first of a code counts
        self.codes, places = np.unique(ends[:, 0] * count + ends[:, 1], return_index=True)
        self.weights, self.count = weights.repeat(2)[::-1][places], count

    def __call__(self, rows) -> Array:
        """float32 array `(batch, batch)` for the numbers of the rows of a batch."""
        rows = np.asarray(rows, "int64")
        codes = rows[:, None] * self.count + rows[None, :]
        if not len(self.codes):
            return np.zeros(codes.shape, "float32")
        places = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        return np.where(self.codes[places] == codes, self.weights[places], 0.0).astype("float32")


def check_matrices(matrices, count) -> None:
    """Stops with a sentence where matrices are for another number of rows."""
    for name, matrix in (matrices or {}).items():
        if matrix.count != count:
            raise ValueError(f"{name!r} is for {matrix.count} rows, but the set has {count}; give one for each row.")
