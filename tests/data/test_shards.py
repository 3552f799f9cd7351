"""Pairs from tar shards: what a sample is, what a batch holds, in which order, and in training."""

import json
import random

import keras
import numpy as np
import pytest
from braceexpand import braceexpand
from shard_case import PAIRS, ids_of, png, sample, tar_of, texts_of, write_shards
from shared_case import tiny_model

import kzoo
from kzoo.data import ShardDataset
from kzoo.data.streams.braces import braced
from kzoo.files import limits
from kzoo.preprocessing import Augmentation

STEPS = tiny_model().preprocessor


def one_shard(tmp_path, members, **options):
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    return kzoo.data.shards(tmp_path / "a.tar", STEPS, 2, shuffle=False, **options)


def test_every_pair_once_in_the_order_of_the_shards(tmp_path):
    data = kzoo.data.shards(write_shards(tmp_path, [5, 0, 9, 10]), STEPS, 7, shuffle=False)
    assert isinstance(data, ShardDataset) and len(data) == 4 and data.count == 24
    assert sum((texts_of(STEPS, batch) for batch in data), []) == PAIRS["captions"]
    assert np.array_equal(data[0]["images"], STEPS.encode_images(PAIRS["images"][:7])["images"])
    assert repr(data) == "<ShardDataset of 24 pairs in 4 batches of 7, in the order of the source, seed 0>"


def test_shards_are_named_in_many_ways(tmp_path):
    pattern = write_shards(tmp_path, [3, 4, 5])
    sources = [pattern, tmp_path, f"{tmp_path}/data-{{0000..0002}}.tar", sorted(tmp_path.glob("*.tar"))]
    sources += [
        [f"{tmp_path}/data-000{{0,1}}.tar", tmp_path / "data-0002.tar"],
        f"file:{tmp_path}/data-{{0000..0002}}.tar",
    ]
    for source in sources:
        data = kzoo.data.shards(source, STEPS, 4, shuffle=False)
        assert data.count == 12 and texts_of(STEPS, data[2]) == PAIRS["captions"][8:12]
    (tmp_path / "odd{name}[1].tar").write_bytes(tar_of(sample(0) + sample(1)))
    assert kzoo.data.shards(tmp_path / "odd{name}[1].tar", STEPS, 2).count == 2


@pytest.mark.parametrize(
    "pattern", ["{0..3}{a,b}", "{08..12..2}x{5..-5..5}", "a{b,c{d,e{1..3}}}{,.old}", r"{x\,y,z\}}", "a{{b,c}}"]
)
def test_patterns_are_counted_before_a_name_is_made(pattern, monkeypatch):
    names = list(braceexpand(pattern))
    monkeypatch.setattr(limits, "SHARDS", len(names))
    assert braced(pattern) == names
    monkeypatch.setattr(limits, "SHARDS", len(names) - 1)
    with pytest.raises(ValueError, match=f"stands for more than {len(names) - 1} shards"):
        braced(pattern)


@pytest.mark.parametrize(
    "source, sentence",
    [
        ([], "the source is an empty list"),
        (7, r"the source is 7 \(int\); give the path, URL or pattern of shards"),
        ("nothing-*.tar", r"no file fits the pattern nothing-\*.tar"),
        ("data-{0..3.tar", "has a brace that is not closed"),
        ("lost.tar", "there is no shard lost.tar"),
        ("lost.tar.gz", "lost.tar.gz is compressed"),
        (["lost.tar", "lost.tar"], "names lost.tar twice"),
        ("-", "which is no shard"),
        ("data-{0..99999999}.tar", "stands for more than 1,000 shards"),
        ("{a,b}" * 40 + ".tar", "stands for more than 1,000 shards"),
        ("x{y" + "{a,b}" * 40 + ",z}.tar", "stands for more than 1,000 shards"),
        ("{" + "{a,b}" * 40, "stands for more than 1,000 shards"),
        ("{0..9}" * 3 + "{a..z}{1" + "0" * 5000 + "..2}", "stands for more than 1,000 shards"),
        ("{" * 5000 + "}" * 5000, "has more than 32 braces within each other"),
        ("foo://a/b.tar", "begins with foo:, which is unknown"),
    ],
)
def test_sources_that_are_none(source, sentence, monkeypatch):
    monkeypatch.setattr(limits, "SHARDS", 1000)
    with pytest.raises((ValueError, TypeError), match=sentence):
        kzoo.data.shards(source, STEPS)


