"""What goes with views into a batch: boxes, parameters, masks, styles, mixed views, one augmentation for each."""

import numpy as np
import pytest
from shared_case import toy_pairs

import kzoo
from kzoo.data import Separations
from kzoo.preprocessing import Augmentation, AugMix, CutMix, FourierStyle, ImageSteps, Mixup, RandomPatches

IMAGES = toy_pairs(8)["images"]
STEPS = ImageSteps(16)
SIDE = 200
PLACES = np.stack([*np.meshgrid(np.arange(SIDE), np.arange(SIDE)), np.zeros((SIDE, SIDE), int)], -1).astype("uint8")


def views(source=IMAGES, **options):
    return kzoo.data.views(source, STEPS, len(source), **{"shuffle": False, "seed": 1} | options)[0]


def test_boxes_say_where_views_lie():
    batch = views([PLACES] * 8, boxes=True, augmentation=Augmentation((0.2, 0.5), flip=0.5))
    mirrored = 0
    for name in ("view_1", "view_2"):
        box = batch[f"{name}_box"]
        assert box.shape == (8, 4) and box.dtype == "float32" and (box >= 0).all() and (box <= 1).all()
        x0, y0, x1, y1 = SIDE * box.T[..., None]
        middle = (np.arange(16) + 0.5) / 16
        np.testing.assert_allclose(batch[name][:, 8, 2:-2, 0], (x0 + (x1 - x0) * middle - 0.5)[:, 2:-2], atol=3)
        np.testing.assert_allclose(batch[name][:, 2:-2, 8, 1], (y0 + (y1 - y0) * middle - 0.5)[:, 2:-2], atol=3)
        mirrored += int((x1 < x0).sum())
    assert 2 < mirrored < 14


def test_parameters_and_their_difference():
    batch = views(parameters=True)
    assert batch["view_1_parameters"].shape == (8, 12) and batch["view_1_parameters"].dtype == "float32"
    difference = batch["view_2_parameters"] - batch["view_1_parameters"]
    assert np.array_equal(batch["relative_parameters"], difference) and difference.any()
    assert "relative_parameters" not in views(parameters=True, views=1)


def test_what_is_asked_for_changes_no_view():
    plain = views(local_views=1, local_size=8)
    options = {"boxes": True, "parameters": True, "masks": RandomPatches((2, 2)), "mix": Mixup(), "ids": True}
    more = views(local_views=1, local_size=8, **options)
    assert all(np.array_equal(plain[name], more[name]) for name in plain) and "local_1_box" not in more
    assert np.array_equal(more["ids"], np.arange(8)) and more["ids"].dtype == "int32"


def test_masks_of_all_views_or_of_one():
    batch = views(masks=RandomPatches((2, 2), 0.5), local_views=1, local_size=8)
    assert batch["view_1_masked"].shape == batch["view_2_masked"].shape == (8, 4) and "local_1_masked" not in batch
    batch = views(masks={"view_2": RandomPatches((2, 2), 0.75, drop=True)})
    assert batch["view_2_kept"].shape == (8, 1) and batch["view_2_dropped"].shape == (8, 4)
    assert not any(name.startswith("view_1_") for name in batch)


def test_one_augmentation_for_each_view():
    plain, dark = Augmentation((1.0, 1.0), (1.0, 1.0)), Augmentation((1.0, 1.0), (1.0, 1.0), grayscale=1.0)
    batch = views(augmentation=(plain, dark, AugMix()), views=3)
    assert np.ptp(batch["view_2"], axis=-1).max() == 0 and np.ptp(batch["view_1"], axis=-1).max() > 50
    assert list(views(augmentation=Augmentation.moco_v3())) == ["view_1", "view_2"]


def test_local_views_as_a_bag():
    apart, bag = (views(local_views=3, local_size=8, local_bag=each) for each in (False, True))
    assert list(bag) == ["view_1", "view_2", "local_1"] and bag["local_1"].shape == (8, 3, 8, 8, 3)
    assert np.array_equal(bag["local_1"][:, 2], apart["local_3"])


def test_styles_are_those_of_one_picture_of_the_batch():
    plain, styled = views(), views(styles=FourierStyle(least=1.0))
    spread = {name: np.std(each.mean(axis=(1, 2)), axis=0).max() for name, each in plain.items()}
    for name, each in styled.items():
        assert np.std(each.mean(axis=(1, 2)), axis=0).max() < spread[name] / 2


@pytest.mark.parametrize("mix", [Mixup(), CutMix()])
def test_mixed_views(mix):
    batch = views(mix=mix)
    assert list(batch) == ["view_1", "view_2", "mixed_view", "lam", "permutation"]
    assert batch["lam"].shape == batch["permutation"].shape == (8,)
    if type(mix) is Mixup:
        lam = batch["lam"][:, None, None, None]
        mean = lam * batch["view_1"] + (1 - lam) * batch["view_2"][batch["permutation"]]
        np.testing.assert_allclose(batch["mixed_view"], mean, atol=0.51)


def test_matrices_are_of_the_rows_of_a_batch():
    clusters = np.arange(8) % 3
    data = kzoo.data.views(IMAGES, STEPS, 4, ids=True, matrices={"weights": Separations(clusters)})
    batch = data[1]
    own = clusters[batch["ids"]]
    assert np.array_equal(batch["weights"], own[:, None] != own[None])


@pytest.mark.parametrize(
    "source, options, error, sentence",
    [
        (IMAGES, {"augmentation": Augmentation.moco_v3(), "views": 3}, ValueError, "2 augmentations but 3 views"),
        (IMAGES, {"mix": Mixup(), "views": 1}, ValueError, "views is 1, but mix makes one picture of two"),
        (
            IMAGES,
            {"masks": {"view_3": RandomPatches((2, 2))}},
            ValueError,
            "masks name 'view_3', but only view_1, view_2",
        ),
        (IMAGES, {"masks": "block"}, TypeError, "masks are 'block'; give one such as RandomPatches"),
        ({"images": IMAGES, "ids": np.arange(8)}, {"ids": True}, ValueError, "the source has 'ids' of its own"),
        ({"images": IMAGES, "crop_images": IMAGES}, {}, ValueError, "'crop_images' are no numbers"),
    ],
)
def test_bad_options(source, options, error, sentence):
    with pytest.raises(error, match=sentence):
        kzoo.data.views(source, STEPS, 4, **options)
