"""Lists of lists as bags: pictures, texts, negatives and further sets of them, by one rule."""

import numpy as np
import pytest
from shared_case import toy_pairs

from kzoo.preprocessing import ImageSteps, PatchSteps, Preprocessor, Tokenizer

PAIRS = toy_pairs(4)
IMAGES = PAIRS["images"]
STEPS = Preprocessor(ImageSteps(16), Tokenizer.train(PAIRS["captions"], 300, 8))


def test_bags_of_pictures_are_filled_up_with_black_ones():
    batch = STEPS(images=[[IMAGES[0], IMAGES[1]], [IMAGES[2]], []])
    assert batch["images"].shape == (3, 2, 16, 16, 3) and list(batch) == ["images", "image_mask"]
    np.testing.assert_array_equal(batch["image_mask"], [[True, True], [True, False], [False, False]])
    flat = STEPS(images=IMAGES[:3])["images"]
    np.testing.assert_array_equal(batch["images"][batch["image_mask"]], flat)
    assert not batch["images"][~batch["image_mask"]].any()


def test_an_array_of_pictures_for_each_row_is_a_bag():
    batch = STEPS(images=np.stack([IMAGES[:2], IMAGES[2:]]))
    assert batch["images"].shape == (2, 2, 16, 16, 3) and batch["image_mask"].all()
    plain = STEPS(images=IMAGES)
    assert list(plain) == ["images"] and np.array_equal(batch["images"].reshape(4, 16, 16, 3), plain["images"])


def test_bags_of_pictures_of_any_shape():
    steps = Preprocessor(PatchSteps(patch_size=8, max_patches=6), STEPS.tokenizer)
    batch = steps(crop_images=[[IMAGES[0]], [IMAGES[1], IMAGES[2]]])
    assert {name: array.shape for name, array in batch.items()} == {
        "crop_images": (2, 2, 6, 192),
        "crop_image_grid": (2, 2, 2),
        "crop_image_mask": (2, 2),
    }


def test_bags_of_texts():
    batch = STEPS(texts=[["a big", "red"], ["circle"]])
    flat = STEPS(texts=["a big", "red", "circle", ""])
    assert list(batch) == ["token_ids", "padding_mask", "text_mask"]
    for name, array in flat.items():
        np.testing.assert_array_equal(batch[name], array.reshape(2, 2, 8))
    np.testing.assert_array_equal(batch["text_mask"], [[True, True], [True, False]])


def test_further_sets_have_a_prefix():
    batch = STEPS(IMAGES, PAIRS["captions"], crop_images=IMAGES, counterfactual_texts=[["a"], ["b"], [], ["a", "b"]])
    assert set(batch) == {
        "images",
        "token_ids",
        "padding_mask",
        "crop_images",
        "counterfactual_token_ids",
        "counterfactual_padding_mask",
        "counterfactual_text_mask",
    }
    assert batch["counterfactual_token_ids"].shape == (4, 2, 8) and batch["crop_images"].shape == (4, 16, 16, 3)


def test_negatives_are_negative_texts():
    negatives = [["a big", "a"], []]
    old, new = STEPS(negatives=negatives), STEPS(negative_texts=negatives)
    assert set(old) == set(new) == {"negative_token_ids", "negative_padding_mask", "negatives_mask"}
    assert all(np.array_equal(old[name], new[name]) for name in old)
    with pytest.raises(TypeError, match="the negatives of pair 0 are the string 'a', but a list is expected"):
        STEPS(negative_texts=["a", "b"])


@pytest.mark.parametrize(
    "given, error, sentence",
    [
        ({"crops": IMAGES}, TypeError, "'crops' is no set of pictures or texts; call it <prefix>_images or"),
        ({"_texts": ["a"]}, TypeError, "'_texts' is no set of pictures or texts"),
        ({"texts": [["a"], "b"]}, TypeError, r"the texts of pair 1 are the string 'b', .* \['b'\]"),
        ({"images": [[IMAGES[0]], IMAGES[1]]}, TypeError, "the images of pair 1 are of type ndarray, but a list"),
        ({"candidate_texts": [[], []]}, ValueError, "candidate_texts holds no text; give a list for each pair"),
        ({"images": [[], []]}, ValueError, "images holds no picture"),
        ({"images": [[IMAGES[0]], ["no.png"]]}, ValueError, "image 0 of row 1: there is no image file no.png"),
        ({"texts": "a cat"}, TypeError, "texts is one string"),
    ],
)
def test_bad_sets(given, error, sentence):
    with pytest.raises(error, match=sentence):
        STEPS(**given)


def test_a_width_can_be_given():
    batch = STEPS.encode_texts([["a"], []], "candidate", bag=3)
    assert batch["candidate_token_ids"].shape == (2, 3, 8) and batch["candidate_text_mask"].sum() == 1
    with pytest.raises(ValueError, match="a bag of texts has 2 members, but 1 are expected at most"):
        STEPS.encode_texts([["a", "b"]], bag=1)
