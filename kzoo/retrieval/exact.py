"""The exact index: all embeddings, all cosines."""

from typing import ClassVar

from kzoo.adaptation.classifiers.arrays import rows_of
from kzoo.retrieval.found import Found, best
from kzoo.retrieval.index import Index, refuse


class ExactIndex(Index):
    """All embeddings as they are, compared one by one: what other indexes are measured by.

    Args:
        embeddings: float array `(n, dim)`, of any length.
        names: what each row is called, such as paths of pictures; or None.

    Raises:
        ValueError: no rows, one that is zero or not finite, another number of names.

    Example:
        >>> ExactIndex(model.encode_image(photos)).search(model.encode_text(["a cat"]), k=1).places
        array([[17]])
    """

    tensors: ClassVar[dict] = {"rows": ("f", 2)}

    def __init__(self, embeddings, names=None):
        rows = rows_of(embeddings)
        self._settle(rows.shape[1], names, rows=rows)

    def _count(self) -> int:
        return len(self.rows)

    def _search(self, rows, k) -> Found:
        return best(rows @ self.rows.T, k)

    def _check_loaded(self, path):
        if self.rows.shape[1] != self.dim:
            refuse(path, "rows")
