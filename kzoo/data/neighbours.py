"""Batches of rows near each other, by place or by embedding: negatives that are hard to tell apart. In numpy."""

import numpy as np

from kzoo.arguments import COUNT, Checked
from kzoo.types import Array

BLOCK = 1024  # rows whose distances to all are held at a time


class _Neighbours(Checked):
    """Batches that are filled with rows and their neighbours.

    Rows are taken in random order; each brings some of its neighbours along, half of them the nearest, half drawn from
    the next ones, as far as they are not in a batch of the epoch yet.

    Args:
        count: rows of the set.
        neighbours: how many a row brings along.
        pool: nearest rows that they are drawn from.
    """

    arguments = {"neighbours": COUNT, "pool": COUNT}

    def __init__(self, count, neighbours, pool):
        pool = 2 * neighbours if pool is None else pool
        if not 1 <= neighbours <= pool:
            raise ValueError(f"neighbours is {neighbours} and pool {pool}; give 1 <= neighbours <= pool.")
        if count < 2:
            raise ValueError(f"there are {count} rows, which have no neighbours; give at least two.")
        self.count, self.neighbours, self.pool = count, neighbours, min(pool, count - 1)
        self._table = None

    def distances(self, rows) -> Array:
        """float array `(len(rows), rows of the set)`, the smaller the nearer."""
        raise NotImplementedError(f"{type(self).__name__} does not say how far rows are; define `distances(rows)`.")

    @property
    def table(self) -> Array:
        """int32 array `(rows, pool)`, the nearest of each row, in order; found once."""
        if self._table is None:
            found = []
            for start in range(0, self.count, BLOCK):
                rows = np.arange(start, min(start + BLOCK, self.count))
                far = np.array(self.distances(rows), "float64")
                far[np.arange(len(rows)), rows] = np.inf  # a row is no neighbour of its own
                near = np.argpartition(far, self.pool - 1, axis=1)[:, : self.pool]
                order = np.argsort(np.take_along_axis(far, near, axis=1), axis=1, kind="stable")
                found.append(np.take_along_axis(near, order, axis=1).astype("int32"))
            self._table = np.concatenate(found)
        return self._table

    def check(self, count, batch_size) -> None:
        """Stops with a sentence where the sampler is for another number of rows."""
        if count != self.count:
            raise ValueError(f"the sampler knows {self.count} rows but the set has {count}; give one for each row.")

    def count_batches(self, batch_size) -> int:
        return self.count // batch_size

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`; what fills no batch is left out."""
        order, used = [], np.zeros(self.count, "bool")
        nearest = self.neighbours // 2
        for row in random.permutation(self.count):
            if used[row]:
                continue
            pool = self.table[row]
            drawn = random.permutation(pool[nearest:])[: self.neighbours - nearest]
            group = np.concatenate([[row], pool[:nearest], drawn])
            group = group[~used[group]]
            used[group] = True
            order.append(group)
        order = np.concatenate(order)
        count = self.count_batches(batch_size)
        found = order[: count * batch_size].reshape(count, batch_size)
        return [random.permutation(found[place]) for place in random.permutation(count)]


class NearLocations(_Neighbours):
    """Batches of places near each other on the earth: what looks alike there is a hard negative (Sample4Geo).

    Args:
        coordinates: float array `(rows, 2)`, longitude and latitude in degrees.
        neighbours: how many rows each brings along, half of them the nearest.
        pool: nearest rows that the other half is drawn from; default twice as many.

    Raises:
        ValueError: coordinates that are none, or numbers that do not go together.

    Example:
        >>> sampler = kzoo.data.NearLocations(coordinates, neighbours=32)
        >>> data = kzoo.data.pairs(source, model.preprocessor, 128, sampler=sampler)

    Reference:
        Deuser et al., Sample4Geo, 2023, arXiv 2303.11851.
    """

    def __init__(self, coordinates, neighbours=64, pool=None):
        coordinates = np.asarray(coordinates, "float64")
        latitudes = coordinates[:, 1] if coordinates.ndim == 2 and coordinates.shape[1] == 2 else np.array([np.nan])
        if not (np.isfinite(coordinates).all() and (np.abs(latitudes) <= 90.0).all()):
            raise ValueError(
                f"coordinates of shape {coordinates.shape} are no places; give longitude and latitude in degrees, "
                "(rows, 2)."
            )
        self.longitudes, self.latitudes = np.radians(coordinates).T
        super().__init__(len(coordinates), neighbours, pool)

    def distances(self, rows) -> Array:
        """Haversines of the angles between places, which grow with their distance."""
        east = np.sin((self.longitudes[rows, None] - self.longitudes) / 2.0) ** 2
        north = np.sin((self.latitudes[rows, None] - self.latitudes) / 2.0) ** 2
        return north + np.cos(self.latitudes[rows, None]) * np.cos(self.latitudes) * east


class NearEmbeddings(_Neighbours):
    """Batches of rows whose embeddings are near each other, such as those of the model after an epoch.

    Args:
        embeddings: float array `(rows, dim)`; any length, they are normalised.
        others: float array `(rows, dim)` of the other side of pairs, whose rows are then the neighbours; default the
            embeddings themselves.
        neighbours: how many rows each brings along, half of them the nearest.
        pool: nearest rows that the other half is drawn from; default twice as many.

    Raises:
        ValueError: embeddings of another shape, or numbers that do not go together.

    Example:
        >>> sampler = kzoo.data.NearEmbeddings(model.encode_image(images), neighbours=32)
        >>> data = kzoo.data.pairs(source, model.preprocessor, 128, sampler=sampler)

    Reference:
        Deuser et al., Sample4Geo, 2023, arXiv 2303.11851 (dynamic similarity sampling).
    """

    def __init__(self, embeddings, others=None, neighbours=64, pool=None):
        embeddings = np.asarray(embeddings, "float32")
        others = embeddings if others is None else np.asarray(others, "float32")
        if embeddings.ndim != 2 or embeddings.shape != others.shape or not np.isfinite([embeddings, others]).all():
            raise ValueError(
                f"embeddings {embeddings.shape} and others {others.shape} do not go together; give finite numbers "
                "(rows, dim) of both."
            )
        self.embeddings, self.others = (
            each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (embeddings, others)
        )
        super().__init__(len(embeddings), neighbours, pool)

    def distances(self, rows) -> Array:
        """Cosines, the other way around."""
        return -(self.embeddings[rows] @ self.others.T)
