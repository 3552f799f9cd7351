"""What travels with pairs into a batch: columns, bags, crops, masks, ids."""

import json

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data import Crops, Separations
from kzoo.preprocessing import BagOfWords, RandomPatches, RandomTokens

STEPS = tiny_model().preprocessor
PAIRS = toy_pairs(6)
IMAGES, CAPTIONS = PAIRS["images"], PAIRS["captions"]
ORDERED = {"batch_size": 6, "shuffle": False}


def texts_of(ids):
    return STEPS.tokenizer.decode(ids.reshape(-1, ids.shape[-1]))


def test_a_tuple_is_images_and_captions():
    pair, named = (kzoo.data.pairs(source, STEPS, **ORDERED)[0] for source in ((IMAGES, CAPTIONS), PAIRS))
    assert all(np.array_equal(pair[name], named[name]) for name in named) and list(pair) == list(named)


@pytest.mark.parametrize("source", [(IMAGES, CAPTIONS, CAPTIONS), [IMAGES, CAPTIONS], 3])
def test_other_types_are_no_source(source):
    with pytest.raises(TypeError, match="the source is of type .*, which is no source of pairs: a path .* or a tuple"):
        kzoo.data.pairs(source, STEPS)


def test_columns_of_a_dict_travel():
    source = PAIRS | {
        "labels": np.arange(6),
        "label_embeddings": np.eye(6, 3, dtype="float32"),
        "counting_mask": [True, False] * 3,
        "counterfactual_texts": CAPTIONS[::-1],
        "crop_images": IMAGES[::-1],
        "negatives": [["a red circle", "a square"], [], ["a"], ["a"], ["a"], ["a"]],
    }
    batch = kzoo.data.pairs(source, STEPS, **ORDERED)[0]
    assert batch["labels"].tolist() == list(range(6)) and batch["label_embeddings"].dtype == "float32"
    assert batch["counting_mask"].dtype == bool and batch["label_embeddings"].shape == (6, 3)
    assert texts_of(batch["counterfactual_token_ids"]) == CAPTIONS[::-1]
    assert np.array_equal(batch["crop_images"], batch["images"][::-1])
    assert batch["negative_token_ids"].shape == (6, 2, 10) and batch["negatives_mask"].sum() == 6
    shuffled = kzoo.data.pairs(source, STEPS, batch_size=3)[1]
    assert np.array_equal(shuffled["label_embeddings"], np.eye(6, 3)[shuffled["labels"]])
    # as wide in every batch as the longest of the set, even where a batch has none
    assert shuffled["negative_token_ids"].shape == (3, 2, 10)


def test_negatives_may_belong_to_single_captions():
    source = {"images": IMAGES[:2], "captions": [["a big", "small"], ["red", "blue"]]}
    source["negatives"] = [[["a"], ["circle"]], [["a", "red"], ["blue"]]]
    batch = kzoo.data.pairs(source, STEPS, 4, shuffle=False, every_caption=True)[0]
    assert texts_of(batch["negative_token_ids"][batch["negatives_mask"]]) == ["a", "circle", "a", "red", "blue"]
    source["negatives"][0].append(["a"])
    with pytest.raises(ValueError, match="negative_texts has 3 lists for an image of 2 captions"):
        kzoo.data.pairs(source, STEPS, 4)


def write_table(folder, records):
    for index in range(3):
        Image.fromarray(IMAGES[index]).save(folder / f"{index}.png")
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder / "pairs.jsonl"


def test_columns_of_tables(tmp_path):
    records = [
        {
            "image": "0.png",
            "caption": ["one", "uno"],
            "labels": 3,
            "negatives": ["two", "three"],
            "crop_images": "1.png",
        },
        {"image": "1.png", "caption": "two", "labels": 1, "negatives": ["one"], "crop_images": "2.png"},
        {"image": "0.png", "caption": "ein", "labels": 7, "negatives": [], "crop_images": "2.png"},
    ]
    columns = ("labels", "negatives", "crop_images")
    path = write_table(tmp_path, records)
    batch = kzoo.data.pairs(path, STEPS, 4, shuffle=False, every_caption=True, columns=columns)[0]
    assert texts_of(batch["token_ids"]) == ["one", "uno", "ein", "two"] and batch["labels"].tolist() == [3, 3, 7, 1]
    assert batch["negatives_mask"].sum(axis=1).tolist() == [2, 2, 0, 1]
    crops = STEPS.encode_images([IMAGES[number] for number in (1, 1, 2, 2)])["images"]
    assert np.array_equal(batch["crop_images"], crops)
    (tmp_path / "pairs.csv").write_text("image,caption,scores\n0.png,one,0.5\n1.png,two,3\n")
    batch = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 2, shuffle=False, columns=("scores",))[0]
    assert batch["scores"].tolist() == [0.5, 3.0]


