"""Masks of patches: how many, which, and what a batch calls them."""

import math

import numpy as np
import pytest

from kzoo.preprocessing import BlockPatches, RandomPatches


@pytest.mark.parametrize("grid, share, hidden", [((14, 14), 0.75, 147), ((2, 3), 0.5, 3), ((1, 4), 0.3, 2)])
def test_random_masks_hide_the_same_number_everywhere(grid, share, hidden):
    mask = RandomPatches(grid, share)(50, np.random.default_rng(0))
    assert mask.shape == (50, math.prod(grid)) and mask.dtype == bool
    assert (mask.sum(axis=1) == hidden).all()
    assert mask.mean(axis=0).min() > 0 and not (mask == mask[0]).all()


def test_each_patch_is_as_likely_as_any_other():
    mask = RandomPatches((4, 4), 0.75)(4000, np.random.default_rng(0))
    np.testing.assert_allclose(mask.mean(axis=0), 0.75, atol=0.03)


def test_hidden_patches_go_under_one_name_and_dropped_ones_under_two():
    random = np.random.default_rng(0)
    assert list(RandomPatches((4, 4), 0.75).entries("view_1", 3, random)) == ["view_1_masked"]
    found = RandomPatches((4, 4), 0.75, drop=True).entries("image", 3, random)
    kept, dropped = found["image_kept"], found["image_dropped"]
    assert list(found) == ["image_kept", "image_dropped"] and kept.dtype == "int32" and kept.shape == (3, 4)
    assert (np.diff(kept, axis=1) > 0).all()
    for row, places in zip(dropped, kept):
        assert sorted(places) == np.flatnonzero(~row).tolist()


def test_blocks_are_rectangles_and_never_more_than_the_share():
    masks = BlockPatches((14, 14), share=0.4)(40, np.random.default_rng(0)).reshape(40, 14, 14)
    shares = masks.mean(axis=(1, 2))
    assert shares.max() <= 0.4 and shares.mean() > 0.35
    # neighbours of hidden patches are hidden much more often than patches are: they lie in blocks
    together = (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()
    assert together > 0.7


def test_one_block_is_one_rectangle():
    wide = BlockPatches((8, 8), share=0.25, smallest=16, aspect=(0.25, 0.25))
    for mask in wide(20, np.random.default_rng(0)).reshape(20, 8, 8):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) == 2 and len(columns) == 8


def test_shares_and_probability_are_drawn_for_each_picture():
    masks = BlockPatches((14, 14), share=(0.1, 0.5), probability=0.5)(200, np.random.default_rng(0))
    shares = masks.mean(axis=1)
    assert 0.35 < (shares == 0).mean() < 0.65
    hidden = shares[shares > 0]
    assert hidden.max() <= 0.5 and np.ptp(hidden) > 0.3


def test_the_same_state_gives_the_same_masks():
    for mask in (RandomPatches((7, 7)), BlockPatches((7, 7))):
        first, second = (mask(5, np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: RandomPatches(14), r"grid is 14 \(int\); give rows and columns"),
        (lambda: RandomPatches((2, 2), 1.0), "share is 1.0; give a number above 0 and below 1"),
        (lambda: RandomPatches((1, 2), 0.9), "a share of 0.9 leaves 0 of 2 patches"),
        (lambda: BlockPatches((4, 4), (0.5, 0.2)), r"share is \(0.5, 0.2\)"),
        (lambda: BlockPatches((4, 4), aspect=(2.0, 1.0)), r"aspect is \(2.0, 1.0\)"),
        (lambda: BlockPatches((4, 4), probability=2.0), "probability is 2.0"),
        (lambda: BlockPatches((4, 4), smallest=0), "smallest is 0"),
    ],
)
def test_bad_masks(make, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        make()
