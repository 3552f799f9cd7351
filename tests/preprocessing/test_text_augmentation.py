"""Changes of texts: what stays, what may happen, and seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kzoo.preprocessing import CropWords, DropWords, RepeatWords, ShuffleWords, TextSteps, Typos
from kzoo.preprocessing.text_augmentation import drop_words

TEXT = "one two three four five six seven eight nine ten"
WORDS = TEXT.split()
STEPS = [DropWords(0.3), RepeatWords(), CropWords(), ShuffleWords(), ShuffleWords(2), Typos(0.5)]


def many(step, text=TEXT, count=60):
    return [step(text, np.random.default_rng(seed)).split() for seed in range(count)]


@pytest.mark.parametrize("step", STEPS)
@given(text=st.text("abc ", max_size=12), seed=st.integers(0, 9))
def test_any_text_can_be_changed_and_none_is_lost(step, text, seed):
    first, second = (step(text, np.random.default_rng(seed)) for _ in range(2))
    assert first == second and bool(first.split()) == bool(text.split())


def test_words_are_dropped():
    for words in many(DropWords(0.4)):
        assert words and words == [word for word in WORDS if word in words]
    assert drop_words(TEXT, 0.0, np.random.default_rng(0)) == TEXT


def test_words_are_repeated_beside_themselves():
    lengths = set()
    for words in many(RepeatWords(0.32)):
        assert list(dict.fromkeys(words)) == WORDS
        assert all(
            words[place] == words[place - 1] for place in range(1, len(words)) if words.index(words[place]) < place
        )
        lengths.add(len(words) - 10)
    assert lengths == {0, 1, 2, 3}
    assert {len(words) for words in many(RepeatWords(0.0))} == {10, 11, 12}


def test_crops_are_words_side_by_side():
    lengths = {len(words) for words in many(CropWords((0.2, 0.5)))}
    assert lengths == {2, 3, 4, 5}
    for words in many(CropWords((0.2, 0.5))):
        assert " ".join(words) in TEXT
    assert {words[0] for words in many(CropWords((0.1, 0.1)), count=200)} == set(WORDS)


def test_shuffles_keep_words_and_reach():
    far = 0
    for words in many(ShuffleWords()):
        assert sorted(words) == sorted(WORDS)
        far = max(far, *(abs(words.index(word) - place) for place, word in enumerate(WORDS)))
    assert far > 5
    moved = [abs(words.index(word) - place) for words in many(ShuffleWords(2)) for place, word in enumerate(WORDS)]
    assert max(moved) == 2


def test_typos_change_one_thing_in_a_word():
    kinds = set()
    for words in many(Typos(1.0)):
        for word, typo in zip(WORDS, words):
            assert abs(len(word) - len(typo)) <= 1
            kinds.add("swap" if sorted(word) == sorted(typo) and word != typo else len(typo) - len(word))
    assert kinds == {"swap", -1, 0, 1}
    assert many(Typos(0.0)) == [WORDS] * 60 and many(Typos(1.0), "a b") == [["a", "b"]] * 60


def test_steps_come_one_after_another():
    steps = TextSteps(CropWords((0.5, 0.5)), lambda text, random: text.upper())
    assert all(len(words) == 5 and words[0].isupper() for words in many(steps))
    assert TextSteps()(TEXT, np.random.default_rng(0)) == TEXT


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: DropWords(2.0), "rate is 2.0"),
        (lambda: RepeatWords(-1.0), "rate is -1.0"),
        (lambda: CropWords((0.5, 0.2)), r"shares is \(0.5, 0.2\)"),
        (lambda: ShuffleWords(0), "reach is 0"),
        (lambda: Typos(1.1), "rate is 1.1"),
    ],
)
def test_bad_steps(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
