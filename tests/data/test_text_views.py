"""Views of texts, pairs and triples: what a batch holds, from every source."""

import json

import numpy as np
import pytest
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data import SameGroup
from kzoo.preprocessing import BagOfWords, CropWords, RandomTokens, RepeatWords

STEPS = tiny_model().preprocessor
TEXTS = toy_pairs(8)["captions"]
ORDERED = {"batch_size": 8, "shuffle": False}


def texts_of(ids):
    return STEPS.tokenizer.decode(ids)


def test_a_text_twice():
    batch = kzoo.data.text_views({"texts": TEXTS, "labels": np.arange(8)}, STEPS, **ORDERED)[0]
    assert list(batch) == ["view_1", "view_1_padding_mask", "view_2", "view_2_padding_mask", "labels"]
    tokens = STEPS.encode_texts(TEXTS)
    for view in ("view_1", "view_2"):
        assert np.array_equal(batch[view], tokens["token_ids"]) and batch[view].dtype == "int32"
        assert np.array_equal(batch[f"{view}_padding_mask"], tokens["padding_mask"])


def test_augmented_views_follow_seed_and_epoch():
    options = ORDERED | {"augmentation": (None, RepeatWords(1.0)), "seed": 4}
    data, again = (kzoo.data.text_views(TEXTS, STEPS, **options) for _ in range(2))
    first = data[0]
    assert texts_of(first["view_1"]) == TEXTS and texts_of(first["view_2"]) != TEXTS
    for text, repeated in zip(TEXTS, texts_of(first["view_2"])):
        assert list(dict.fromkeys(repeated.split())) == text.split()
    assert all(np.array_equal(first[name], again[0][name]) for name in first)
    data.on_epoch_end()
    assert not np.array_equal(data[0]["view_2"], first["view_2"])


def test_independent_crops():
    batch = kzoo.data.text_views(TEXTS, STEPS, augmentation=CropWords((0.5, 0.5)), **ORDERED)[0]
    first, second = texts_of(batch["view_1"]), texts_of(batch["view_2"])
    assert first != second and all(crop in text for crop, text in zip(first, TEXTS))


def test_masked_views_keep_what_was_there():
    mask = RandomTokens(STEPS.tokenizer, 0.5, mask_id=319)
    batch = kzoo.data.text_views(TEXTS, STEPS, views=1, masks=mask, bag=BagOfWords(STEPS.tokenizer), **ORDERED)[0]
    assert list(batch) == ["view_1", "view_1_padding_mask", "view_1_labels", "view_1_positions", "bag"]
    assert texts_of(batch["view_1_labels"]) == TEXTS
    changed = batch["view_1"] != batch["view_1_labels"]
    assert changed.any() and not (changed & ~batch["view_1_positions"]).any()
    whole = BagOfWords(STEPS.tokenizer)(**STEPS.encode_texts(TEXTS))
    assert np.array_equal(batch["bag"], whole)
    one = kzoo.data.text_views(TEXTS, STEPS, masks={"view_2": mask}, **ORDERED)[0]
    assert texts_of(one["view_1"]) == TEXTS and "view_1_labels" not in one and "view_2_labels" in one


def test_files_of_texts(tmp_path):
    (tmp_path / "texts.txt").write_text("one\n\n two \n")
    data = kzoo.data.text_views(tmp_path / "texts.txt", STEPS, 2, shuffle=False)
    assert texts_of(data[0]["view_1"]) == ["one", "two"] and data.texts == ["one", "two"]
    (tmp_path / "texts.csv").write_text("words,labels\none,1\ntwo,2\n")
    batch = kzoo.data.text_views(tmp_path / "texts.csv", STEPS, 2, shuffle=False, text="words", columns=("labels",))[0]
    assert texts_of(batch["view_2"]) == ["one", "two"] and batch["labels"].tolist() == [1, 2]


