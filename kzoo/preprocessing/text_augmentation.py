"""Random changes of a text for training: words left out, repeated, moved, misspelt. Needs only numpy."""

import numpy as np

from kzoo.arguments import COUNT, PROBABILITY, Checked, number, span

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def drop_words(text, rate, random) -> str:
    """The text without a random share of its words; at least one word stays.

    Args:
        text: string.
        rate: probability that a word is left out.
        random: a `numpy.random.Generator`.

    Example:
        >>> drop_words("book lock open outline", 0.5, np.random.default_rng(0))
        'book open'

    Reference:
        Wei and Zou, EDA, 2019, arXiv 1901.11196 (random deletion).
    """
    words = text.split()
    kept = [word for word in words if random.random() >= rate]
    return " ".join(kept or words)


class TextSteps(Checked):
    """Changes of a text, one after another.

    Args:
        *steps: functions of a text and a `numpy.random.Generator` to a text, such as those below.

    Example:
        >>> view = TextSteps(CropWords((0.3, 0.7)), DropWords(0.1))("a small red circle", np.random.default_rng(0))
    """

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, text, random) -> str:
        for step in self.steps:
            text = step(text, random)
        return text


class DropWords(Checked):
    """Leaves words out, see `drop_words`.

    Args:
        rate: probability that a word is left out.

    Reference:
        Wei and Zou, EDA, 2019, arXiv 1901.11196; as a view: Izacard et al., Contriever, 2021, arXiv 2112.09118.
    """

    arguments = {"rate": PROBABILITY}

    def __init__(self, rate=0.1):
        self.rate = rate

    def __call__(self, text, random) -> str:
        return drop_words(text, self.rate, random)


class RepeatWords(Checked):
    """Says some words twice, so that the two views of a text differ in length as unlike texts do.

    Of n words up to `max(2, rate n)` are repeated, a number that is drawn each time and may be 0. The authors repeat
    pieces of words; here they are whole.

    Args:
        rate: share of the words that may be repeated.

    Example:
        >>> RepeatWords(0.5)("a small red circle", np.random.default_rng(4))
        'a a small red circle circle'

    Reference:
        Wu et al., ESimCSE, 2021, arXiv 2109.04380.
    """

    arguments = {"rate": PROBABILITY}

    def __init__(self, rate=0.32):
        self.rate = rate

    def __call__(self, text, random) -> str:
        words = text.split()
        most = min(len(words), max(2, int(self.rate * len(words))))
        twice = set(random.permutation(len(words))[: random.integers(most + 1)])
        return " ".join(f"{word} {word}" if place in twice else word for place, word in enumerate(words))


class CropWords(Checked):
    """Takes words that lie side by side: two independent crops of a text are a positive pair.

    Args:
        shares: smallest and largest share of the words that a crop has; at least one word.

    Example:
        >>> CropWords((0.5, 0.5))("a small red circle", np.random.default_rng(0))
        'small red'

    Reference:
        Izacard et al., Contriever, 2021, arXiv 2112.09118 (independent cropping).
    """

    arguments = {"shares": span(number(above=0, most=1), "two shares with 0 < smallest <= largest <= 1")}

    def __init__(self, shares=(0.05, 0.5)):
        self.shares = tuple(shares)

    def __call__(self, text, random) -> str:
        words = text.split()
        length = max(1, round(len(words) * random.uniform(*self.shares)))
        start = random.integers(max(1, len(words) - length + 1))
        return " ".join(words[start : start + length])


class ShuffleWords(Checked):
    """Changes the order of words, in places.

    Args:
        reach: how far a word may go; None: anywhere. A word never goes farther than this to the left or right.

    Example:
        >>> ShuffleWords()("a small red circle", np.random.default_rng(0))
        'red a small circle'

    Reference:
        Xiao et al., Pixel Sentence Representation Learning (Pixel-Linguist), 2024, arXiv 2402.08183; with a reach:
        Lample et al., 2017, arXiv 1711.00043.
    """

    arguments = {"reach": COUNT.said("a number of words, at least 1, or None")}

    def __init__(self, reach=None):
        self.reach = reach

    def __call__(self, text, random) -> str:
        words = text.split()
        if self.reach is None:
            order = random.permutation(len(words))
        else:  # places that are moved by less than reach + 1 swap with none farther away
            order = np.argsort(np.arange(len(words)) + random.uniform(0, self.reach + 1, len(words)), kind="stable")
        return " ".join(words[place] for place in order)


class Typos(Checked):
    """Misspells words: two letters swapped, one left out, doubled, or another in its place.

    Args:
        rate: probability that a word is misspelt. Words of one letter stay.

    Example:
        >>> Typos(1.0)("a small red circle", np.random.default_rng(0))
        'a smmall erd cirple'

    Reference:
        Xiao et al., Pixel Sentence Representation Learning (Pixel-Linguist), 2024, arXiv 2402.08183; the four kinds are
        those of Ma, nlpaug, 2019.
    """

    arguments = {"rate": PROBABILITY}

    def __init__(self, rate=0.2):
        self.rate = rate

    def __call__(self, text, random) -> str:
        return " ".join(
            self._misspelt(word, random) if len(word) > 1 and random.random() < self.rate else word
            for word in text.split()
        )

    @staticmethod
    def _misspelt(word, random):
        kind, place = random.integers(4), int(random.integers(len(word)))
        if kind == 0:
            place = min(place, len(word) - 2)
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        middle = ("", 2 * word[place], LETTERS[random.integers(len(LETTERS))])[kind - 1]
        return word[:place] + middle + word[place + 1 :]