def test_which_captions_a_sample_has(tmp_path):
    members = [*sample(0, ["one", "uno"]), ("0000.txt", b"lost")]
    members += [("1.jpg", png(1)), ("1.json", b'{"caption": "two", "width": 3}'), ("1.txt", b" text \n")]
    members += [("2.WEBP", png(2)), ("2.json", b'{"caption": "three", "alt": ["drei", "trois"]}')]
    data = one_shard(tmp_path, members, every_caption=True)
    assert sum((texts_of(STEPS, batch) for batch in data), []) == ["one", "uno", "text", "three"]
    assert data.image_ids.tolist() == [0, 0, 1, 2] and [*data.captions] == ["one", "uno", "text", "three"]
    with pytest.warns(UserWarning, match="^2 samples cannot be used"):
        named = one_shard(tmp_path, members, caption_key="alt", skip_broken=True).in_order()
    assert named.rows_read.tolist() == [2] and texts_of(STEPS, named[0]) == ["drei"]
    assert named.broken[0] == "a.tar: 0000: its record (.json) has no 'alt', only captions."
    texts = one_shard(tmp_path, members[:6], caption_key="txt")
    assert texts_of(STEPS, texts[0]) == ["lost", "text"]


def test_names_are_divided_as_webdataset_divides_them(tmp_path):
    members = [("./a.b/0.left.png", png(3)), ("./a.b/0.right.png", png(4)), ("./a.b/0.txt", b"zero")]
    members += [("__meta__/0.txt", b"no"), ("._1.png", b"mac"), ("readme", b"no"), ("1.cls", b"7")]
    members += [("1.right.png", png(5)), ("1.txt", b"one")]
    data = one_shard(tmp_path, members, image_key=".right.PNG")
    assert data.count == 2 and texts_of(STEPS, data[0]) == ["zero", "one"]
    assert np.array_equal(data[0]["images"], STEPS.encode_images([PAIRS["images"][4], PAIRS["images"][5]])["images"])


@pytest.mark.parametrize("form", [0, 1, 2])
def test_long_names_of_every_kind_of_tar(tmp_path, form):
    keys = [f"{'folder/' * 12}{'x' * 60}{number}é" if form else f"{'folder/' * 12}{number}" for number in range(2)]
    members = [each for number, key in enumerate(keys) for each in sample(number, key=key)]
    (tmp_path / "a.tar").write_bytes(tar_of(members, form))
    rows = kzoo.data.shards(tmp_path / "a.tar", STEPS, 2).rows
    assert [rows[number].place for number in range(2)] == [f"a.tar: {key}" for key in keys]


def test_columns_of_numbers_and_classes(tmp_path):
    def record(number, species):
        return [(f"{number}.png", png(number)), (f"{number}.json", json.dumps(species).encode())]

    first = {"caption": "a", "labels": 3, "species": "dog", "at": 0.5}
    members = record(0, first) + record(1, first | {"labels": 4, "species": "cat"})
    options = {"columns": ("labels", "species", "at"), "classes": {"species": ["cat", "dog"]}}
    data = one_shard(tmp_path, members, **options)
    batch = data[0]
    assert (
        batch["labels"].tolist() == [3, 4] and batch["species"].tolist() == [1, 0] and batch["at"].tolist() == [0.5] * 2
    )
    assert data.classes == {"species": ("cat", "dog")}
    with pytest.raises(
        ValueError, match=r"a.tar: 0: the species is 'dog', which is no number; names of classes.*given"
    ):
        one_shard(tmp_path, members, columns="species")[0]
    with pytest.raises(ValueError, match="a column of shards is of numbers or of classes"):
        one_shard(tmp_path, members, columns="crop_texts")