def test_pairs_with_scores(tmp_path):
    (tmp_path / "sts.tsv").write_text("sentence1\tsentence2\tscores\none\tuno\t0.5\ntwo\tdue\t1\n")
    batch = kzoo.data.text_pairs(tmp_path / "sts.tsv", STEPS, 2, columns=("scores",), shuffle=False)[0]
    assert list(batch) == ["view_1", "view_1_padding_mask", "view_2", "view_2_padding_mask", "scores"]
    assert texts_of(batch["view_1"]) == ["one", "two"] and texts_of(batch["view_2"]) == ["uno", "due"]
    assert batch["scores"].tolist() == [0.5, 1.0]


def test_triples_of_a_dict():
    source = {"query": TEXTS, "right": TEXTS[::-1], "wrong": TEXTS[1:] + TEXTS[:1], "labels": np.arange(8)}
    data = kzoo.data.text_pairs(source, STEPS, 4, texts=("query", "right", "wrong"), ids=True)
    batch = data[0]
    for number, name in enumerate(("query", "right", "wrong")):
        assert texts_of(batch[f"view_{number + 1}"]) == [source[name][index] for index in batch["ids"]]
    assert np.array_equal(batch["labels"], batch["ids"]) and len(data) == 2


def test_jsonl_with_broken_rows(tmp_path):
    records = [{"sentence1": "a", "sentence2": "b"}, {"sentence1": "", "sentence2": "b"}, [1]]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(
        ValueError, match="2 rows .* cannot be used, the first is pairs.jsonl row 2: the sentence1 is empty"
    ):
        kzoo.data.text_pairs(path, STEPS, 2)


def test_texts_that_were_cut_are_counted_once(recwarn):
    data = kzoo.data.text_views([f"{TEXTS[0]} " * 9, *TEXTS[1:]], STEPS, **ORDERED)
    for _ in range(2):
        assert data[0]["view_1"].shape == (8, 10)
        data.on_epoch_end()
    said = [str(warning.message) for warning in recwarn if "texts of an epoch" in str(warning.message)]
    assert len(said) == 1 and said[0].startswith("2 texts of an epoch are longer than the context of 10 ids")


def test_texts_take_a_sampler():
    data = kzoo.data.text_views(TEXTS, STEPS, 4, sampler=SameGroup(np.arange(8) % 2), ids=True)
    assert all(len(set(data[index]["ids"] % 2)) == 1 for index in range(2))


def test_a_text_tower_is_trained_on_them(model):
    trained = kzoo.SelfSupervised(model.text_encoder)
    trained.compile("adam", loss=kzoo.losses.NTXent())
    data = kzoo.data.text_views(TEXTS, STEPS, 4, augmentation=RepeatWords())
    assert np.isfinite(trained.fit(data, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    "make, error, sentence",
    [
        (lambda: kzoo.data.text_views("a text", STEPS), ValueError, "a text is no source of texts; expected"),
        (lambda: kzoo.data.text_views([3, 4], STEPS, 2), TypeError, "text 0 is of type int"),
        (lambda: kzoo.data.text_views({"labels": [1]}, STEPS), ValueError, "a dict of labels without texts"),
        (lambda: kzoo.data.text_views(TEXTS, STEPS, views=0), ValueError, "views is 0"),
        (lambda: kzoo.data.text_views(TEXTS, STEPS, augmentation=[None]), ValueError, "1 augmentations but 2 views"),
        (lambda: kzoo.data.text_views(TEXTS, STEPS, masks="span"), TypeError, "masks are 'span'; give one such as"),
        (lambda: kzoo.data.text_views([], STEPS), ValueError, "holds no text"),
        (lambda: kzoo.data.text_pairs({"a": TEXTS}, STEPS, texts=("a",)), ValueError, "name two columns or more"),
        (
            lambda: kzoo.data.text_pairs({"a": TEXTS, "b": TEXTS[:2]}, STEPS, texts=("a", "b")),
            ValueError,
            "there are 8 a but 2 b",
        ),
        (
            lambda: kzoo.data.text_pairs({"a": TEXTS, "b": TEXTS, "c_texts": TEXTS}, STEPS, texts=("a", "b")),
            ValueError,
            "'c_texts' are no numbers; texts that a batch shall hold are named with texts=",
        ),
    ],
)
def test_bad_sources(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
