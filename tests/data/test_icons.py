"""The demo's data: counts, captions, a split that holds, any other icon font."""

import numpy as np
import pytest

from kzoo.data import icons

TRAIN, TEST = icons("train", size=32), icons("test", size=32)


def test_counts_and_captions():
    everything = icons(size=32)
    assert everything["images"].shape == (7296, 32, 32, 3) and everything["images"].dtype == np.uint8
    assert len(everything["captions"]) == len(set(everything["captions"])) == 7296
    assert "book lock open outline" in everything["captions"]
    assert not any("_" in caption for caption in everything["captions"])
    assert len(TEST["captions"]) == 748 and 7296 - 748 - len(TRAIN["captions"]) < 20


def test_no_drawing_and_no_name_of_the_test_part_is_trained_on():
    trained = {image.tobytes() for image in TRAIN["images"]}
    assert not any(image.tobytes() in trained for image in TEST["images"])
    assert not set(TRAIN["captions"]) & set(TEST["captions"])


def test_icons_are_black_on_white_and_whole():
    images = TEST["images"]
    assert images.min() == 0 and images.max() == 255
    ink = (images < 128).mean(axis=(1, 2, 3))
    assert ink.min() > 0.005 and ink.max() < 0.95


def test_unknown_split_and_font():
    with pytest.raises(ValueError, match="split 'val' is unknown"):
        icons("val")
    with pytest.raises(ImportError, match=r"needs fonticon_none, which is not installed: pip install 'kzoo\[demo\]'"):
        icons(font="fonticon_none.NONE")
    with pytest.raises(ValueError, match="fonticon_mdi7.Missing is not an icon font"):
        icons(font="fonticon_mdi7.Missing")
