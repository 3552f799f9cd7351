"""Pairs from every source: order, captions, augmentation, and rows that are broken."""

import json

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.preprocessing import Augmentation

STEPS = tiny_model().preprocessor
PAIRS = toy_pairs(12)


def write_images(folder, count=4):
    for index in range(count):
        Image.fromarray(PAIRS["images"][index]).save(folder / f"{index}.png")


def texts_of(batch):
    return STEPS.tokenizer.decode(batch["token_ids"])


def test_arrays_in_order():
    data = kzoo.data.pairs(PAIRS, STEPS, batch_size=5, shuffle=False)
    assert [len(batch["images"]) for batch in data] == [5, 5, 2]
    assert sum((texts_of(batch) for batch in data), []) == PAIRS["captions"]
    assert np.array_equal(data[0]["images"], STEPS.encode_images(PAIRS["images"][:5])["images"])


def test_captions_that_were_cut_are_counted_once(recwarn):
    captions = [f"{caption} " * (9 if index == 3 else 1) for index, caption in enumerate(PAIRS["captions"])]
    data = kzoo.data.pairs(PAIRS | {"captions": captions}, STEPS, batch_size=5, shuffle=False)
    for _ in range(2):
        for index in range(len(data)):
            assert np.all(np.any(data[index]["token_ids"] == 2, axis=1))
        data.on_epoch_end()
    said = [str(warning.message) for warning in recwarn if "captions" in str(warning.message)]
    assert len(said) == 1 and said[0].startswith("1 of the 12 captions of an epoch are longer than the context of 10")


def test_shuffling_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        data = kzoo.data.pairs(PAIRS, STEPS, batch_size=6, seed=seed)
        data.epoch = epoch
        return sum((texts_of(data[index]) for index in (1, 0)), [])

    assert order(0, 0) == order(0, 0) and sorted(order(0, 0)) == sorted(PAIRS["captions"])
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)


def test_shuffled_batches_are_full():
    assert len(kzoo.data.pairs(PAIRS, STEPS, batch_size=5)) == 2


def test_epochs_advance():
    data = kzoo.data.pairs(PAIRS, STEPS, batch_size=12)
    first = texts_of(data[0])
    data.on_epoch_end()
    assert data.epoch == 1 and texts_of(data[0]) != first


def test_csv_with_several_captions_of_one_image(tmp_path):
    write_images(tmp_path)
    lines = ["image,caption", "0.png,a red thing", '0.png,"red, again"', "1.png,green", "2.png,blue"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    once = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, batch_size=3, shuffle=False)
    assert texts_of(once[0]) == ["a red thing", "green", "blue"] and once.image_ids is None
    each = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, batch_size=4, shuffle=False, every_caption=True)
    assert texts_of(each[0]) == ["a red thing", "red, again", "green", "blue"]
    assert each.image_ids.tolist() == [0, 0, 1, 2]
    drawn = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, batch_size=3)
    seen = set()
    for drawn.epoch in range(12):
        texts = texts_of(drawn[0])
        assert len(texts) == 3
        seen |= set(texts)
    assert seen == {"a red thing", "red, again", "green", "blue"}


def test_tsv_and_column_names(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / "pairs.tsv").write_text("file\ttext\n0.png\tone\n1.png\ttwo\n")
    data = kzoo.data.pairs(tmp_path / "pairs.tsv", STEPS, 2, shuffle=False, image_key="file", caption_key="text")
    assert texts_of(data[0]) == ["one", "two"]
    with pytest.raises(ValueError, match="the table has no column 'image', only file, text"):
        kzoo.data.pairs(tmp_path / "pairs.tsv", STEPS)


