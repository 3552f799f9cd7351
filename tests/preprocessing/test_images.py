"""Image steps: sources, sizes, crops, augmentation, what cannot be read."""

import io

import numpy as np
import pytest
from PIL import Image

from kzoo.preprocessing import Augmentation, ImageSteps

random = np.random.default_rng(0)
PIXELS = random.integers(0, 256, (40, 60, 3), dtype="uint8")


def test_path_bytes_picture_and_array_give_the_same_pixels(tmp_path):
    picture = Image.fromarray(PIXELS)
    picture.save(tmp_path / "a.png")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    steps = ImageSteps(16)
    sources = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        buffer.getvalue(),
        picture,
        PIXELS,
        PIXELS.astype("float32"),
    ]
    results = [steps(source) for source in sources]
    assert all(np.array_equal(results[0], result) for result in results)
    assert results[0].shape == (16, 16, 3) and results[0].dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_other_modes_become_rgb(mode):
    assert ImageSteps(8)(Image.fromarray(PIXELS).convert(mode)).shape == (8, 8, 3)


def test_shortest_scales_with_antialiasing_and_crops_the_centre():
    expected = Image.fromarray(PIXELS).resize((30, 20), Image.Resampling.BICUBIC).crop((5, 0, 25, 20))
    assert np.array_equal(ImageSteps(20)(PIXELS), np.asarray(expected))


def test_what_the_crop_leaves_out_is_scaled_by_half_and_the_pixels_are_those_of_the_whole():
    draw = np.random.default_rng(0)
    for number in range(200):
        height, width = map(int, draw.integers(8, 90, 2))
        picture = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype="uint8"))
        size = int(draw.integers(6, 40))
        steps = ImageSteps(size, resize_size=size + number % 5, interpolation=("bicubic", "bilinear")[number % 2])
        short, long = sorted((height, width))
        full = [size + number % 5, int((size + number % 5) * long / short)]
        full = tuple(full if width <= height else full[::-1])
        if full[0] * full[1] <= 16 * size**2:  # longer ones are made otherwise
            scaled = picture.resize(full, Image.Resampling[steps.interpolation.upper()])
            left, top = (round((have - size) / 2) for have in full)
            expected = np.asarray(scaled.crop((left, top, left + size, top + size)))
            assert np.array_equal(steps(picture), expected), (height, width, size)


def test_the_long_side_is_truncated_not_rounded():
    tall = np.zeros((41, 27, 3), "uint8")  # 41 * 16 / 27 = 24.3
    tall[:] = np.arange(41, dtype="uint8")[:, None, None] * 6
    expected = Image.fromarray(tall).resize((16, 24), Image.Resampling.BICUBIC).crop((0, 4, 16, 20))
    assert np.array_equal(ImageSteps(16)(tall), np.asarray(expected))


def test_squash_scales_both_sides_apart():
    expected = Image.fromarray(PIXELS).resize((24, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(ImageSteps((8, 24), "squash", "bilinear")(PIXELS), np.asarray(expected))


def test_longest_pads_with_black():
    result = ImageSteps(30, "longest")(PIXELS)
    assert np.all(result[:5] == 0) and np.all(result[25:] == 0)
    assert np.array_equal(result[5:25], np.asarray(Image.fromarray(PIXELS).resize((30, 20), Image.Resampling.BICUBIC)))


def test_non_square_targets_cover():
    assert ImageSteps((32, 16))(PIXELS).shape == (32, 16, 3)
    assert ImageSteps((8, 32))(PIXELS).shape == (8, 32, 3)


def test_a_picture_of_the_right_size_is_untouched():
    assert np.array_equal(ImageSteps((40, 60))(PIXELS), PIXELS)


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("nowhere.png", "there is no image file nowhere.png"),
        (b"not an image", "12 bytes cannot be read as an image"),
        (np.zeros((8, 8), "uint8"), r"an image array has shape \(8, 8\)"),
        (np.zeros((3, 8, 8), "uint8"), r"an image array has shape \(3, 8, 8\)"),
        (np.full((8, 8, 3), 300.0), "pixels lie in"),
        (np.full((8, 8, 3), 0.5), "multiply by 255"),
        (np.full((8, 8, 3), np.nan), "pixels lie in"),
        (None, "a picture is None; give a path, the bytes of a file, a PIL image or an array"),
        (io.BytesIO(b"png"), "a picture is of type BytesIO; give a path, the bytes of a file"),
        ((PIXELS, 1), r"a picture is .*\(tuple\); give a path"),
    ],
)
def test_what_cannot_be_read(source, sentence):
    with pytest.raises(ValueError, match=sentence):
        ImageSteps(8)(source)


def test_truncated_file(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="cut.png cannot be read as an image"):
        ImageSteps(8)(path)