def test_the_order_is_a_function_of_seed_and_epoch_and_of_nothing_else(tmp_path):
    pattern = write_shards(tmp_path, [5, 1, 9, 9])
    options = {"ids": True, "augmentation": Augmentation((0.3, 1.0)), "word_dropout": 0.4}
    data = kzoo.data.shards(pattern, STEPS, 6, **options)
    batches = [data.at(2, index) for index in range(4)]
    assert sorted(np.concatenate([batch["ids"] for batch in batches])) == list(range(24))
    again = kzoo.data.shards(pattern, STEPS, 6, workers=0, **options)
    for index in random.Random(0).sample(range(4), 4):
        batch = again.at(2, index)
        assert all(np.array_equal(batch[name], batches[index][name]) for name in batch)
    assert [*map(list, ids_of(data, 1))] != [*map(list, ids_of(data, 2))]
    assert [*map(list, ids_of(kzoo.data.shards(pattern, STEPS, 6, seed=1, ids=True), 2))] != [
        *map(list, ids_of(data, 2))
    ]


def test_what_is_drawn_for_a_row_depends_on_no_batch(tmp_path):
    captions = ["one", "two", "three", "four", "five"]
    members = [each for number in range(12) for each in sample(number, captions)]
    (tmp_path / "a.tar").write_bytes(tar_of(members))

    def drawn(batch_size, epoch):
        data = kzoo.data.shards(tmp_path / "a.tar", STEPS, batch_size, ids=True)
        batches = [data.at(epoch, index) for index in range(len(data))]
        return {int(i): text for batch in batches for i, text in zip(batch["ids"], texts_of(STEPS, batch))}

    assert drawn(4, 0) == drawn(6, 0) != drawn(4, 1)
    assert set(drawn(12, 0).values()) | set(drawn(12, 1).values()) == set(captions)
    bag = kzoo.data.shards(tmp_path / "a.tar", STEPS, 4, captions_per_image=3)[0]
    assert bag["token_ids"].shape == (4, 3, 10)


def test_every_caption_is_a_pair_in_training_too(tmp_path):
    members = sample(0, ["one", "uno"]) + sample(1, ["two", "due", "zwei"]) + sample(2)
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    (tmp_path / "b.tar").write_bytes(tar_of(sample(3, ["four"]) + sample(4, ["five", "cinque"])))
    data = kzoo.data.shards(tmp_path, STEPS, 3, every_caption=True, ids=True)
    assert data.count == 9 and data.image_ids.tolist() == [0, 0, 1, 1, 1, 2, 3, 4, 4]
    assert sorted(np.concatenate(ids_of(data))) == list(range(9))


def test_a_batch_size_that_is_set_later_is_the_size_of_batches(tmp_path):
    data = kzoo.data.shards(write_shards(tmp_path, [12, 12]), STEPS, 2, ids=True)
    assert len(data[0]["ids"]) == 2
    data.batch_size = 8
    assert len(data) == 3 and sorted(np.concatenate(ids_of(data))) == list(range(24))


@pytest.mark.every_backend
def test_fit_evaluate_and_predict_read_them_as_pairs(tmp_path):
    model = tiny_model(depth=1)
    model.compile("sgd")
    data = kzoo.data.shards(write_shards(tmp_path, [5, 9, 10]), model.preprocessor, 6)
    assert np.isfinite(model.fit(data, epochs=2, verbose=0).history["loss"]).all() and model.epochs_made == 2
    pairs = kzoo.data.pairs(PAIRS, model.preprocessor, 6, shuffle=False)
    expected, found = model.predict(pairs, verbose=0), model.predict(data, verbose=0)
    np.testing.assert_allclose(found["image_embeddings"], expected["image_embeddings"], atol=1e-6)
    assert model.evaluate(data, verbose=0) == pytest.approx(model.evaluate(pairs, verbose=0), abs=1e-6)


