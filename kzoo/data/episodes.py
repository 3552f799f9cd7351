"""Batches that are made up of classes or tasks in fixed numbers: episodes, rare classes, several tasks. In numpy."""

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, SHARE
from kzoo.data.samplers import _Groups


class Episodes(_Groups):
    """Batches that are episodes of few-shot learning: some classes, and of each some shots and some queries.

    The first `ways * shots` rows of a batch are the shots, class by class, then come the queries, class by class. The
    batch size is `ways * (shots + queries)`.

    Args:
        groups: int array `(rows,)`, the class of each row. Classes with fewer rows than an episode needs are left out.
        ways: classes of an episode.
        shots, queries: rows of each class.
        count: episodes of an epoch; default as many as there are batches of rows.

    Raises:
        ValueError: another batch size, or too few classes with enough rows.

    Example:
        >>> sampler = kzoo.data.Episodes(labels, ways=5, shots=1, queries=15)
        >>> data = kzoo.data.views({"images": images, "labels": labels}, steps, 80, views=1, sampler=sampler)

    Reference:
        Vinyals et al., Matching Networks, 2016, arXiv 1606.04080.
    """

    arguments = {"ways": COUNT, "shots": COUNT, "queries": AMOUNT, "count": COUNT}

    def __init__(self, groups, ways=5, shots=1, queries=15, count=None):
        super().__init__(groups)
        self.ways, self.shots, self.queries, self.count = ways, shots, queries, count

    def check(self, count, batch_size) -> None:
        super().check(count, batch_size)
        needed = self.shots + self.queries
        if batch_size != self.ways * needed:
            raise ValueError(
                f"batch_size is {batch_size}, but episodes of {self.ways} ways with {self.shots} shots and "
                f"{self.queries} queries have {self.ways * needed} rows; give that."
            )
        enough = int((self.sizes >= needed).sum())
        if enough < self.ways:
            raise ValueError(f"{enough} groups have {needed} rows or more, but an episode needs {self.ways}.")

    def count_batches(self, batch_size) -> int:
        return self.count or max(1, len(self.groups) // batch_size)

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`."""
        needed = self.shots + self.queries
        members = [rows for rows in self._members(random) if len(rows) >= needed]
        return [self._episode(members, needed, random) for _ in range(self.count_batches(batch_size))]

    def _episode(self, members, needed, random):
        ways = random.choice(len(members), self.ways, replace=False)
        rows = np.stack([random.choice(members[way], needed, replace=False) for way in ways])
        return np.concatenate([rows[:, : self.shots].reshape(-1), rows[:, self.shots :].reshape(-1)])


class InversePropensity(_Groups):
    """Draws rows of rare groups more often than there are of them, so that a long tail is learned too.

    A row is drawn with a probability in proportion to `size(group) ** -power`: 1 shows all groups alike, 0 all rows. No
    row stands twice in a batch, but may stand in several of an epoch.

    Args:
        groups: int array `(rows,)`.
        power: see above, from 0 to 1.
        propensities: float array `(rows,)`, how likely each row is to be there, in place of the sizes of the groups:
            drawn in proportion to `propensity ** -power`.

    Raises:
        ValueError: propensities that are none, or not one for each row.

    Example:
        >>> sampler = kzoo.data.InversePropensity(labels, power=0.5)
        >>> data = kzoo.data.pairs(source, model.preprocessor, 64, sampler=sampler)

    Reference:
        Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, 2018, arXiv 1805.00932 (square root); by
        propensity of each row: Miao et al., DebCSE, 2023, arXiv 2309.07396.
    """

    arguments = {"power": SHARE}

    def __init__(self, groups, power=1.0, propensities=None):
        super().__init__(groups)
        own = self.sizes[np.searchsorted(self.names, self.groups)] if propensities is None else propensities
        own = np.asarray(own, "float64")
        if own.shape != self.groups.shape or not (np.isfinite(own).all() and (own > 0.0).all()):
            raise ValueError(f"propensities have shape {own.shape}; give a positive number for each of the rows.")
        self.power, self.log_weights = power, -power * np.log(own)

    def check(self, count, batch_size) -> None:
        super().check(count, batch_size)
        if batch_size > count:
            raise ValueError(f"a batch_size of {batch_size} is more than the {count} rows; choose a smaller one.")

    def count_batches(self, batch_size) -> int:
        return len(self.groups) // batch_size

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`."""
        found = []
        for _ in range(self.count_batches(batch_size)):
            noise = self.log_weights + random.gumbel(size=len(self.groups))  # its largest are drawn without repetition
            found.append(random.permutation(np.argpartition(-noise, batch_size - 1)[:batch_size]))
        return found


class GroupShares(_Groups):
    """Batches with a fixed number of rows of each group: tasks side by side, old rows beside new ones, a background.

    Rows of a group stand together in a batch, in the order of the groups' numbers: with equal numbers,
    `InfoNCE(groups=tasks)` compares rows within a task only. An epoch lasts as long as the group that lasts longest;
    the others start over.

    Args:
        groups: int array `(rows,)`, the task of each row.
        rows: dict of a group and its rows in a batch; default as many of each, as the batch size says.

    Raises:
        ValueError: rows that do not fill a batch, of a group that there is not or that has fewer.

    Example:
        >>> sampler = kzoo.data.GroupShares(is_rehearsal, rows={0: 48, 1: 16})
        >>> data = kzoo.data.views(source, steps, 64, sampler=sampler)
    """

    def __init__(self, groups, rows=None):
        super().__init__(groups)
        self.rows = rows
        unknown = set(rows or ()) - set(self.names.tolist())
        if unknown:
            raise ValueError(f"rows name group {min(unknown)}, but there are only {self.names.tolist()}.")

    def check(self, count, batch_size) -> None:
        super().check(count, batch_size)
        wanted = self._wanted(batch_size)
        if sum(wanted) != batch_size or min(wanted) < 0:
            raise ValueError(
                f"a batch of {batch_size} rows cannot hold {dict(zip(self.names.tolist(), wanted))} of the groups; let "
                "them add up."
            )
        short = [name for name, size, rows in zip(self.names, self.sizes, wanted) if size < rows]
        if short:
            raise ValueError(f"group {short[0]} has fewer rows than a batch takes of it; take fewer.")

    def _wanted(self, batch_size):
        """Rows of each group in a batch."""
        if self.rows is None:
            return [batch_size // len(self.names)] * len(self.names)
        return [self.rows.get(name, 0) for name in self.names.tolist()]

    def count_batches(self, batch_size) -> int:
        return int(max(size // rows for size, rows in zip(self.sizes, self._wanted(batch_size)) if rows))

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`."""
        count, parts = self.count_batches(batch_size), []
        for members, rows in zip(self._members(random), self._wanted(batch_size)):
            whole = len(members) // rows * rows if rows else 0
            rounds = -(-count * rows // whole) if whole else 0
            # each round in its own order, cut to whole batches: no row stands twice in one
            drawn = [random.permutation(members)[:whole] for _ in range(rounds)]
            drawn = np.concatenate(drawn) if drawn else members[:0]
            parts.append(drawn[: count * rows].reshape(count, rows))
        return list(np.concatenate(parts, axis=1))
