"""Beam search against all captions there are, and against sums by hand."""

from itertools import product

import numpy as np
import pytest
from toy_decoder import END, PAD, START, WORDS, ToyDecoder, every_caption, ids_of, run

from kzoo.decoding import generate

ALL = 4 * 3**3  # ways on from all beginnings of three words, of which none is ever given up
PROCESSING = [
    {},
    {"min_length": 3},
    {"no_repeat_ngram": 1},
    {"no_repeat_ngram": 2},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6, "no_repeat_ngram": 2, "min_length": 2},
]


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("processing", PROCESSING, ids=str)
def test_with_beams_enough_it_finds_the_best_captions_of_all(processing, length_penalty):
    seeds = range(4)
    got, scores = run(
        *seeds,
        strategy="beam",
        num_beams=ALL,
        num_captions=3,
        max_length=5,
        length_penalty=length_penalty,
        **processing,
    )
    for seed in seeds:
        captions = every_caption(seed, **processing)
        ranked = sorted(((total / (len(ids) - 1) ** length_penalty, ids) for ids, total in captions), reverse=True)
        assert [ids_of(row) for row in got[seed]] == [ids for _, ids in ranked[:3]]
        np.testing.assert_allclose(scores[seed], [score for score, _ in ranked[:3]], rtol=2e-6)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
def test_it_stops_once_nothing_can_change(length_penalty):
    """With fewer beams too: a search that goes on to the end has the same beams, and may only end more captions."""
    for seed, num_beams in product(range(30), (1, 2, 3)):
        decoder = ToyDecoder(seed)
        options = {"num_beams": num_beams, "length_penalty": length_penalty, "max_length": 8}
        got, scores = generate(decoder, [[START]], "beam", end_id=END, **options)
        want, want_score = naive_beam(seed, **options)
        assert (ids_of(got[0, 0]), scores[0, 0]) == (want, pytest.approx(want_score, rel=2e-6))
        if length_penalty <= 0 and want[-1] == END and num_beams == 1:
            assert decoder.steps <= len(want) - 1


def naive_beam(seed, num_beams, length_penalty, max_length):
    """Beam search that never stops early, over lists."""
    live, ended = [((START,), 0.0)], []
    for _ in range(2, max_length + 1):
        ways = [
            way
            for ids, total in live
            for way in [(ids_, total + t) for ids_, t in every_caption(seed, ids, len(ids) + 1)]
        ]
        ways.sort(key=lambda way: -way[1])
        ended += [way for way in ways[:num_beams] if way[0][-1] == END]
        live = [way for way in ways if way[0][-1] != END][:num_beams]
    scored = [(total / (len(ids) - 1) ** length_penalty, ids) for ids, total in ended + live]
    score, ids = max(scored)
    return ids, score


class Table:
    """A decoder whose logits are given probabilities after each history; all others are equal."""

    context_length, pictures, pad_id = 6, 1, PAD

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def begin(self, copies, length):
        pass

    def step(self, token_ids, position, parents=None):
        histories = [tuple(ids[1 : position + 1].tolist()) for ids in token_ids]
        rows = [self.probabilities.get(history, [1, 1, 1, 1, 1, 1]) for history in histories]
        with np.errstate(divide="ignore"):
            return np.log(np.array(rows, "float32")), np.ones((len(rows), 2), "float32")


def test_it_finds_what_greedy_search_misses():
    # greedy: word 3 with 0.6, then at best 0.4 to end. Word 4 with 0.4 ends with 0.9: 0.36 against 0.24
    a, b = WORDS[:2]
    table = {(): [0, 0, 0, 0.6, 0.4, 0], (a,): [0, 0, 0.4, 0.3, 0.3, 0], (b,): [0, 0, 0.9, 0.1, 0, 0]}
    greedy, greedy_scores = generate(Table(table), [[START]], end_id=END, max_length=4)
    assert greedy.tolist() == [[[START, a, END, PAD]]]
    np.testing.assert_allclose(greedy_scores, [[np.log(0.24) / 2]], rtol=1e-6)
    options = {"end_id": END, "max_length": 4, "num_beams": 2, "num_captions": 2, "length_penalty": 0.5}
    token_ids, scores = generate(Table(table), [[START]], "beam", **options)
    assert token_ids.tolist() == [[[START, b, END, PAD], [START, a, END, PAD]]]
    np.testing.assert_allclose(scores, [[np.log(0.36) / 2**0.5, np.log(0.24) / 2**0.5]], rtol=1e-6)


def test_of_equal_ways_on_the_earlier_beam_and_the_smaller_id_go_first():
    # all six ids are as probable at each position, so the first beam's smallest ids lead
    token_ids, scores = generate(Table({}), [[START]], "beam", end_id=None, max_length=3, num_beams=3, num_captions=3)
    assert token_ids.tolist() == [[[START, 0, 0], [START, 0, 1], [START, 0, 2]]]
    np.testing.assert_allclose(scores, -np.log(6), rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_one_beam_without_a_length_penalty_is_greedy_search(seed):
    greedy, mean = run(seed, max_length=9)
    got, score = run(seed, strategy="beam", num_beams=1, length_penalty=0.0, max_length=9)
    assert got.tolist() == greedy.tolist()
    np.testing.assert_allclose(score, mean * (len(ids_of(got[0, 0])) - 1), rtol=2e-6)


def test_without_an_end_all_captions_are_full():
    token_ids, _ = run(0, 1, strategy="beam", num_captions=4, max_length=7, end_id=None)
    assert token_ids.shape == (2, 4, 7) and np.all(token_ids != PAD)


@pytest.mark.parametrize(
    "there_are, options",
    [
        (16, {"no_repeat_ngram": 1, "max_length": 9}),  # up to three words, none twice: 1 + 3 + 3 * 2 + 3 * 2 * 1
        (9, {"min_length": 3, "max_length": 3}),  # two words, and no place for an end
        (0, {"no_repeat_ngram": 1, "prefix": (START, END)}),  # the end is banned, and the words run out
    ],
)
def test_too_few_captions_stop_with_a_sentence(there_are, options):
    sentence = f"picture 0 has {there_are} captions under these options, but num_captions is 20"
    with pytest.raises(ValueError, match=sentence):
        run(0, strategy="beam", num_beams=20, num_captions=20, **options)
    if there_are:
        token_ids, scores = run(0, strategy="beam", num_beams=20, num_captions=there_are, **options)
        assert len(set(map(ids_of, token_ids[0]))) == there_are and np.all(np.isfinite(scores))
