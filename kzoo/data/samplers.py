"""What rows may stand together in a batch, by the group of each: clusters of pictures, topics, labels. In numpy."""

import numpy as np

from kzoo.arguments import Checked


class _Groups(Checked):
    """A number for each row of a data set, and batches that are drawn by it.

    Args:
        groups: int array `(rows,)`, for instance the clusters of a k-means on earlier embeddings.
    """

    def __init__(self, groups):
        groups = np.asarray(groups)
        if groups.ndim != 1 or groups.dtype.kind not in "iu":
            raise ValueError(
                f"groups are {groups.dtype} of shape {groups.shape}; give one whole number for each row of the set."
            )
        self.groups = groups
        self.names, self.sizes = np.unique(groups, return_counts=True)

    def check(self, count, batch_size) -> None:
        """Stops with a sentence where the groups do not fit a data set of `count` rows."""
        if len(self.groups) != count:
            raise ValueError(f"there are {len(self.groups)} groups but {count} rows; give one number for each row.")

    def _members(self, random):
        """The rows of each group, in random order."""
        by_group = np.argsort(self.groups, kind="stable")
        return [random.permutation(rows) for rows in np.split(by_group, np.cumsum(self.sizes)[:-1])]


class SameGroup(_Groups):
    """Batches whose rows share a group: negatives that are hard to tell apart (MCL).

    What does not fill a batch of its group is left out of that epoch.

    Args:
        groups: int array `(rows,)`.

    Raises:
        ValueError: a group with fewer rows than a batch, which would never be trained on.

    Example:
        >>> clusters = KMeans(16).fit_predict(model.encode_image(images))
        >>> kzoo.data.pairs(source, model.preprocessor, 64, sampler=kzoo.data.SameGroup(clusters))

    Reference:
        Zhang et al., MCL, 2024, arXiv 2402.11816.
    """

    def check(self, count, batch_size) -> None:
        super().check(count, batch_size)
        if self.sizes.min() < batch_size:
            raise ValueError(
                f"group {self.names[self.sizes.argmin()]} has {self.sizes.min()} rows, fewer than the batch_size of "
                f"{batch_size}, and would never be trained on; choose a smaller batch_size, or fewer groups."
            )

    def count_batches(self, batch_size) -> int:
        return int((self.sizes // batch_size).sum())

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`."""
        found = []
        for rows in self._members(random):
            found += list(rows[: len(rows) // batch_size * batch_size].reshape(-1, batch_size))
        return [found[place] for place in random.permutation(len(found))]


class DistinctGroups(_Groups):
    """Batches in which no two rows are of one group, so that none is another's false negative (G-SimCLR).

    An epoch has as many batches as that allows. Of a group with more rows than batches, others are left out each
    epoch.

    Args:
        groups: int array `(rows,)`.

    Raises:
        ValueError: fewer groups than rows of a batch.

    Example:
        >>> clusters = KMeans(512).fit_predict(features)
        >>> kzoo.data.views(images, steps, 256, sampler=kzoo.data.DistinctGroups(clusters))

    Reference:
        Chakraborty et al., G-SimCLR, 2020, arXiv 2009.12007.
    """

    def check(self, count, batch_size) -> None:
        super().check(count, batch_size)
        if len(self.names) < batch_size:
            raise ValueError(
                f"there are {len(self.names)} groups, but a batch of {batch_size} rows needs as many; choose a smaller "
                "batch_size, or more groups."
            )

    def count_batches(self, batch_size) -> int:
        least, most = 0, len(self.groups) // batch_size
        while least < most:  # what suffices for some number of batches suffices for any smaller one
            count = (least + most + 1) // 2
            enough = np.minimum(self.sizes, count).sum() >= count * batch_size
            least, most = (count, most) if enough else (least, count - 1)
        return least

    def batches(self, batch_size, random) -> list:
        """The batches of an epoch, int arrays `(batch_size,)`."""
        count = self.count_batches(batch_size)
        members = self._members(random)
        kept = np.concatenate([members[place][:count] for place in random.permutation(len(members))])
        surplus = random.choice(len(kept), len(kept) - count * batch_size, replace=False)
        kept = np.delete(kept, surplus)
        # rows of a group lie side by side, at most `count` of them: dealt out in turn, no batch gets two
        return [random.permutation(kept[start::count]) for start in range(count)]
