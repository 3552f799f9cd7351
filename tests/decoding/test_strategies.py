"""Greedy search, sampling and contrastive search against loops over lists, and what all strategies share."""

import numpy as np
import pytest
from toy_decoder import END, PAD, START, WORDS, ToyDecoder, ids_of, log_p, naive_walk, run, state

from kzoo.decoding import generate

PROCESSING = [
    {},
    {"min_length": 4},
    {"no_repeat_ngram": 1},
    {"no_repeat_ngram": 2},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6, "no_repeat_ngram": 3, "min_length": 4},
]
STRATEGIES = {
    "greedy": {},
    "sample": {"seed": 3, "num_captions": 2, "temperature": 1.5},
    "beam": {"num_captions": 2, "num_beams": 3},
    "contrastive": {"top_k": 3, "alpha": 0.5},
}


@pytest.mark.parametrize("processing", PROCESSING, ids=str)
@pytest.mark.parametrize("prefix", [(START,), (START, 4, 5), (4, 5, 4)], ids=str)
def test_greedy_takes_the_most_probable_id(processing, prefix):
    options = {"max_length": len(prefix) + 5} | processing
    token_ids, scores = run(*range(12), prefix=prefix, **options)
    assert token_ids.dtype == np.int32 and scores.dtype == np.float32
    for seed in range(12):
        ids, score = naive_walk(seed, lambda of_words, _: int(of_words.argmax()), prefix, **options)
        assert ids_of(token_ids[seed, 0]) == ids
        assert scores[seed, 0] == pytest.approx(score, rel=2e-6, abs=2e-7)


def test_of_equal_logits_greedy_takes_the_smaller_id():
    language = {"words": 40, "ties": True}
    token_ids, _ = run(*range(20), language=language, max_length=5)
    for seed in range(20):
        walked, _ = naive_walk(seed, lambda of_words, _: int(of_words.argmax()), max_length=5, language=language)
        assert ids_of(token_ids[seed, 0]) == walked


# Sampling


def naive_draw(of_words, number, temperature=1.0, top_k=None, top_p=1.0):
    """The id that a number in [0, 1) falls on, by sorting a whole vocabulary."""
    ranked = sorted(range(len(of_words)), key=lambda word: (-of_words[word], word))[:top_k]
    weights = np.exp([of_words[word] / temperature for word in ranked])
    kept, mass = {}, 0.0
    for word, share in zip(ranked, weights / weights.sum()):
        if mass < top_p:
            kept[word] = share
            mass += share
    reached = 0.0
    for word in sorted(kept):
        reached += kept[word] / mass
        if reached > number:
            return word


@pytest.mark.parametrize("words", [3, 600])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 2.5, "top_k": 2},
        {"top_p": 0.7},
        {"top_p": 0.99},
        {"top_k": 50, "top_p": 0.8, "temperature": 1.3},
        {"temperature": 1.7, "top_p": 0.9},
    ],
    ids=str,
)
def test_sampling_draws_as_its_definitions_say(options, words):
    language = {"words": words, "ties": words > 3}
    processing = {"repetition_penalty": 1.2, "min_length": 3, "max_length": 6}
    token_ids, scores = run(7, 8, strategy="sample", seed=5, num_captions=6, language=language, **processing, **options)
    for place, seed in enumerate((7, 8)):
        for caption in range(6):
            numbers = np.random.default_rng([5, caption]).random(6)
            ids, score = naive_walk(
                seed,
                lambda of_words, position: naive_draw(of_words, numbers[position], **options),  # noqa: B023
                language=language,
                **processing,
            )
            assert ids_of(token_ids[place, caption]) == ids
            assert scores[place, caption] == pytest.approx(score, rel=1e-5)


