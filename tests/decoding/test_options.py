"""What cannot be stops before the first step, with one sentence."""

import re
import subprocess
import sys

import numpy as np
import pytest
from toy_decoder import END, START, ToyDecoder, run

from kzoo.decoding import generate

WRONG = [
    (
        {"strategy": "beams"},
        "strategy 'beams' is unknown; choose one of greedy, sample, beam, contrastive (is 'beam' meant?).",
    ),
    ({"strategy": "beam", "num_beams": 0}, "num_beams is 0; give a whole number of at least 1."),
    ({"strategy": "beam", "num_beams": "4"}, "num_beams is '4' (str); give a whole number of at least 1."),
    ({"strategy": "beam", "length_penalty": float("inf")}, "length_penalty is inf; give a finite number."),
    ({"num_captions": 0}, "num_captions is 0; give a whole number of at least 1."),
    (
        {"num_captions": 2},
        "num_captions is 2, but strategy 'greedy' has one answer for a picture; take 'sample' or 'beam'.",
    ),
    (
        {"strategy": "contrastive", "num_captions": 2},
        "num_captions is 2, but strategy 'contrastive' has one answer for a picture; take 'sample' or 'beam'.",
    ),
    (
        {"strategy": "beam", "num_captions": 5},
        "num_captions is 5, but 4 beams find 4 captions at most; raise num_beams.",
    ),
    ({"max_length": 0}, "max_length is 0; give a whole number from 1 to 12, what the decoder can hold."),
    ({"max_length": 13}, "max_length is 13; give a whole number from 1 to 12, what the decoder can hold."),
    ({"min_length": -1}, "min_length is -1; give a whole number of at least 0."),
    ({"min_length": None}, "min_length is None; give a whole number of at least 0."),
    (
        {"min_length": 9, "max_length": 8},
        "min_length is 9, above a max_length of 8; lower the one or raise the other.",
    ),
    ({"repetition_penalty": 0}, "repetition_penalty is 0; give a positive number."),
    ({"no_repeat_ngram": -1}, "no_repeat_ngram is -1; give a whole number of at least 0."),
    (
        {"strategy": "sample", "temperature": 0},
        "temperature is 0; give a positive number (strategy 'greedy' is its limit).",
    ),
    ({"strategy": "sample", "top_k": 0}, "top_k is 0; give a whole number of at least 1."),
    ({"strategy": "contrastive", "top_k": 2.5}, "top_k is 2.5; give a whole number of at least 1."),
    ({"strategy": "sample", "top_p": 0.0}, "top_p is 0.0; give a number in (0, 1]."),
    ({"strategy": "sample", "top_p": 1.5}, "top_p is 1.5; give a number in (0, 1]."),
    ({"strategy": "sample", "seed": -1}, "seed is -1; give a whole number of at least 0."),
    ({"strategy": "contrastive", "alpha": 1.1}, "alpha is 1.1; give a number in [0, 1]."),
    ({"strategy": "contrastive", "alpha": float("nan")}, "alpha is nan; give a number in [0, 1]."),
    ({"on_token": True}, "on_token is True (bool); give a function of the ids of one position."),
    (
        {"temperature": 1.0},
        "temperature is set, but strategy 'greedy' does not read it, only 'sample'; leave it out.",
    ),
    (
        {"strategy": "beam", "top_k": 4},
        "top_k is set, but strategy 'beam' does not read it, only 'sample' and 'contrastive'; leave it out.",
    ),
    (
        {"strategy": "sample", "num_beams": 3},
        "num_beams is set, but strategy 'sample' does not read it, only 'beam'; leave it out.",
    ),
    (
        {"strategy": "beam", "on_token": print},
        "on_token is set, but strategy 'beam' does not read it, only 'greedy' and 'sample' and 'contrastive'; "
        "leave it out.",
    ),
]
WRONG_PREFIXES = [
    ([], "prefixes is empty; give at least one picture, with the start id."),
    ([[START]], "1 prefixes came for 2 pictures; give one for each."),
    ([[START], []], "prefix 1 is [], but a list of integer ids, at least the start id, is expected."),
    ([[START], [0.5]], "prefix 1 is [0.5], but a list of integer ids, at least the start id, is expected."),
    ([START, START], "prefix 0 is 1, but a list of integer ids, at least the start id, is expected."),
    ([[START], [3] * 13], "prefix 1 has 13 ids, but the decoder can hold 12; shorten it."),
    (
        [[START], [3] * 6],
        "prefix 1 has 6 ids, which leaves no room under a max_length of 6; shorten it, or raise max_length (up to 12).",
    ),
]


def stops(decoder, sentence, prefixes, **options):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(sentence)}$"):
        generate(decoder, prefixes, **{"end_id": END} | options)
    assert decoder.steps == 0


@pytest.mark.parametrize("options, sentence", WRONG, ids=[str(options) for options, _ in WRONG])
def test_an_option_that_cannot_be(options, sentence):
    stops(ToyDecoder(0), sentence, [[START]], **options)


@pytest.mark.parametrize("prefixes, sentence", WRONG_PREFIXES, ids=[str(prefixes) for prefixes, _ in WRONG_PREFIXES])
def test_prefixes_that_cannot_be(prefixes, sentence):
    stops(ToyDecoder(0, 1), sentence, prefixes, max_length=6)


def test_prefixes_may_be_arrays():
    decoder, prefixes = ToyDecoder(0, 1), np.array([[START, 3], [START, 4]])
    token_ids, _ = generate(decoder, prefixes, end_id=END)
    np.testing.assert_array_equal(token_ids[:, 0, :2], prefixes)


def test_bans_that_leave_no_id():
    with pytest.raises(
        ValueError, match=r"at position 5 of picture 0 no id is left: no_repeat_ngram=1 and min_length=9"
    ):
        run(0, no_repeat_ngram=1, min_length=9, prefix=(START, END))


@pytest.mark.parametrize("strategy", ["greedy", "sample", "beam", "contrastive"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(strategy, value):
    class Broken(ToyDecoder):
        def step(self, token_ids, position, parents=None):
            logits, states = super().step(token_ids, position, parents)
            return np.where(np.arange(logits.shape[1]) == position + 2, value, logits), states

    with pytest.raises(ValueError, match=f"the decoder's largest logit for the id at position 1 is {value}; check its"):
        generate(Broken(0), [[START]], strategy, end_id=END)


def test_searching_needs_no_keras():
    script = "import sys\nimport kzoo.decoding\nprint([n for n in ('keras', 'jax', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
