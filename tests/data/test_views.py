"""Augmented views: what a batch holds, seeds and epochs, sources, and batches by the group of each row."""

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data import DistinctGroups, SameGroup
from kzoo.preprocessing import Augmentation, ImageSteps

IMAGES = toy_pairs(12)["images"]
STEPS = ImageSteps(16)
WHOLE = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0))


def test_a_batch_has_views_local_views_and_what_goes_with_a_picture():
    source = {"images": IMAGES, "labels": np.arange(12)}
    data = kzoo.data.views(source, STEPS, 5, views=3, local_views=2, local_size=8, shuffle=False)
    batch = data[2]
    assert list(batch) == ["view_1", "view_2", "view_3", "local_1", "local_2", "labels"]
    assert batch["view_3"].shape == (2, 16, 16, 3) and batch["local_2"].shape == (2, 8, 8, 3)
    assert batch["view_1"].dtype == np.uint8 and batch["labels"].tolist() == [10, 11]
    assert not np.array_equal(batch["view_1"], batch["view_2"])


def test_rows_stay_together_and_shuffling_follows_seed_and_epoch():
    def epoch(seed, number):
        data = kzoo.data.views({"images": IMAGES, "labels": np.arange(12)}, STEPS, 6, augmentation=WHOLE, seed=seed)
        data.epoch = number
        return [data[index] for index in (1, 0)]

    expected = np.stack([WHOLE(image, STEPS, np.random.default_rng(0)) for image in IMAGES])
    for batch in epoch(0, 0):
        assert np.array_equal(batch["view_1"], expected[batch["labels"]])
    orders = [
        np.concatenate([batch["labels"] for batch in epoch(*which)]) for which in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert sorted(orders[0]) == list(range(12)) and np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2]) and not np.array_equal(orders[0], orders[3])


def test_views_are_the_same_in_every_process_and_new_in_every_epoch():
    first, second = (kzoo.data.views(IMAGES, STEPS, 12, shuffle=False) for _ in range(2))
    batch = first[0]
    assert all(np.array_equal(batch[name], value) for name, value in second[0].items())
    first.on_epoch_end()
    assert first.epoch == 1 and not np.array_equal(first[0]["view_1"], batch["view_1"])


def test_local_views_show_less_of_a_picture():
    ramp = np.broadcast_to(np.arange(0, 256, 2, dtype="uint8")[:, None, None], (128, 128, 3))
    augmentation = Augmentation((0.4, 1.0), ratio=(1.0, 1.0))
    data = kzoo.data.views([ramp] * 20, ImageSteps(32), 20, local_views=1, local_size=32, augmentation=augmentation)
    heights = {name: (np.ptp(each.astype(int), axis=(1, 2, 3)) / 254) ** 2 for name, each in data[0].items()}
    assert heights["view_1"].min() > 0.35 and heights["view_1"].max() > 0.6
    assert 0.02 < heights["local_1"].min() and heights["local_1"].max() < 0.45


def test_folders_and_paths(tmp_path):
    (tmp_path / "more").mkdir()
    for index, name in enumerate(["b.png", "more/a.png", "a.png"]):
        Image.fromarray(IMAGES[index]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    for source in (tmp_path, [tmp_path / name for name in ("a.png", "b.png", "more/a.png")]):
        batch = kzoo.data.views(source, tiny_model().preprocessor, 3, shuffle=False, augmentation=WHOLE)[0]
        expected = [WHOLE(IMAGES[index], STEPS, np.random.default_rng(0)) for index in (2, 0, 1)]
        assert np.array_equal(batch["view_1"], np.stack(expected))


@pytest.mark.parametrize(
    "source, options, sentence",
    [
        ("nowhere", {}, "nowhere is no folder"),
        ({"labels": [1]}, {}, "a dict of labels without images"),
        ({"images": IMAGES, "labels": [1]}, {}, "12 images but 1 labels"),
        ({"images": IMAGES, "captions": [["a"]] * 12}, {}, "'captions' holds neither numbers nor a name of a class"),
        ([], {}, "holds no picture"),
        (IMAGES, {"batch_size": 13}, "more than the 12 pictures"),
        (IMAGES, {"local_views": 2}, "local_views is 2 and local_size None; give both"),
        (IMAGES, {"views": 0}, "views is 0"),
        (IMAGES, {"sampler": SameGroup(np.zeros(3, int))}, "there are 3 groups but 12 rows"),
        (IMAGES, {"sampler": SameGroup(np.zeros(12, int)), "shuffle": False}, "leave it out where shuffle=False"),
        (IMAGES, {"sampler": SameGroup(np.arange(12) // 3)}, "group 0 has 3 rows, fewer than the batch_size of 4"),
        (IMAGES, {"sampler": DistinctGroups(np.arange(12) % 3)}, "there are 3 groups, but a batch of 4 rows"),
    ],
)
def test_bad_sources(source, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        kzoo.data.views(source, STEPS, **({"batch_size": 4} | options))


def test_groups_are_numbers():
    with pytest.raises(ValueError, match=r"groups are float64 of shape \(2,\)"):
        SameGroup(np.zeros(2))


def test_a_picture_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match="image 1: there is no image file lost.png"):
        kzoo.data.views([IMAGES[0], "lost.png"], STEPS, 2, shuffle=False)[0]


def epoch_of(sampler, size, count, batch_size, seed=0):
    data = kzoo.data.views(
        {"images": [IMAGES[0]] * count, "row": np.arange(count)},
        STEPS,
        batch_size,
        views=1,
        augmentation=WHOLE,
        sampler=sampler,
        seed=seed,
    )
    assert len(data) == size
    return [data[index]["row"] for index in range(size)]


def test_batches_of_one_group_hold_each_row_once():
    groups = np.repeat([5, 1, 7], [8, 9, 4])
    batches = epoch_of(SameGroup(groups), 5, 21, 4)
    assert all(len(set(groups[rows])) == 1 for rows in batches)
    assert len(set(np.concatenate(batches))) == 20
    assert len({int(groups[rows[0]]) for rows in batches[:3]}) > 1  # batches of a group do not stand together
    assert not np.array_equal(batches, epoch_of(SameGroup(groups), 5, 21, 4, seed=1))


@pytest.mark.parametrize("sizes, count", [((4, 4, 4, 4), 4), ((9, 3, 3, 2, 1), 3), ((1, 1, 1, 1, 12), 1)])
def test_batches_of_distinct_groups_are_as_many_as_there_can_be(sizes, count):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    batches = epoch_of(DistinctGroups(groups), count, len(groups), 4)
    for rows in batches:
        assert len(set(groups[rows])) == len(rows) == 4
    rows = np.concatenate(batches)
    assert len(set(rows)) == len(rows)


def test_pairs_take_a_sampler():
    model, pairs = tiny_model(), toy_pairs(12)
    groups = np.array([caption.split()[2] == "red" for caption in pairs["captions"]]).astype(int)
    data = kzoo.data.pairs(pairs, model.preprocessor, 3, sampler=SameGroup(groups))
    for index in range(len(data)):
        texts = model.preprocessor.tokenizer.decode(data[index]["token_ids"])
        assert len({"red" in text for text in texts}) == 1
    assert len(data) == 4