def test_jsonl_with_lists_of_captions(tmp_path):
    write_images(tmp_path, 2)
    records = [{"image": "0.png", "caption": ["one", "uno"]}, {"image": str(tmp_path / "1.png"), "caption": "two"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = kzoo.data.pairs(tmp_path / "pairs.jsonl", STEPS, 3, shuffle=False, every_caption=True)
    assert texts_of(data[0]) == ["one", "uno", "two"] and data.captions == ["one", "uno", "two"]


def test_folder_with_text_files(tmp_path):
    write_images(tmp_path, 3)
    for index, text in enumerate(["one\nuno\n", "two", "three"]):
        (tmp_path / f"{index}.txt").write_text(text)
    data = kzoo.data.pairs(tmp_path, STEPS, 3, shuffle=False)
    assert texts_of(data[0]) == ["one", "two", "three"]


def test_broken_rows_are_listed_and_are_an_error(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / "pairs.csv").write_text("image,caption\n0.png,one\nlost.png,two\n1.png,\n1.png,three\n")
    with pytest.raises(
        ValueError, match="2 rows of the source cannot be used: pairs.csv row 2: there is no image file"
    ):
        kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 2)
    with pytest.warns(UserWarning, match="pairs.csv row 3: the caption is empty"):
        data = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 2, shuffle=False, skip_broken=True)
    assert texts_of(data[0]) == ["one", "three"] and len(data.broken) == 2


def test_a_file_that_turns_out_unreadable(tmp_path):
    write_images(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"not an image")
    (tmp_path / "pairs.csv").write_text("image,caption\n0.png,one\n1.png,two\n2.png,three\n")
    data = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 3, shuffle=False)
    with pytest.raises(ValueError, match=r"pairs.csv row 2: .*1.png cannot be read as an image.*skip_broken=True"):
        data[0]
    data = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 3, shuffle=False, skip_broken=True)
    with pytest.warns(UserWarning, match="1.png cannot be read as an image: .*It is left out"):
        batch = data[0]
    assert texts_of(batch) == ["one", "three"]
    assert len(data.broken) == 1 and data.broken[0].startswith("pairs.csv row 2")


def test_no_readable_image(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no")
    (tmp_path / "1.png").write_bytes(b"no")
    (tmp_path / "pairs.csv").write_text("image,caption\n0.png,one\n1.png,two\n")
    data = kzoo.data.pairs(tmp_path / "pairs.csv", STEPS, 2, skip_broken=True)
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="0 of the 2 pairs of a batch can be read, .* pairs.csv"),
    ):
        data[0]


def test_images_without_captions_and_captions_without_images(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / "0.txt").write_text("one")
    (tmp_path / "9.txt").write_text("nine")
    with pytest.raises(ValueError, match=r"1.png: no caption in 1.txt; .*9.txt: no image of that name"):
        kzoo.data.pairs(tmp_path, STEPS, 2)


def test_bad_json_lines(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"image": \n')
    with pytest.raises(ValueError, match="pairs.jsonl row 1: not JSON"):
        kzoo.data.pairs(tmp_path / "pairs.jsonl", STEPS, 2)


def test_augmentation_and_word_dropout_follow_seed_and_epoch():
    options = {"augmentation": Augmentation((0.3, 0.8)), "word_dropout": 0.5, "batch_size": 12}
    data, again = (kzoo.data.pairs(PAIRS, STEPS, **options) for _ in range(2))
    first, second = data[0], again[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)
    words = [len(text.split()) for text in texts_of(first)]
    assert min(words) >= 1 and sum(words) < 4 * 12
    data.on_epoch_end()
    assert not np.array_equal(data[0]["token_ids"], first["token_ids"])


@pytest.mark.every_backend
def test_threads_do_not_change_what_is_trained(model):
    losses = []
    for workers in (1, 3):
        model.set_weights([np.full(weight.shape, 0.01, "float32") for weight in model.get_weights()])
        model.compile("sgd")
        data = kzoo.data.pairs(PAIRS, STEPS, batch_size=4, augmentation=Augmentation(), workers=workers)
        losses.append(model.fit(data, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "source, options, sentence",
    [
        ("nowhere.csv", {}, "nowhere.csv is no source of pairs"),
        (PAIRS, {"batch_size": 1}, "a contrastive batch needs at least two pairs"),
        (PAIRS, {"batch_size": 64}, "a batch_size of 64 is more than the 12 pairs"),
        ({"images": []}, {}, "a dict without captions"),
        ({"images": [], "captions": []}, {}, "holds no pair"),
        ({"images": PAIRS["images"], "captions": ["one"]}, {}, "12 images but 1 captions"),
    ],
)
def test_bad_sources(source, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        kzoo.data.pairs(source, STEPS, **options)