def test_steps_per_epoch_go_on_over_the_ends_of_epochs(tmp_path):
    model = tiny_model(depth=1)
    model.compile("sgd")
    data = kzoo.data.shards(write_shards(tmp_path, [9, 15]), model.preprocessor, 6, workers=0)
    read, batch = [], data.batch

    def noted(chosen, random):
        read.append(tuple(chosen.tolist()))
        return batch(chosen, random)

    data.batch = noted
    model.fit(data, epochs=2, steps_per_epoch=3, verbose=0)
    expected = [data._chosen(*divmod(step, 4)) for step in range(6)]
    assert read[-6:] == [tuple(each.tolist()) for each in expected]


def test_parts_of_batches_are_dealt_without_overlap_or_loss(tmp_path):
    """Of shards that are as uneven as can be, and fewer than there are processes."""
    write_shards(tmp_path, [1, 17, 2])
    for options in ({}, {"shuffle": False}):
        whole = kzoo.data.shards(tmp_path, STEPS, 6, ids=True, augmentation=Augmentation((0.3, 1.0)), **options)
        parts = [whole.of_part(index, 4) for index in range(4)]
        assert [len(part) for part in parts] == [len(whole)] * 4
        for epoch, index in ((0, 0), (1, 2), (5, len(whole) - 1)):
            batch, own = whole.at(epoch, index), [part.at(epoch, index) for part in parts]
            count = len(batch["ids"])
            assert [len(each["ids"]) for each in own][:count] == [*map(len, np.array_split(batch["ids"], 4))][:count]
            for name in batch:  # pictures too: what is drawn for a row is the same whoever reads it
                assert np.array_equal(np.concatenate([each[name] for each in own[:count]]), batch[name])


@pytest.mark.filterwarnings("ignore:.*samples cannot be used")
def test_parts_of_batches_with_broken_samples_are_those_of_the_whole(tmp_path):
    members = [each for number in range(24) for each in sample(number)]
    members = [(name, b"no" if name in ("0001.png", "0007.png", "0009.png") else data) for name, data in members]
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    whole = kzoo.data.shards(tmp_path, STEPS, 8, ids=True, skip_broken=True)
    parts = [whole.of_part(index, 2) for index in range(2)]
    for epoch in range(4):
        for index in range(3):
            own = np.concatenate([part.at(epoch, index)["ids"] for part in parts])
            assert len(set(own.tolist())) == 8 and not {1, 7, 9} & set(own.tolist())
            assert np.array_equal(own, whole.at(epoch, index)["ids"])


@pytest.mark.once
def test_a_training_goes_on_in_the_middle_of_an_epoch(tmp_path):
    (tmp_path / "data").mkdir()
    pattern = write_shards(tmp_path / "data", [5, 9, 10])

    def fitted(*callbacks):
        keras.utils.set_random_seed(0)
        model = tiny_model(depth=1)
        model.compile("sgd")
        data = kzoo.data.shards(pattern, model.preprocessor, 4, augmentation=Augmentation((0.3, 1.0)))
        model.fit(data, epochs=2, verbose=0, callbacks=list(callbacks))
        return [weight.numpy() if hasattr(weight, "numpy") else np.asarray(weight) for weight in model.get_weights()]

    class Stop(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == 9:
                raise KeyboardInterrupt

    whole = fitted()
    with pytest.raises(KeyboardInterrupt):
        fitted(kzoo.training.Resume(tmp_path / "run", every=1), Stop())
    for ours, theirs in zip(fitted(kzoo.training.Resume(tmp_path / "run", every=1)), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