def test_cells_that_are_none(tmp_path):
    records = [{"image": "0.png", "caption": "one", "labels": "x"}, {"image": "1.png", "caption": 5, "labels": 1}]
    with pytest.raises(ValueError, match="row 1: the labels is 'x', which is no number; .*row 2: the caption holds"):
        kzoo.data.pairs(write_table(tmp_path, records), STEPS, columns=("labels",))
    with pytest.raises(ValueError, match="the table has no column 'ids', only image, caption, labels"):
        kzoo.data.pairs(tmp_path / "pairs.jsonl", STEPS, columns=("ids",))
    records = [{"image": "0.png", "caption": "one", "crop_images": ["1.png", "9.png"], "other_texts": 3}]
    with pytest.raises(ValueError, match="row 1: there is no image file .*9.png"):
        kzoo.data.pairs(write_table(tmp_path, records), STEPS, columns=("crop_images",))
    with pytest.raises(ValueError, match="row 1: the other_texts is empty or no string"):
        kzoo.data.pairs(tmp_path / "pairs.jsonl", STEPS, columns=("other_texts",))
    with pytest.raises(ValueError, match="is a folder, which has no columns labels"):
        kzoo.data.pairs(tmp_path, STEPS, columns=("labels",))


def test_several_captions_of_an_image_are_a_bag():
    source = {"images": IMAGES[:3], "captions": [["one", "two", "three"], ["four"], ["five", "six"]]}
    batch = kzoo.data.pairs(source, STEPS, 3, shuffle=False, captions_per_image=2)[0]
    assert batch["token_ids"].shape == batch["padding_mask"].shape == (3, 2, 10)
    assert batch["text_mask"].tolist() == [[True, True], [True, False], [True, True]]
    assert texts_of(batch["token_ids"][batch["text_mask"]]) == ["one", "two", "four", "five", "six"]
    drawn = kzoo.data.pairs(source, STEPS, 3, captions_per_image=2)
    seen = set()
    for drawn.epoch in range(8):
        each = texts_of(drawn[0]["token_ids"][drawn[0]["text_mask"]])
        assert len(set(each)) == 5
        seen |= set(each)
    assert seen == {"one", "two", "three", "four", "five", "six"}
    single = {"images": IMAGES[:2], "captions": ["one", "two"]}
    assert kzoo.data.pairs(single, STEPS, 2, captions_per_image=3)[0]["token_ids"].shape == (2, 3, 10)


def test_crops_are_bags():
    data = kzoo.data.pairs(PAIRS, STEPS, crops=Crops(images=3, captions=2, size=8), **ORDERED)
    batch = data[0]
    assert batch["crop_images"].shape == (6, 3, 8, 8, 3) and batch["crop_images"].dtype == np.uint8
    assert batch["crop_token_ids"].shape == batch["crop_padding_mask"].shape == (6, 2, 10)
    assert "crop_text_mask" not in batch
    for caption, text in zip(np.repeat(CAPTIONS, 2), texts_of(batch["crop_token_ids"])):
        assert text in caption and len(text) < len(caption)
    assert not np.array_equal(batch["crop_images"][:, 0], batch["crop_images"][:, 1])
    whole = kzoo.data.pairs(PAIRS, STEPS, **ORDERED)[0]
    assert np.array_equal(batch["images"], whole["images"])


