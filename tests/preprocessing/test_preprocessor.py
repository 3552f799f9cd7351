"""The preprocessor as one object: arrays out, vocabulary in, save and load."""

import numpy as np
import pytest
from PIL import Image
from shared_case import toy_pairs

from kzoo.preprocessing import ImageSteps, Preprocessor, Tokenizer

PAIRS = toy_pairs(6)


def preprocessor(vocabulary=None, tokenizer=None):
    return Preprocessor(ImageSteps(16), tokenizer, vocabulary)


def test_batch_of_both_modalities():
    steps = preprocessor({"train": 300, "context_length": 8})
    steps.adapt(PAIRS["captions"])
    batch = steps(PAIRS["images"], PAIRS["captions"])
    assert {name: (array.shape, str(array.dtype)) for name, array in batch.items()} == {
        "images": ((6, 16, 16, 3), "uint8"),
        "token_ids": ((6, 8), "int32"),
        "padding_mask": ((6, 8), "bool"),
    }


def test_hard_negatives_are_filled_up_to_the_longest_list():
    steps = preprocessor({"train": 300, "context_length": 8})
    steps.adapt(PAIRS["captions"])
    got = steps(negatives=[["a big", "a"], [], ("big a",)])
    assert set(got) == {"negative_token_ids", "negative_padding_mask", "negatives_mask"}
    flat = steps(texts=["a big", "a", "", "", "big a", ""])
    for name, array in flat.items():
        assert got[f"negative_{name}"].dtype == array.dtype
        np.testing.assert_array_equal(got[f"negative_{name}"], array.reshape(3, 2, 8))
    np.testing.assert_array_equal(got["negatives_mask"], [[True, True], [False, False], [True, False]])
    with pytest.raises(TypeError, match=r"the negatives of pair 1 are the string 'a', .* \['a'\]"):
        steps.encode_negatives([["a"], "a"])
    for nothing in ([], [[], []]):
        with pytest.raises(ValueError, match="negatives holds no text"):
            steps.encode_negatives(nothing)


def test_a_picture_that_cannot_be_read_is_named_by_its_place():
    with pytest.raises(ValueError, match="image 1: there is no image file nowhere.png"):
        preprocessor().encode_images([PAIRS["images"][0], "nowhere.png"])


def test_save_and_load(tmp_path):
    steps = preprocessor({"train": 300, "context_length": 8})
    steps.adapt(PAIRS["captions"])
    config = steps.save(tmp_path)
    assert "json" not in config["tokenizer"] and (tmp_path / "tokenizer.json").is_file()
    again = Preprocessor.load(tmp_path, config)
    assert np.array_equal(again.encode_texts(["a big"])["token_ids"], steps.encode_texts(["a big"])["token_ids"])
    assert again.get_config() == steps.get_config() == Preprocessor.from_config(steps.get_config()).get_config()


def test_no_vocabulary_yet():
    with pytest.raises(ValueError, match=r"learn one with model.preprocessor.adapt\(captions\)"):
        preprocessor({"train": 300, "context_length": 8}).encode_texts(["a"])


def test_a_vocabulary_that_comes_with_a_checkpoint():
    steps = preprocessor({"source": "laion/some-repository"})
    with pytest.raises(ValueError, match="comes with laion/some-repository and is not here"):
        steps.encode_texts(["a"])
    with pytest.raises(ValueError, match="comes with laion/some-repository and is not here"):
        steps.adapt(["a"])


def test_a_vocabulary_is_learned_once():
    steps = preprocessor({"train": 300, "context_length": 8}, Tokenizer.train(["a"], 259, 8))
    with pytest.raises(ValueError, match="has a vocabulary already"):
        steps.adapt(["b"])


def test_sets_have_one_number_of_rows():
    images, captions = toy_pairs(5)["images"], toy_pairs(4)["captions"]
    steps = preprocessor()
    with pytest.raises(ValueError, match="there are 5 images but 4 texts; give one for each row"):
        steps(images, captions)
    with pytest.raises(ValueError, match="there are 4 texts but 1 negative_texts"):
        steps(texts=captions, negatives=[["a"]])
    for one, shown in (("cat.jpg", "one string"), (b"cat", "one bytes"), (Image.new("RGB", (4, 4)), "one Image")):
        with pytest.raises(TypeError, match=f"images is {shown}, but a list is expected: "):
            steps(images=one)


@pytest.mark.parametrize(
    "captions, sentence",
    [
        ("a red square", "captions are one string, but a list of strings is expected"),
        ({"captions": ["a"]}, "captions are a dict, but a list of strings is expected"),
        ([["a", "b"], ["c"]], "caption 0 is of type list, but a string is expected"),
        (["a", None], "caption 1 is of type NoneType"),
        ([], "there are no captions to learn a vocabulary from"),
        (iter([" "]), "there are no captions"),
    ],
)
def test_what_no_vocabulary_is_learned_from(captions, sentence):
    steps = preprocessor({"train": 300, "context_length": 8})
    with pytest.raises(ValueError, match=sentence):
        steps.adapt(captions)
    steps.adapt(caption for caption in ["a cat"])  # nothing was learned before
    assert steps.encode_texts(["a cat"])["token_ids"].shape == (1, 8)
