"""Masks of tokens: what is chosen, what becomes of it, and what never is."""

import numpy as np
import pytest

from kzoo.preprocessing import RandomTokens, Tokenizer, TokenSpans

TEXTS = ["one two three four five six seven eight nine ten"] * 64
TOKENIZER = Tokenizer.train([*TEXTS, "eleven twelve"], 320, 40)
MASK = 319
BATCH = TOKENIZER(["", *TEXTS])
IDS, REAL = BATCH["token_ids"], BATCH["padding_mask"]


def test_special_ids_are_padding_start_and_end():
    assert TOKENIZER.special_ids == [0, 1, 2]


@pytest.mark.parametrize("mask", [RandomTokens(TOKENIZER, 0.5, mask_id=MASK), TokenSpans(TOKENIZER, 0.5, mask_id=MASK)])
def test_what_is_not_chosen_stays_and_special_ids_are_never_chosen(mask):
    ids, chosen = mask(IDS, REAL, np.random.default_rng(0))
    assert ids.dtype == "int32" and chosen.dtype == bool and ids.shape == chosen.shape == IDS.shape
    assert np.array_equal(ids[~chosen], IDS[~chosen])
    assert not chosen[~REAL].any() and not np.isin(IDS[chosen], [0, 1, 2]).any()
    assert not chosen[0].any()  # the empty text


@pytest.mark.parametrize("kind", [RandomTokens, TokenSpans])
def test_eight_of_ten_become_the_mask_one_another_id_one_stays(kind):
    ids, chosen = kind(TOKENIZER, 0.5, mask_id=MASK)(
        np.tile(IDS, (30, 1)), np.tile(REAL, (30, 1)), np.random.default_rng(0)
    )
    before, after = np.tile(IDS, (30, 1))[chosen], ids[chosen]
    assert abs((after == MASK).mean() - 0.8) < 0.03
    assert abs((after == before).mean() - 0.1) < 0.03
    others = after[(after != MASK) & (after != before)]
    assert 0.06 < len(others) / len(after) < 0.13 and not np.isin(others, [0, 1, 2]).any() and len(set(others)) > 50


def test_tokens_are_chosen_with_their_probability():
    _, chosen = RandomTokens(TOKENIZER, 0.15, mask_id=MASK)(
        np.tile(IDS, (30, 1)), np.tile(REAL, (30, 1)), np.random.default_rng(0)
    )
    free = np.tile(REAL & ~np.isin(IDS, [0, 1, 2]), (30, 1))
    assert abs(chosen[free].mean() - 0.15) < 0.01


def test_at_least_one_where_one_can_be():
    mask = RandomTokens(TOKENIZER, 1e-9, mask_id=MASK, at_least_one=True)
    _, chosen = mask(IDS, REAL, np.random.default_rng(0))
    assert chosen[0].sum() == 0 and (chosen[1:].sum(axis=1) == 1).all()
    assert len(set(chosen[1:].argmax(axis=1))) > 3


def test_soft_masking_only_masks():
    ids, chosen = RandomTokens(TOKENIZER, 0.3, replace=0.0, keep=0.0, mask_id=MASK)(IDS, REAL, np.random.default_rng(0))
    assert (ids[chosen] == MASK).all()


def test_spans_lie_side_by_side_and_change_as_a_whole():
    mask = TokenSpans(TOKENIZER, 0.3, replace=0.0, keep=0.5, mask_id=MASK, ends=0.5, longest=4)
    ids, chosen = mask(IDS, REAL, np.random.default_rng(0))
    free = (REAL & ~np.isin(IDS, [0, 1, 2])).sum(axis=1)
    assert np.array_equal(chosen.sum(axis=1), np.round(0.3 * free).astype(int))
    starts = chosen[:, 1:] & ~chosen[:, :-1]
    assert chosen.sum() / starts.sum() > 1.5  # longer than single tokens
    whole = TokenSpans(TOKENIZER, 0.2, replace=0.0, keep=0.5, mask_id=MASK, ends=1e-9, longest=100)
    ids, chosen = whole(IDS, REAL, np.random.default_rng(0))
    runs = [set((ids[row][chosen[row]] == MASK).tolist()) for row in range(1, len(ids)) if _one_run(chosen[row])]
    assert len(runs) > 20 and all(len(run) == 1 for run in runs) and {True} in runs and {False} in runs


def _one_run(chosen):
    return (chosen[1:] & ~chosen[:-1]).sum() == 1


def test_entries_of_a_batch():
    ids, more = RandomTokens(TOKENIZER, mask_id=MASK).entries("masked", IDS, REAL, np.random.default_rng(0))
    assert list(more) == ["masked_labels", "masked_positions"]
    assert np.array_equal(more["masked_labels"], IDS) and np.array_equal(
        ids != IDS, (ids != IDS) & more["masked_positions"]
    )


def test_the_vocabulary_names_its_mask():
    vocabulary = Tokenizer.train(TEXTS, 300, 40).vocabulary
    vocabulary.add_special_tokens(["[MASK]"])
    tokenizer = Tokenizer(vocabulary, 40)
    assert RandomTokens(tokenizer).mask_id == vocabulary.token_to_id("[MASK]")
    assert vocabulary.token_to_id("[MASK]") in tokenizer.special_ids


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({}, "the vocabulary has none of"),
        ({"share": 0.0}, "share is 0.0"),
        ({"replace": 0.6, "keep": 0.5}, "replace is 0.6 and keep 0.5"),
    ],
)
def test_bad_masks(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        RandomTokens(TOKENIZER, **options)


def test_bad_spans():
    with pytest.raises(ValueError, match="ends is 0.0; give a number in"):
        TokenSpans(TOKENIZER, mask_id=MASK, ends=0.0)