@pytest.mark.parametrize("arguments, sentence", [(("crop",), "resize 'crop'"), (("squash", "cubic"), "'cubic'")])
def test_unknown_options(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ImageSteps(8, *arguments)


def test_augmentation_is_a_function_of_its_generator():
    augment, steps = Augmentation((0.5, 1.0), flip=0.5), ImageSteps(16)
    first, again, other = (augment(PIXELS, steps, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (16, 16, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_full_scale_without_change_of_ratio_is_a_plain_resize():
    pixels = PIXELS[:, :40]
    augment = Augmentation((1.0, 1.0), (1.0, 1.0))
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(augment(pixels, ImageSteps(16), np.random.default_rng(0)), expected)
    flipped = Augmentation((1.0, 1.0), (1.0, 1.0), flip=1.0)
    assert np.array_equal(flipped(pixels, ImageSteps(16), np.random.default_rng(0)), expected[:, ::-1])


@pytest.mark.parametrize("arguments", [{"scale": (0.0, 1.0)}, {"ratio": (2.0, 1.0)}, {"flip": 2.0}])
def test_bad_augmentation(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Augmentation(**arguments)


def test_a_shift_moves_the_picture_and_repeats_its_edge():
    steps, shift = ImageSteps(8), Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), shift=0.25)
    picture = np.zeros((8, 8, 3), "uint8")
    picture[:, :, 0] = np.arange(8)  # columns
    picture[:, :, 1] = np.arange(8)[:, None]  # rows
    seen = set()
    for seed in range(60):
        moved = shift(picture, steps, np.random.default_rng(seed))
        offsets = [int(moved[4, 4, axis]) - 4 for axis in (0, 1)]
        expected = [np.clip(np.arange(8) + offset, 0, 7) for offset in offsets]
        assert np.array_equal(moved[4, :, 0], expected[0]) and np.array_equal(moved[:, 4, 1], expected[1])
        seen.add(tuple(offsets))
    assert {offset for pair in seen for offset in pair} == {-2, -1, 0, 1, 2}
    with pytest.raises(ValueError, match="shift is 1"):
        Augmentation(shift=1.0)


GRADIENT = np.stack(np.meshgrid(np.arange(0, 256, 8), np.arange(0, 256, 8), [128]), axis=-1)[:, :, 0].astype("uint8")
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}


def coloured(seed=0, **options):
    changed = Augmentation(**WHOLE, **options)(GRADIENT, ImageSteps(32), np.random.default_rng(seed))
    assert changed.shape == GRADIENT.shape and changed.dtype == np.uint8
    return changed.astype(int)


def test_grayscale_takes_the_colours_and_keeps_the_luma():
    grey = coloured(grayscale=1.0)
    assert np.ptp(grey, axis=-1).max() == 0
    assert np.abs(grey[..., 0] - GRADIENT @ [0.299, 0.587, 0.114]).max() <= 1.0


def test_blur_smooths_by_little_on_small_pictures():
    assert np.array_equal(coloured(blur=0.0), GRADIENT)
    large = np.repeat(np.repeat(GRADIENT, 7, axis=0), 7, axis=1)
    blurred = Augmentation(**WHOLE, blur=1.0)(large, ImageSteps(224), np.random.default_rng(3)).astype(int)
    steps = [np.abs(np.diff(each.astype(int), axis=1)).max() for each in (large, blurred)]
    assert steps[1] < steps[0] and np.abs(blurred.mean() - large.mean()) < 1.0


def test_jitter_changes_colours_within_its_strength_and_most_pictures_only():
    found = [coloured(seed, jitter=0.2) for seed in range(60)]
    unchanged = sum(np.array_equal(each, GRADIENT) for each in found)
    assert 4 <= unchanged <= 22  # a fifth of them
    means = np.array([each.mean() for each in found]) / GRADIENT.mean()
    assert means.min() > 0.75 and means.max() < 1.25 and means.std() > 0.02
    assert np.array_equal(coloured(5, jitter=0.2), found[5])


def test_jitter_turns_the_hue_both_ways_and_leaves_grey_grey():
    for colour, strongest in (((200, 40, 40), {0, 1, 2}), ((90, 90, 90), {0})):
        picture = np.zeros((4, 4, 3), "uint8") + np.array(colour, "uint8")
        augment = Augmentation(**WHOLE, jitter=0.9)
        found = [augment(picture, ImageSteps(4), np.random.default_rng(seed))[0, 0] for seed in range(60)]
        assert {int(pixel.argmax()) for pixel in found} == strongest


def test_bad_strengths_of_colours():
    for name in ("grayscale", "blur"):
        with pytest.raises(ValueError, match=f"{name} is 2.0; give a probability"):
            Augmentation(**{name: 2.0})
    with pytest.raises(ValueError, match=r"jitter is 1.5; give a share in \[0, 1\]"):
        Augmentation(jitter=1.5)
