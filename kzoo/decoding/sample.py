"""Sampling: each id is drawn from the decoder's distribution, or from its likelier part."""

import numpy as np

from kzoo.decoding.greedy import walk
from kzoo.decoding.processors import exponentials, largest, nucleus
from kzoo.types import Array

GROUP = 256


def sample(decoder, prefixes, options) -> tuple[Array, Array]:
    """Draw each id by one number in [0, 1) that belongs to the caption's number and the position.

    With a seed the numbers are the same for each picture: what a picture gets does not depend on the batch it came in.
    """
    copies = options.num_captions
    if options.seed is None:
        numbers = np.random.default_rng().random((len(prefixes) * copies, options.max_length))
    else:
        of_captions = [np.random.default_rng([options.seed, n]).random(options.max_length) for n in range(copies)]
        numbers = np.tile(of_captions, (len(prefixes), 1))

    def choose(scores, row, position):
        tempered = (scores - scores.max()) / np.float32(options.temperature)  # no overflow, however cold
        return draw(tempered, options.top_k, options.top_p, numbers[row, position])

    return walk(decoder, prefixes, options, choose)


def draw(logits, top_k, top_p, number) -> int:
    """The id that `number` falls on among those kept: by `top_k` first, then by `top_p` among what that left.

    The ids stand in the order of their numbers and not of their probabilities, in which engines that differ by a
    rounding error would differ.
    """
    ids = None
    if top_k is not None and top_k < logits.size:
        ids = np.sort(largest(logits, top_k))
        logits = logits[ids]
    if top_p is not None and top_p < 1:
        kept = np.sort(nucleus(logits, top_p))
        ids, logits = kept if ids is None else ids[kept], logits[kept]
    place = fall(exponentials(logits, logits.max()), number)
    return place if ids is None else int(ids[place])


def fall(weights, number) -> int:
    """The place of `weights` that `number` of [0, 1) falls on, each as wide as its share of the sum.

    Sums of groups first, then one group: running sums over a whole vocabulary take most of the time otherwise.
    """
    groups = np.arange(0, weights.size, GROUP)
    reached = np.cumsum(np.add.reduceat(weights, groups, dtype="float64"))
    aim = number * reached[-1]
    group = _first_above(reached, aim)
    inside = np.cumsum(weights[groups[group] : groups[group] + GROUP], dtype="float64")
    return int(groups[group]) + _first_above(inside, aim - (reached[group - 1] if group else 0.0))


def _first_above(reached, aim):
    """Where running sums first exceed `aim`; one that rounding has put past the last falls on the last above zero."""
    return int(np.searchsorted(reached, min(aim, np.nextafter(reached[-1], 0.0)), side="right"))
