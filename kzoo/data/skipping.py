"""Rows that cannot be read: an error, or left out and listed."""

import threading
import warnings
from typing import Any

import numpy as np

NOTED = threading.Lock()  # threads find the same problem of a shard at once
LISTED = 5  # broken rows that a message spells out


def listed(broken, said="rows of the source cannot be used") -> str:
    """What is broken in one sentence: how many there are, and the first of them.

    Example:
        >>> listed(["row 3: the caption is empty"])
        '1 rows of the source cannot be used: row 3: the caption is empty.'
    """
    shown = "; ".join(each.rstrip(".") for each in broken[:LISTED])
    more = f"; and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
    return f"{len(broken)} {said}: {shown}{more}."


class Skipping:
    """What data sets do with rows that turn out unreadable.

    Attributes:
        skip_broken: whether they are left out; otherwise they are an error.
        broken: a sentence for each row that could not be used so far.
    """

    opened = None  # numbers of the rows that can be read, once all were tried

    def read_rows(self, chosen, random, read) -> list:
        """What `read(number, random)` gives for each row that can be read, a list.

        Where rows are drawn at random, others that are not in the batch take the places of those that are left out;
        where they stand in order or a sampler chose them, the batch is smaller.

        Raises:
            ValueError: a row that cannot be read, unless those are skipped; too few that can be.
        """
        found = [each for number in chosen for each in self._read(int(number), random, read)]
        if len(found) < len(chosen) and self.shuffle and self.sampler is None:
            _, epoch, index = random.bit_generator.seed_seq.entropy
            part, parts = self.part  # other processes take others for theirs
            others = np.setdiff1d(self.rows_read, self._chosen(epoch, index))[part::parts]
            (own,) = random.spawn(1)  # what is drawn for the other rows stays as it is
            for number in own.permutation(others):
                found += self._read(int(number), random, read)
                if len(found) == len(chosen):
                    break
        self.check_enough(found, chosen)
        return found

    def check_enough(self, found, chosen) -> None:
        """Stops where too few of the rows of a batch can be read."""
        if len(found) < min(2 if self.shuffle else 1, len(chosen)):  # one alone has nothing to be told apart from
            raise ValueError(
                f"{len(found)} of the {len(chosen)} {self.noun}s of a batch can be read, too few to go on without the "
                f"rest; the first that cannot: {self.broken[0]}"
            )

    def left_out(self, problem) -> None:
        """Say that a row is left out, when it is found."""
        warnings.warn(f"{problem} It is left out.", stacklevel=2)

    def readable_rows(self) -> Any:
        """Numbers of the rows that can be read: all, unless broken ones are skipped, for which each is tried once."""
        if not self.skip_broken:
            return self.rows_read
        if self.opened is None:
            opened = [number for number in self.rows_read if self._read(int(number), None, self.open)]
            self.opened = np.array(opened, int)
        return self.opened

    def open(self, number, random=None) -> None:
        """Stops with a sentence where what a row is made of cannot be read."""

    def _read(self, number, random, read):
        """A list of what a row gives; an empty one where it is skipped."""
        try:
            return [read(number, random)]
        except ValueError as error:
            problem = str(error)
            if not self.skip_broken:
                raise ValueError(f"{problem} Mend the source, or go on without it: skip_broken=True.") from error
        with NOTED:
            new = problem not in self.broken
            if new:
                self.broken.append(problem)
        if new:
            self.left_out(problem)
        return []