def test_masks_hide_patches_and_tokens():
    masks = {"image": RandomPatches((2, 2), 0.5), "text": RandomTokens(STEPS.tokenizer, 0.5, mask_id=319)}
    batch = kzoo.data.pairs(PAIRS, STEPS, masks=masks, **ORDERED)[0]
    assert batch["image_masked"].sum(axis=1).tolist() == [2] * 6
    assert texts_of(batch["token_ids"]) == CAPTIONS and np.array_equal(batch["masked_labels"], batch["token_ids"])
    changed = batch["masked_token_ids"] != batch["token_ids"]
    assert changed.any() and not (changed & ~batch["masked_positions"]).any()
    assert np.array_equal(batch["masked_padding_mask"], batch["padding_mask"])
    kept = kzoo.data.pairs(PAIRS, STEPS, masks=RandomPatches((2, 2), 0.5, drop=True), **ORDERED)[0]
    assert kept["image_kept"].shape == (6, 2) and "masked_token_ids" not in kept


def test_bags_of_words_ids_and_matrices():
    bag = BagOfWords(STEPS.tokenizer, vocab_size=320)
    options = {"bag": bag, "ids": True, "matrices": {"weights": Separations(np.arange(6) % 2)}}
    batch = kzoo.data.pairs(PAIRS, STEPS, batch_size=4, seed=3, **options)[0]
    np.testing.assert_allclose(batch["bag"].sum(axis=1), 1.0)
    assert batch["ids"].dtype == "int32" and texts_of(batch["token_ids"]) == [CAPTIONS[index] for index in batch["ids"]]
    odd = batch["ids"] % 2
    assert np.array_equal(batch["weights"], odd[:, None] != odd[None])


def test_what_is_asked_for_changes_nothing_else():
    options = {"augmentation": kzoo.preprocessing.Augmentation((0.3, 0.8)), "word_dropout": 0.3, "batch_size": 3}
    plain = kzoo.data.pairs(PAIRS, STEPS, **options)[1]
    masks = {"image": RandomPatches((2, 2), 0.5)}
    more = kzoo.data.pairs(PAIRS, STEPS, crops=Crops(images=1, captions=1), masks=masks, ids=True, **options)[1]
    assert all(np.array_equal(plain[name], more[name]) for name in plain) and len(more) == len(plain) + 5


@pytest.mark.parametrize(
    "source, options, error, sentence",
    [
        (PAIRS | {"names": [["a"]] * 6}, {}, ValueError, "'names' holds neither numbers nor a name .* <prefix>_texts"),
        (PAIRS | {"labels": [1]}, {}, ValueError, "there are 6 images but 1 labels"),
        (PAIRS | {"labels": 1}, {}, ValueError, "there are 6 images but 1 labels"),
        (PAIRS | {"other_texts": ["a"]}, {}, ValueError, "there are 6 images but 1 other_texts"),
        (PAIRS | {"ids": np.arange(6)}, {"ids": True}, ValueError, "the source has 'ids' of its own"),
        (PAIRS | {"crop_images": IMAGES}, {"crops": Crops(images=1)}, ValueError, "the source has 'crop_images' of"),
        (
            PAIRS,
            {"matrices": {"weights": Separations([0, 1])}},
            ValueError,
            "'weights' is for 2 rows, but the set has 6",
        ),
        (PAIRS, {"masks": "random"}, TypeError, "masks are 'random'; give one such as RandomPatches"),
        (PAIRS, {"masks": {"image": "block"}}, TypeError, "the mask of 'image' is 'block'; give one such as"),
        (PAIRS, {"masks": {"audio": RandomPatches((2, 2))}}, ValueError, "masks name 'audio', but only image, text"),
        (PAIRS, {"captions_per_image": 0}, ValueError, "captions_per_image is 0"),
        (
            PAIRS,
            {"captions_per_image": 2, "every_caption": True},
            ValueError,
            "captions_per_image is 2 and every_caption",
        ),
        (
            PAIRS,
            {"captions_per_image": 2, "bag": BagOfWords(STEPS.tokenizer)},
            ValueError,
            "are of one caption; leave out captions_per_image",
        ),
        ({"images": IMAGES[:2], "captions": [["a"], []]}, {}, ValueError, "row 1: the caption is empty"),
    ],
)
def test_bad_entries(source, options, error, sentence):
    with pytest.raises(error, match=sentence):
        kzoo.data.pairs(source, STEPS, 2, **options)


def test_bad_crops():
    with pytest.raises(ValueError, match="images is -1; give a whole number of at least 0"):
        Crops(images=-1)
