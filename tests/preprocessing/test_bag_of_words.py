"""Bags of words as targets, and how rare words are."""

import numpy as np
import pytest

from kzoo.preprocessing import BagOfWords, Tokenizer, rare_words

TOKENIZER = Tokenizer.train(["a cat", "a dog", "the cat sat"] * 20, 320, 8)


def ids_of(text):
    return [index for index in TOKENIZER([text])["token_ids"][0] if index > 2]


def test_each_different_content_word_weighs_alike():
    bag = BagOfWords(TOKENIZER, vocab_size=400, stop_words=("a", "the"))(**TOKENIZER(["a cat cat dog", "a", "the cat"]))
    expected = np.zeros((3, 400), "float32")
    expected[0, ids_of("cat") + ids_of("dog")] = 0.5
    expected[2, ids_of("cat")] = 1.0
    assert bag.dtype == "float32" and np.array_equal(bag, expected)


def test_stop_words_of_several_tokens_take_none_of_them_away():
    bag = BagOfWords(TOKENIZER, stop_words=("a cat",))(**TOKENIZER(["a cat"]))
    assert bag[0, ids_of("a cat")].tolist() == [0.5, 0.5] and bag.shape == (1, TOKENIZER.vocab_size)


def test_a_bag_holds_every_id():
    with pytest.raises(ValueError, match="vocab_size is 3, but the tokenizer has"):
        BagOfWords(TOKENIZER, vocab_size=3)


def test_rare_words_weigh_more():
    texts = ["a cat"] * 300 + ["a dog"] * 99
    weights = rare_words(TOKENIZER, texts, vocab_size=400)
    (cat,), (dog,), (a,) = ids_of("cat"), ids_of("dog"), ids_of("a")
    assert weights[dog] == pytest.approx(np.log(399 / 100)) and weights[cat] == pytest.approx(np.log(399 / 301))
    assert weights[a] == 0.0 and not weights[:3].any() and np.count_nonzero(weights) == 2 and len(weights) == 400
