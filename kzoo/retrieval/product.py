"""Product quantisation: each part of an embedding by the nearest of a few codewords."""

import warnings
from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import rows_of
from kzoo.arguments import AMOUNT, COUNT, whole
from kzoo.extras import require
from kzoo.retrieval.found import Found, best
from kzoo.retrieval.index import Index, refuse
from kzoo.types import Array

PARTS = 8
MOST = 256  # codewords of a part: a byte each
DECODED = 2**14  # rows that are made of their codewords at a time
LEARNT_FROM = 256  # rows for each codeword that k-means reads, no more


class ProductIndex(Index):
    """Embeddings cut into parts, of each part the number of its codeword: `parts` bytes a row.

    Queries are not quantised (asymmetric distances): `score = 1 - ||q - x||^2 / 2`, with `x` the row as its codewords
    say, which is the cosine where nothing is lost. Of a few queries the distances of each part to all codewords are
    looked up in a table, so that a row costs `parts` additions. Needs scikit-learn.

    Args:
        embeddings: float array `(n, dim)`, of any length.
        names: what each row is called, or None.
        parts: bytes of a code; must divide `dim`.
        codewords: of each part, up to 256, and no more than rows.
        seed: of k-means, which learns the codewords from these rows.

    Attributes:
        codebooks: float32 array `(parts, codewords, dim / parts)`.
        codes: uint8 array `(n, parts)`.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: no rows, one that is zero or not finite; parts that do not divide the channels.

    Example:
        >>> index = ProductIndex(model.encode_image(photos), parts=64)
        >>> kzoo.retrieval.recall(index.search(queries), kzoo.retrieval.ExactIndex(rows).search(queries))
        0.93

    Reference:
        Jegou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, 2011.
    """

    tensors: ClassVar[dict] = {"codes": ("u", 2), "codebooks": ("f", 3)}
    arguments: ClassVar[dict] = {"parts": COUNT, "codewords": whole(1, MOST), "seed": AMOUNT}

    def __init__(self, embeddings, names=None, parts=PARTS, codewords=MOST, seed=0):
        rows = rows_of(embeddings)
        if rows.shape[1] % parts:
            raise ValueError(f"parts is {parts}, which does not divide {rows.shape[1]} channels; choose a divisor.")
        split = rows.reshape(len(rows), parts, -1)
        codebooks = np.stack([_codewords(split[:, part], codewords, seed + part) for part in range(parts)])
        codes = np.stack([_nearest(split[:, part], codebooks[part]) for part in range(parts)], axis=1)
        self._settle(rows.shape[1], names, codes=codes, codebooks=codebooks)

    def _count(self) -> int:
        return len(self.codes)

    def reconstructed(self) -> Array:
        """The rows as their codes say, float32 `(n, dim)`."""
        parts = np.arange(self.codes.shape[1])
        return self.codebooks[parts, self.codes].reshape(len(self.codes), -1)

    def _search(self, rows, k) -> Found:
        few = len(rows) * self.codes.shape[1] < self.dim
        return best(1.0 - (self._looked_up(rows) if few else self._multiplied(rows)) / 2.0, k)

    def _looked_up(self, rows):
        """Squared distances by a table of those of each part to its codewords, for a few queries."""
        split = rows.reshape(len(rows), self.codes.shape[1], 1, -1)
        table = ((split - self.codebooks[None]) ** 2).sum(axis=-1)  # (queries, parts, codewords)
        distances = np.zeros((len(rows), len(self.codes)), "float32")
        for part, codes in enumerate(self.codes.T):
            distances += np.take(table[:, part], codes, axis=1)
        return distances

    def _multiplied(self, rows):
        """The same for many queries: a block of rows at a time is made of its codewords, once for all queries."""
        parts, found = np.arange(self.codes.shape[1]), []
        own = (rows**2).sum(axis=1)[:, None]
        for start in range(0, len(self.codes), DECODED):
            codes = self.codes[start : start + DECODED]
            block = self.codebooks[parts, codes].reshape(len(codes), -1)
            found.append(own + (block**2).sum(axis=1) - 2.0 * rows @ block.T)
        return np.concatenate(found, axis=1)

    def _check_loaded(self, path):
        parts, codewords, width = self.codebooks.shape
        if self.codes.shape[1] != parts or parts * width != self.dim or not len(self.codes):
            refuse(path, "codes")
        if int(self.codes.max()) >= codewords:
            raise ValueError(f"{path} has the codeword {int(self.codes.max())} of {codewords}; it is damaged.")


def _codewords(rows, count, seed) -> Array:
    """The centres of k-means, float32 `(codewords, width)`."""
    cluster = require("sklearn.cluster", "clusters", "Product quantisation")
    random = np.random.default_rng(seed)
    if len(rows) > LEARNT_FROM * count:
        rows = rows[np.sort(random.permutation(len(rows))[: LEARNT_FROM * count])]
    count = min(count, len(rows))
    with warnings.catch_warnings():  # of equal rows there are fewer clusters, which is as well
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        means = cluster.KMeans(count, n_init=1, random_state=int(random.integers(2**31))).fit(rows)
    return means.cluster_centers_.astype("float32")


def _nearest(rows, codewords) -> Array:
    """The number of the nearest codeword of each row, uint8."""
    found = np.empty(len(rows), "uint8")
    lengths = (codewords**2).sum(axis=1) / 2.0
    for start in range(0, len(rows), 2**14):
        found[start : start + 2**14] = (lengths - rows[start : start + 2**14] @ codewords.T).argmin(axis=1)
    return found