def test_samples_are_as_frequent_as_they_are_probable():
    draws, options = 3000, {"max_length": 3, "min_length": 2}  # two words, of which the first is not the end
    token_ids, _ = run(2, strategy="sample", num_captions=draws, temperature=1.4, seed=11, **options)
    chi_square = 0.0
    for first in WORDS:
        for second in (END, *WORDS):
            probability = 1.0
            for history, word in (((START,), first), ((START, first), second)):
                tempered = np.exp(log_p(2, history, min_length=2) / 1.4)
                probability *= tempered[word] / tempered.sum()
            seen = np.sum(np.all(token_ids[0, :, 1:] == (first, second), axis=1))
            chi_square += (seen - draws * probability) ** 2 / (draws * probability)
    assert chi_square < 44.0  # 11 degrees of freedom: one in a hundred thousand is above


def test_a_seed_fixes_the_captions_and_no_seed_frees_them():
    options = {"strategy": "sample", "max_length": 12, "end_id": None}
    first, _ = run(0, 0, seed=1, num_captions=3, **options)
    assert first.tolist() == run(0, 0, seed=1, num_captions=3, **options)[0].tolist()
    np.testing.assert_array_equal(first[0], first[1])  # pictures that are alike
    np.testing.assert_array_equal(first[:, :1], run(0, 0, seed=1, **options)[0])  # fewer captions are the same ones
    assert len({tuple(caption) for caption in first[0].tolist()}) == 3
    assert first.tolist() != run(0, 0, seed=2, num_captions=3, **options)[0].tolist()
    free, _ = run(0, 0, num_captions=3, **options)
    assert len({tuple(caption) for caption in free.reshape(6, 12).tolist()}) == 6


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-37}], ids=str)
def test_the_narrowest_sampling_is_greedy_search(options):
    token_ids, scores = run(*range(10), strategy="sample", max_length=8, **options)
    greedy, greedy_scores = run(*range(10), max_length=8)
    np.testing.assert_array_equal(token_ids, greedy)
    np.testing.assert_array_equal(scores, greedy_scores)


# Contrastive search


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def naive_contrastive(seed, top_k, alpha, prefix, **processing):
    """Contrastive search by its formula, over lists."""

    def choose(of_words, _):
        nonlocal history
        candidates = sorted(range(len(of_words)), key=lambda word: (-of_words[word], word))[:top_k]
        scores = []
        for word in candidates:
            new = state(seed, (*history, word))
            likeness = max(cosine(new, state(seed, history[:end])) for end in range(1, len(history) + 1))
            banned = of_words[word] == -np.inf
            scores.append(-np.inf if banned else (1 - alpha) * np.exp(of_words[word]) - alpha * likeness)
        word = candidates[int(np.argmax(scores))]
        history = (*history, word)
        return word

    history = tuple(prefix)
    return naive_walk(seed, choose, prefix, **processing)


@pytest.mark.parametrize(
    "processing", [{}, {"no_repeat_ngram": 2, "min_length": 5, "repetition_penalty": 1.3}], ids=str
)
@pytest.mark.parametrize("top_k, alpha, prefix", [(4, 0.6, (START,)), (2, 0.3, (START, 3, 3)), (9, 1.0, (START, 5))])
def test_contrastive_search_is_its_formula(processing, top_k, alpha, prefix):
    seeds = range(10)
    token_ids, scores = run(
        *seeds, strategy="contrastive", prefix=prefix, top_k=top_k, alpha=alpha, max_length=9, **processing
    )
    for seed in seeds:
        ids, score = naive_contrastive(seed, top_k, alpha, prefix, max_length=9, **processing)
        assert ids_of(token_ids[seed, 0]) == ids
        assert scores[seed, 0] == pytest.approx(score, rel=2e-6, abs=2e-7)


@pytest.mark.parametrize("options", [{"alpha": 0}, {"top_k": 1}], ids=str)
def test_contrastive_search_without_contrast_is_greedy_search(options):
    language = {"words": 40, "ties": True}
    token_ids, scores = run(*range(10), strategy="contrastive", max_length=9, language=language, **options)
    greedy, greedy_scores = run(*range(10), max_length=9, language=language)
    np.testing.assert_array_equal(token_ids, greedy)
    np.testing.assert_array_equal(scores, greedy_scores)


