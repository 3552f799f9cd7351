"""A toy language, its decoder, and searches over it that are written without a thought for speed."""

from functools import cache
from itertools import count

import numpy as np

from kzoo.decoding import generate

PAD, START, END = 0, 1, 2
WORDS = (3, 4, 5)
WIDTH = 4  # of a state


@cache
def next_logits(seed, history, words=3, ties=False):
    """Logits after a history, which they depend on as a whole; padding and start are never said."""
    logits = np.random.default_rng([seed, *history]).standard_normal(3 + words) * 2
    logits = np.round(logits) if ties else logits
    logits[[PAD, START]] = -np.inf
    return logits.astype("float32")


@cache
def state(seed, history):
    return np.random.default_rng([seed, 1, *history]).standard_normal(WIDTH).astype("float32")


class ToyDecoder:
    """A `kzoo.decoding.Decoder`: a picture is a seed.

    It remembers what each row was told, follows `parents` as a cache does, and compares with `token_ids`.
    """

    context_length = 12
    pad_id = PAD

    def __init__(self, *seeds, words=3, ties=False):
        self.seeds, self.language = seeds, {"words": words, "ties": ties}
        self.pictures, self.steps = len(seeds), 0

    def begin(self, copies, length):
        self.copies, self.length = copies, length
        self.told = [()] * (self.pictures * copies)

    def step(self, token_ids, position, parents=None):
        assert token_ids.dtype == np.int32 and token_ids.shape == (len(self.told), self.length)
        assert not np.array_equal(parents, np.arange(len(self.told))), "rows that stay come without parents"
        pasts = self.told if parents is None else [self.told[parent] for parent in parents]
        if parents is not None:
            assert [parent // self.copies for parent in parents] == [row // self.copies for row in range(len(pasts))]
        self.told = [(*past, int(ids[position])) for past, ids in zip(pasts, token_ids)]
        assert [tuple(ids) for ids in token_ids[:, : position + 1].tolist()] == self.told
        assert np.all(token_ids[:, position + 1 :] == PAD)
        self.steps += 1
        of_rows = [(self.seeds[row // self.copies], told) for row, told in enumerate(self.told)]
        logits = np.stack([next_logits(seed, told, **self.language) for seed, told in of_rows])
        logits.flags.writeable = False
        return logits, np.stack([state(seed, told) for seed, told in of_rows])


def run(*seeds, prefix=(START,), strategy="greedy", language=(), **options):
    """Captions of one picture or more, all with one prefix: `(n, num_captions, max_length)` and their scores."""
    decoder = ToyDecoder(*seeds, **dict(language))
    return generate(decoder, [list(prefix)] * len(seeds), strategy, **{"end_id": END} | options)


def log_p(seed, history, repetition_penalty=1.0, no_repeat_ngram=0, min_length=0, language=()):
    """The processed log-probabilities after a history, by the definitions, in float64."""
    logits = next_logits(seed, history, **dict(language)).astype("float64")
    for word in set(history):
        logits[word] = logits[word] / repetition_penalty if logits[word] > 0 else logits[word] * repetition_penalty
    grams = [history[at : at + no_repeat_ngram] for at in range(len(history) - no_repeat_ngram + 1)]
    for word in range(len(logits)):
        if no_repeat_ngram and (*history[len(history) - no_repeat_ngram + 1 :], word) in grams:
            logits[word] = -np.inf
    if len(history) < min_length:
        logits[END] = -np.inf
    with np.errstate(divide="ignore"):
        return logits - np.log(np.sum(np.exp(logits)))


def naive_walk(seed, choose, prefix=(START,), max_length=6, **processing):
    """The walk from left to right; `choose` takes the log-probabilities and how often it was asked before."""
    history, total = tuple(prefix), 0.0
    for position in count(len(history)):
        of_words = log_p(seed, history, **processing)
        word = choose(of_words, position)
        history, total = (*history, word), total + of_words[word]
        if word == END or len(history) == max_length:
            return history, total / (len(history) - len(prefix))


def every_caption(seed, history=(START,), max_length=5, **processing):
    """All captions there are, each with its sum of log p: those that end, and those that `max_length` cuts."""
    of_words = log_p(seed, history, **processing)
    for word in np.flatnonzero(of_words > -np.inf).tolist():
        longer = (*history, word)
        if word == END or len(longer) == max_length:
            yield longer, of_words[word]
        else:
            for caption, rest in every_caption(seed, longer, max_length, **processing):
                yield caption, of_words[word] + rest


def ids_of(row):
    """A row without its padding."""
    return tuple(np.trim_zeros(row, "b").tolist())
