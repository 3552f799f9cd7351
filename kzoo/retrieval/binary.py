"""Binary codes: one bit a channel, compared by how many bits differ."""

from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import rows_of
from kzoo.arguments import AMOUNT, COUNT, FLAG
from kzoo.retrieval.found import Found, best
from kzoo.retrieval.index import BLOCK, Index, refuse
from kzoo.types import Array

WORD = 64  # bits that are compared at a time


class BinaryIndex(Index):
    """Signs of embeddings, packed into bits: a 32nd of the room of floats.

    Candidates are those at the smallest Hamming distance `h` from the code of a query; the best of them are found by
    the query's own numbers, `<q, 2 code - 1> / (||q|| sqrt(bits))`. Of a trained `BinaryCode` the index takes kernel
    and bias, so that embeddings are given as they are, to it as to any other index.

    Args:
        embeddings: float array `(n, dim)`, of any length.
        names: what each row is called, or None.
        kernel: float array `(dim, bits)`, what makes the channels whose signs are taken; None: embeddings themselves.
        bias: float array `(bits,)`; None: zeros.
        centre: take signs around the mean of the rows. For embeddings that share most of their length, as CLIP's do,
            and queries of the same modality.
        rerank: candidates for each that is asked for, found by Hamming distance alone; 0: the order is theirs, and the
            scores are `1 - 2 h / bits`.

    Raises:
        ValueError: no rows, one that is zero or not finite; kernel or bias of another shape, or a centre beside them.

    Example:
        >>> index = BinaryIndex(model.encode_image(photos))
        >>> index.nbytes / model.encode_image(photos).nbytes
        0.03125

    Reference:
        Codes that are trained: Grzegorczyk and Kurdziel, Binary Paragraph Vectors, 2016, arXiv 1611.01116; candidates
        by bits and their order by floats, as its Real-Binary model has it.
    """

    tensors: ClassVar[dict] = {"codes": ("u", 2), "kernel": ("f", 2), "bias": ("f", 1)}
    numbers: ClassVar[dict] = Index.numbers | {"bits": COUNT, "rerank": AMOUNT}
    arguments: ClassVar[dict] = {"centre": FLAG, "rerank": AMOUNT}

    def __init__(self, embeddings, names=None, kernel=None, bias=None, centre=False, rerank=4):
        rows = rows_of(embeddings)
        if centre and (kernel is not None or bias is not None):
            raise ValueError("centre=True is for signs of embeddings themselves; a kernel has a bias in its place.")
        kernel = np.zeros((rows.shape[1], 0), "float32") if kernel is None else _floats("kernel", kernel, 2)
        bits = kernel.shape[1] or rows.shape[1]
        if bias is None:
            bias = -rows.mean(axis=0) if centre else np.zeros(bits, "float32")
        bias = _floats("bias", bias, 1)
        if kernel.shape[0] != rows.shape[1] or bias.shape != (bits,):
            raise ValueError(
                f"kernel has shape {kernel.shape} and bias {bias.shape} for {rows.shape[1]} channels; give (dim, bits) "
                "and (bits,)."
            )
        vars(self).update(kernel=kernel, bias=bias)
        codes = packed(self._values(rows) > 0)
        self._settle(rows.shape[1], names, codes=codes, kernel=kernel, bias=bias, bits=bits, rerank=int(rerank))

    def _values(self, rows):
        return (rows @ self.kernel if self.kernel.size else rows) + self.bias

    def _count(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return self.codes.nbytes

    def _search(self, rows, k) -> Found:
        values = self._values(rows)
        distances = hamming(packed(values > 0), self.codes)
        if not self.rerank:
            return best(1.0 - 2.0 / self.bits * distances, k)
        count = min(len(self), max(k, self.rerank * k))
        places = best(-distances, count).places  # (queries, candidates)
        signs = 2.0 * np.unpackbits(self.codes[places], axis=-1, count=self.bits) - 1.0
        lengths = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12) * np.sqrt(self.bits)
        return best(np.einsum("qd,qcd->qc", values, signs.astype("float32")) / lengths, k, places)

    def _check_loaded(self, path):
        if self.codes.shape[1] != -(-self.bits // WORD) * WORD // 8 or self.bias.shape != (self.bits,):
            refuse(path, "codes")
        if self.kernel.shape not in ((self.dim, 0), (self.dim, self.bits)):
            refuse(path, "kernel")


def packed(bits) -> Array:
    """Bools `(n, bits)` as bytes, filled up with zeros to whole words: uint8 `(n, 8 ceil(bits / 64))`.

    Example:
        >>> packed(np.array([[True, False, True]]))[0]
        array([160, 0, 0, 0, 0, 0, 0, 0], dtype=uint8)
    """
    room = -(-bits.shape[1] // WORD) * WORD
    return np.packbits(np.pad(bits, ((0, 0), (0, room - bits.shape[1]))), axis=1)


def hamming(one, other) -> Array:
    """How many bits differ, int64 `(n, m)`, between packed codes `(n, bytes)` and `(m, bytes)`."""
    words = [np.ascontiguousarray(each).view("uint64") for each in (one, other)]
    found = np.empty((len(one), len(other)), "int64")
    size = max(1, BLOCK // max(1, words[1].size))
    for start in range(0, len(one), size):
        differing = words[0][start : start + size, None] ^ words[1][None]  # (queries, rows, words)
        found[start : start + size] = np.bitwise_count(differing).sum(axis=-1)
    return found


def _floats(name, value, dimensions):
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.ndim != dimensions or not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; give a float array that is finite.")
    return array.astype("float32")
