"""The rows that a search writes: their ids, which are finished, the sum of their log-probabilities."""

import numpy as np

from kzoo.decoding.processors import process
from kzoo.types import Array


class Rows:
    """`copies` rows for each picture, beside each other, that grow by one id at each position.

    Prefixes differ in length: where one is longer, its id is written whatever the decoder says, while the other rows
    choose.
    """

    def __init__(self, decoder, prefixes, copies, options):
        self.decoder, self.options, self.copies = decoder, options, copies
        self.prefixes = [np.asarray(prefix, "int32") for prefix in prefixes for _ in range(copies)]
        self.prefix_lengths = np.array([len(prefix) for prefix in self.prefixes])
        rows = len(self.prefixes)
        self.token_ids = np.full((rows, options.max_length), decoder.pad_id, "int32")
        self.finished = np.zeros(rows, bool)
        self.log_sums = np.zeros(rows)
        self.counts = np.zeros(rows, int)  # generated ids
        decoder.begin(copies, options.max_length)
        self.force(0)

    def force(self, position) -> None:
        """Write the ids of the prefixes that reach `position`."""
        for row in np.flatnonzero(self.prefix_lengths > position):
            self.token_ids[row, position] = self.prefixes[row][position]

    def step(self, position, parents=None) -> tuple:
        logits, states = self.decoder.step(self.token_ids, position, parents)
        return np.asarray(logits, "float32"), np.asarray(states, "float32")

    def choosing(self, position) -> Array:
        """The rows whose id at `position` is to be chosen: neither finished nor in their prefix."""
        return np.flatnonzero((self.prefix_lengths <= position) & ~self.finished)

    def process(self, logits, row, position) -> Array:
        """The processed logits of a row for its id at `position`, of which at least one is not banned."""
        scores = process(logits, self.token_ids[row, :position], self.options)
        if scores.max() == -np.inf:
            raise ValueError(
                f"at position {position} of picture {row // self.copies} no id is left: no_repeat_ngram="
                f"{self.options.no_repeat_ngram} and min_length={self.options.min_length} ban all; ease them, or lower "
                "max_length."
            )
        return scores

    def append(self, row, position, token_id, log_p) -> None:
        self.token_ids[row, position] = token_id
        self.log_sums[row] += log_p
        self.counts[row] += 1
        self.finished[row] = token_id == self.options.end_id

    def report(self, position) -> None:
        """Tell the caller which ids stand at `position` now."""
        if self.options.on_token is not None:
            self.options.on_token(self._of_captions(self.token_ids[:, position]))

    def result(self) -> tuple:
        """Token ids `(n, num_captions, max_length)`, and each row's mean log-probability `(n, num_captions)`."""
        token_ids = self._of_captions(self.token_ids)
        return token_ids, self._of_captions(self.log_sums / self.counts).astype("float32")

    def _of_captions(self, of_rows):
        """The first rows of each picture, one for each caption: a copy `(n, num_captions, ...)`."""
        return of_rows.reshape(-1, self.copies, *of_rows.shape[1:])[:, : self.options.num_captions].copy()
