"""Beam search: the likeliest few beginnings of each picture's caption are kept at each position."""

import numpy as np

from kzoo.decoding.processors import largest, log_normaliser, process
from kzoo.decoding.rows import Rows
from kzoo.types import Array


def beam(decoder, prefixes, options) -> tuple[Array, Array]:
    """The captions with the highest sum of log p over n^length_penalty among those that `num_beams` beams find.

    At each position the ways on of a picture's beams, ended ones included, are put in order of their sum of log p. A
    caption ends if its end stands among the first `num_beams` of them; the best `num_beams` others go on. A picture
    is done when no beam can come to beat the captions it has, so that with beams enough the best caption of all is
    found. At `max_length` the beams are captions as they are.
    """
    pictures, width = len(prefixes), options.num_beams
    rows = Rows(decoder, prefixes, width, options)
    searches = [_Picture(rows, picture, width) for picture in range(pictures)]
    own = np.arange(pictures * width)
    parents = None
    for position in range(1, options.max_length):
        logits, _ = rows.step(position - 1, parents)
        rows.force(position)
        parents = own.copy()
        for search in searches:
            if not search.done and search.prefix_length <= position:
                parents[search.rows] = search.advance(logits[search.rows], position)
        parents = None if np.array_equal(parents, own) else parents
        if all(search.done for search in searches):
            break
    return _result(rows, [search.captions() for search in searches])


def _result(rows, captions):
    """The captions of all pictures, each a list of score and ids, as `generate` returns them."""
    wanted, options = rows.options.num_captions, rows.options
    token_ids = np.full((len(captions), wanted, options.max_length), rows.decoder.pad_id, "int32")
    scores = np.empty((len(captions), wanted), "float32")
    for picture, found in enumerate(captions):
        if len(found) < wanted:
            raise ValueError(
                f"picture {picture} has {len(found)} captions under these options, but num_captions is {wanted}; ease "
                "no_repeat_ngram or min_length, or ask for fewer."
            )
        for place, (score, ids) in enumerate(found):
            scores[picture, place] = score
            token_ids[picture, place, : len(ids)] = ids
    return token_ids, scores


class _Picture:
    """The beams of one picture, and the best captions that have ended: as many as are wanted."""

    def __init__(self, rows, picture, width):
        self.options, self.width = rows.options, width
        self.rows = slice(picture * width, (picture + 1) * width)
        self.token_ids = rows.token_ids[self.rows]  # a view: what is written here stands in the rows
        self.prefix_length = int(rows.prefix_lengths[picture * width])
        self.log_sums = np.full(width, -np.inf)  # -inf is a beam that is none
        self.log_sums[0] = 0.0  # all beams begin alike
        self.ended, self.done = [], False

    def advance(self, logits, position) -> Array:
        """Write an id at `position` of each beam; returns the row whose past each goes on from."""
        beams, ids, totals = self._ways_on(logits, position)
        order = np.argsort(-totals, kind="stable")  # of equal ones the earlier beam, then the smaller id
        is_end = ids[order] == self.options.end_id
        for way in order[: self.width][is_end[: self.width]]:
            self._end(totals[way], np.append(self.token_ids[beams[way], :position], ids[way]))
        going = order[~is_end][: self.width]
        parents = np.arange(self.width)
        parents[: going.size] = beams[going]
        self.token_ids[:] = self.token_ids[parents]
        self.token_ids[: going.size, position] = ids[going]
        self.log_sums[:] = -np.inf
        self.log_sums[: going.size] = totals[going]
        self.done = not self._can_improve(position + 1)
        return parents + self.rows.start

    def _ways_on(self, logits, position):
        """Beam, id and sum of log p of each way on. A beam gives at most `num_beams`, and its end."""
        found = [(np.empty(0, int), np.empty(0, int), np.empty(0))]
        for beam in np.flatnonzero(self.log_sums > -np.inf):
            scores = process(logits[beam], self.token_ids[beam, :position], self.options)
            ids = largest(scores, self.width + 1)
            ids = ids[scores[ids] > -np.inf]
            found.append((np.full(ids.size, beam), ids, self.log_sums[beam] + scores[ids] - log_normaliser(scores)))
        return [np.concatenate(part) for part in zip(*found)]

    def _score(self, log_sum, length):
        return log_sum / float(length - self.prefix_length) ** self.options.length_penalty

    def _end(self, log_sum, ids):
        self.ended.append((self._score(log_sum, len(ids)), ids))
        self.ended.sort(key=lambda caption: -caption[0])  # stable: of equal ones the first to end
        del self.ended[self.options.num_captions :]

    def _can_improve(self, length):
        """Can a beam of `length` ids become a caption better than the worst of those that have ended?

        Its sum only falls from here, so its score is at best today's sum over the n^length_penalty that suits it
        best: with a positive penalty that of the longest caption, else that of one id more.
        """
        best = self.log_sums.max()
        if best == -np.inf or len(self.ended) < self.options.num_captions:
            return best > -np.inf
        longest = self.options.max_length
        suited = longest if self.options.length_penalty > 0 else min(length + 1, longest)
        return self._score(best, suited) > self.ended[-1][0]

    def captions(self) -> list:
        """The best captions, best first. Beams that were not given up have reached `max_length`."""
        if not self.done:
            for beam in np.flatnonzero(self.log_sums > -np.inf):
                self._end(self.log_sums[beam], self.token_ids[beam].copy())
        return self.ended
