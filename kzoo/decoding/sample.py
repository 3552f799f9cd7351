"""Sampling: each id is drawn from the decoder's distribution, or from its likelier part."""

import numpy as np

from kzoo.decoding.greedy import walk
from kzoo.decoding.processors import largest, nucleus


def sample(decoder, prefixes, options):
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
        tempered = (scores - scores.max()) / np.float32(options.temperature)
        return draw(tempered, options.top_k, options.top_p, numbers[row, position])

    return walk(decoder, prefixes, options, choose)


def draw(logits, top_k, top_p, number):
    """The id that `number` falls on among those kept: by `top_k` first, then by `top_p` among what that left.

    The ids stand in the order of their numbers and not of their probabilities, in which engines that differ by a
    rounding error would differ.
    """
    ids = np.arange(logits.size)
    if top_k is not None:
        ids = largest(logits, top_k)
    if top_p is not None and top_p < 1:
        ids = ids[nucleus(logits[ids], top_p)]
    ids = np.sort(ids)
    kept = logits[ids]
    reached = np.cumsum(np.exp(kept - kept.max()), dtype="float64")
    # below the last value even after rounding, or a banned id at the end could be drawn
    place = min(number * reached[-1], np.nextafter(reached[-1], 0.0))
    return int(ids[np.searchsorted(reached, place, side="right")])