def test_contrastive_search_may_fill_the_decoder():
    decoder = ToyDecoder(0)
    token_ids, _ = generate(decoder, [[START]], "contrastive", end_id=None, max_length=decoder.context_length)
    assert np.all(token_ids != PAD) and decoder.steps == decoder.context_length


# All strategies


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_gives_what_its_pictures_give_one_by_one(strategy):
    prefixes = [[START], [START, 3, 4, 5, 3], [START, 5], [START, 3, END, 4], [START, 4, 4]] * 3
    options = {"end_id": END, "max_length": 10, "no_repeat_ngram": 3} | STRATEGIES[strategy]
    token_ids, scores = generate(ToyDecoder(*range(15)), prefixes, strategy, **options)
    for picture, prefix in enumerate(prefixes):
        ids, score = generate(ToyDecoder(picture), [prefix], strategy, **options)
        np.testing.assert_array_equal(token_ids[picture], ids[0])
        np.testing.assert_array_equal(scores[picture], score[0])
        assert np.all(token_ids[picture, :, : len(prefix)] == prefix)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_a_generated_end_ends_a_caption(strategy):
    prefixes = [[START], [START, END, 3]] * 4
    token_ids, _ = generate(ToyDecoder(*range(8)), prefixes, strategy, end_id=END, max_length=9, **STRATEGIES[strategy])
    for prefix, captions in zip(prefixes, token_ids):
        for generated in captions[:, len(prefix) :].tolist():
            ids = ids_of(np.array(generated))
            assert END not in ids[:-1] and (ids[-1] == END or len(ids) == 9 - len(prefix))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_an_end_id_captions_are_full(strategy):
    token_ids, _ = run(*range(4), strategy=strategy, end_id=None, min_length=5, max_length=9, **STRATEGIES[strategy])
    assert np.all(token_ids != PAD) and np.any(token_ids[:, :, 1:5] == END)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_min_length_counts_the_ids_before_the_end(strategy):
    lengths = set()
    for min_length in (0, 3, 5):
        token_ids, _ = run(*range(30), strategy=strategy, min_length=min_length, max_length=8, **STRATEGIES[strategy])
        rows = [ids_of(row) for row in token_ids.reshape(-1, 8)]
        before = [len(ids) - 1 for ids in rows if ids[-1] == END]
        assert min(before) == max(min_length, 1)
        lengths.add(min(before))
    assert lengths == {1, 3, 5}


@pytest.mark.parametrize("strategy", ["greedy", "sample", "contrastive"])
def test_each_position_is_told_as_it_is_written(strategy):
    told = []
    prefixes = [[START], [START, 3, 4]] * 2
    options = {"end_id": END, "max_length": 9, "on_token": told.append} | STRATEGIES[strategy]
    token_ids, _ = generate(ToyDecoder(*range(4)), prefixes, strategy, **options)
    captions = np.stack(told, axis=-1)
    assert captions.dtype == np.int32
    np.testing.assert_array_equal(captions, token_ids[:, :, 1 : 1 + len(told)])
    assert np.all(token_ids[:, :, 1 + len(told) :] == PAD)


def test_no_step_is_made_once_all_rows_have_ended():
    decoder = ToyDecoder(*range(5))
    token_ids, _ = generate(decoder, [[START]] * 5, end_id=END, max_length=12)
    longest = max(len(ids_of(row)) for row in token_ids[:, 0])
    assert longest < 12 and decoder.steps == longest - 1


def test_a_caption_has_thirty_ids_or_what_the_decoder_can_hold():
    assert run(0)[0].shape == (1, 1, 12)
    decoder = ToyDecoder(0)
    decoder.context_length = 77
    assert generate(decoder, [[START]], end_id=END)[0].shape == (1, 1, 30)
