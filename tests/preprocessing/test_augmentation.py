"""What an augmentation says it has drawn, and what it shows: boxes, mirrors, parameters; MoCo v3 and AugMix."""

import numpy as np
import pytest

from kzoo.preprocessing import Augmentation, AugMix, ImageSteps
from kzoo.preprocessing.augmentation import PARAMETERS

SIDE = 240
PLACES = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)  # x and y of each pixel
RAMP = np.concatenate([PLACES, np.zeros((SIDE, SIDE, 1), int)], axis=-1).astype("uint8")
STEPS = ImageSteps(48)


@pytest.mark.parametrize(
    "options",
    [{"scale": (0.2, 0.6)}, {"scale": (0.2, 0.6), "flip": 1.0}, {"scale": (0.3, 0.5), "shift": 0.0, "flip": 0.5}],
)
def test_a_box_says_what_the_view_shows(options):
    random = np.random.default_rng(0)
    for _ in range(10):
        pixels, drawn = Augmentation(**options).draw(RAMP, STEPS, random)
        x0, y0, x1, y1 = drawn.box
        centres = (np.arange(48) + 0.5) / 48
        # each pixel of the view shows the place that its box says, borders aside, where resizing has no neighbours
        expected_x, expected_y = (x0 + (x1 - x0) * centres) * SIDE - 0.5, (y0 + (y1 - y0) * centres) * SIDE - 0.5
        np.testing.assert_allclose(pixels[24, 4:-4, 0], expected_x[4:-4], atol=1.5)
        np.testing.assert_allclose(pixels[4:-4, 24, 1], expected_y[4:-4], atol=1.5)
        assert min(drawn.box) >= 0 and max(drawn.box) <= 1 and (x1 < x0) == bool(drawn.parameters[4])


def test_a_shift_moves_the_box():
    random = np.random.default_rng(0)
    whole = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), shift=0.25)
    ramp = RAMP[::5, ::5]
    for _ in range(10):
        pixels, drawn = whole.draw(ramp, STEPS, random)
        x0, y0, x1, y1 = drawn.box
        np.testing.assert_allclose((x1 - x0, y1 - y0), 1.0)
        assert (
            pixels[24, 24, 0] == ramp[0, 24 + round(x0 * 48), 0]
            and pixels[24, 24, 1] == ramp[24 + round(y0 * 48), 0, 1]
        )


def test_a_call_gives_the_pixels_of_a_draw():
    augmentation = Augmentation.self_supervised()
    pixels, drawn = augmentation.draw(RAMP, STEPS, np.random.default_rng(5))
    assert np.array_equal(augmentation(RAMP, STEPS, np.random.default_rng(5)), pixels)
    assert drawn.parameters.shape == (len(PARAMETERS),) == (12,) and drawn.parameters.dtype == "float32"


def test_parameters_are_zero_where_nothing_is_changed():
    _, drawn = Augmentation((1.0, 1.0), (1.0, 1.0)).draw(RAMP, STEPS, np.random.default_rng(0))
    assert not drawn.parameters.any() and drawn.box == (0.0, 0.0, 1.0, 1.0)


def test_parameters_say_how_colours_are_changed():
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    grey = np.full((48, 48, 3), 100, "uint8")
    seen = []
    for seed in range(12):
        bright = Augmentation(**whole, jitter=(0.5, 0.0, 0.0, 0.0))
        pixels, drawn = bright.draw(grey, STEPS, np.random.default_rng(seed))
        named = dict(zip(PARAMETERS, drawn.parameters))
        assert pixels[0, 0, 0] == pytest.approx(100 * np.exp(named["log_brightness"]), abs=1.0)
        assert named["log_contrast"] == named["hue"] == 0.0
        seen.append(named["log_brightness"])
    assert min(seen) < -0.1 and max(seen) > 0.1
    _, drawn = Augmentation(**whole, grayscale=1.0, blur=1.0, solarize=1.0).draw(RAMP, STEPS, np.random.default_rng(0))
    named = dict(zip(PARAMETERS, drawn.parameters))
    assert named["grey"] == named["solarized"] == 1.0 and 0.0 < named["blur"] < 0.9


def test_moco_v3_blurs_one_view_and_solarises_the_other():
    first, second = Augmentation.moco_v3()
    assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert first.jitter == second.jitter == (0.4, 0.4, 0.2, 0.1) and first.scale == (0.08, 1.0)
    always = Augmentation((1.0, 1.0), (1.0, 1.0), solarize=1.0)
    dark, bright = np.full((48, 48, 3), 10, "uint8"), np.full((48, 48, 3), 250, "uint8")
    assert always(dark, STEPS, np.random.default_rng(0))[0, 0, 0] == 10
    assert always(bright, STEPS, np.random.default_rng(0))[0, 0, 0] == 5
    assert second.with_scale((0.5, 1.0)).solarize == 0.2


def test_aug_mix_mixes_the_view_with_changes_of_it():
    before = Augmentation((1.0, 1.0), (1.0, 1.0))
    ramp = np.ascontiguousarray(RAMP[::5, ::5])
    views = [AugMix(before=before)(ramp, STEPS, np.random.default_rng(seed)) for seed in range(6)]
    assert all(view.shape == (48, 48, 3) and view.dtype == np.uint8 for view in views)
    differences = [np.abs(view.astype(int) - ramp).mean() for view in views]
    assert min(differences) > 0.0 and max(differences) < 60.0 and len(set(differences)) == 6
    assert np.array_equal(views[0], AugMix(before=before)(ramp, STEPS, np.random.default_rng(0)))
    _, drawn = AugMix().draw(RAMP, STEPS, np.random.default_rng(0))
    assert drawn.box != (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Augmentation(jitter=2.0), "jitter is 2.0"),
        (lambda: Augmentation(jitter=(0.1, 0.2)), r"jitter is \(0.1, 0.2\)"),
        (lambda: Augmentation(solarize=-1.0), "solarize is -1.0"),
        (lambda: AugMix(severity=0.0), "severity is 0.0"),
        (lambda: AugMix(width=0), "width is 0"),
    ],
)
def test_bad_augmentations(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
