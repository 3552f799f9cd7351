"""What becomes of pictures that are no plain RGB of 8 bits: turned, transparent, deep, damaged, without pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from kzoo.preprocessing import Augmentation, ImageSteps, PatchSteps, Preprocessor
from kzoo.preprocessing.decoding import decode
from kzoo.presets.table import read_row

RAMP = np.tile(np.arange(256), (256, 1))
EIGHT = Image.fromarray(RAMP.astype("uint8"))
SHOWN, TRAINED = ImageSteps(64), ImageSteps(64, decoding="as_trained")


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def deep(array, kind):
    return saved(Image.fromarray(array), kind)


SIXTEEN = (RAMP * 257).astype("uint16")
DEEP = {
    "16-bit PNG": deep(SIXTEEN, "PNG"),
    "16-bit TIFF": deep(SIXTEEN, "TIFF"),
    "PIL I;16": Image.fromarray(SIXTEEN),
    "PIL I of 16 bits": Image.fromarray((RAMP * 257).astype("int32")),
    "PIL I of 8 bits": Image.fromarray(RAMP.astype("int32")),
    "float TIFF in [0, 1]": deep((RAMP / 255).astype("float32"), "TIFF"),
    "float TIFF in [0, 255]": deep(RAMP.astype("float32"), "TIFF"),
}


@pytest.mark.parametrize("what", DEEP)
def test_more_than_8_bits_are_scaled_to_8(what):
    assert np.array_equal(SHOWN(DEEP[what]), SHOWN(EIGHT))


def test_as_trained_clips_as_pillow_does_and_says_so():
    with pytest.warns(UserWarning, match="values up to 65535, in more than 8 bits.*decoding = 'as_shown'"):
        clipped = TRAINED(DEEP["16-bit PNG"])
    assert np.median(clipped) == 255
    assert np.array_equal(TRAINED(DEEP["PIL I of 8 bits"]), TRAINED(EIGHT))


@pytest.mark.parametrize("values, said", [([-1.0, 3.0], "-1, 3"), ([0.0, 300.0], "0, 300"), ([0.0, np.nan], "nan")])
def test_floats_of_other_ranges_are_refused(values, said):
    with pytest.raises(ValueError, match=rf"bytes cannot be read as an image: its floats lie in \[{said}"):
        SHOWN(deep(np.array([values], "float32"), "TIFF"))


# red, green above blue, white: no two turns of it look alike
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], "uint8").repeat(8, 0).repeat(8, 1)
TURNS = {  # orientation -> the picture as it is stored, whose orientation makes CORNERS of it
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: np.rot90(CORNERS),
    7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(CORNERS, -1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_orientation_of_exif_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation])
    source = saved(Image.fromarray(stored), kind, exif=exif)
    assert np.array_equal(ImageSteps(16)(source), CORNERS)
    assert np.array_equal(ImageSteps(16)(Image.open(io.BytesIO(source))), CORNERS)
    whole = Augmentation((1.0, 1.0), (1.0, 1.0))
    assert np.array_equal(whole(source, ImageSteps(16), np.random.default_rng(0)), CORNERS)
    patches = PatchSteps(16, 1)(source)[0]
    assert np.array_equal(patches.reshape(16, 16, 3), CORNERS)
    if kind == "PNG":  # Pillow itself turns a TIFF
        assert np.array_equal(ImageSteps(16, decoding="as_trained")(source), stored)


def test_damaged_exif_is_no_orientation():
    source = saved(EIGHT.convert("RGB"), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(SHOWN(source), SHOWN(EIGHT))


def test_what_is_transparent_lies_over_white():
    clear = np.zeros((8, 8, 4), "uint8")
    clear[2:, :, 3] = 255  # black on what is transparent black
    right = np.where(np.arange(8)[:, None, None] < 2, 255, 0) + np.zeros((8, 8, 3))
    palette = Image.fromarray(clear[..., :3]).convert("P")
    steps = ImageSteps(8)
    for source in (Image.fromarray(clear), saved(Image.fromarray(clear), "PNG"), Image.fromarray(clear).convert("LA")):
        assert np.array_equal(steps(source), right)
    assert steps(saved(palette, "PNG", transparency=0)).min() == 255
    half = np.full((8, 8, 4), 128, "uint8")
    assert np.unique(steps(Image.fromarray(half))).tolist() in ([191], [192])
    assert ImageSteps(8, decoding="as_trained")(Image.fromarray(clear)).max() == 0


def test_plain_pictures_are_the_same_either_way():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype="uint8")
    picture = Image.fromarray(pixels)
    opaque = Image.fromarray(np.dstack([pixels, np.full((90, 70), 255, "uint8")]))
    for source in (picture, opaque, saved(picture, "JPEG"), saved(picture, "PNG"), picture.convert("L"), pixels):
        assert np.array_equal(SHOWN(source), TRAINED(source))


@pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000), (30_000, 2)])
def test_long_pictures_are_cropped_before_they_are_resized(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype="uint8")
    width, height = size
    ratio = 16 / min(size)
    whole = Image.fromarray(pixels).resize((int(width * ratio), int(height * ratio)), Image.Resampling.BICUBIC)
    left, top = (round((side - 16) / 2) for side in whole.size)
    right = np.asarray(whole.crop((left, top, left + 16, top + 16))).astype(int)
    assert np.abs(ImageSteps(16)(pixels).astype(int) - right).max() <= 1


def test_memory_of_a_long_picture_is_bounded(monkeypatch):
    made, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda self, size, *args, **kwargs: made.append(size) or resize(self, size, *args, **kwargs),
    )
    for picture in (Image.new("RGB", (65_000, 1)), Image.new("RGB", (1, 65_000)), Image.new("RGB", (3000, 150))):
        ImageSteps(224)(picture)
        ImageSteps((224, 112), resize_size=256)(picture)
    assert max(width * height for width, height in made) <= 16 * 224 * 256


@pytest.mark.parametrize(
    "source, sentence",
    [
        (np.zeros((0, 5, 3), "uint8"), r"shape \(0, 5, 3\) has no pixels"),
        (Image.new("RGB", (0, 5)), "the picture has no pixels: it is 0 x 5"),
        (np.ones((4, 4, 3)), "values from 1 to 1, but pixels lie in .0, 255.; multiply by 255"),
        (np.ones((4, 4, 3), "int64"), "values from . to 1, but"),
        (np.full((4, 4, 3), "a"), "of dtype <U1, but pixels lie in"),
        (np.full((4, 4, 3), None), "of dtype object, but pixels lie in"),
    ],
)
def test_no_pixels_and_no_numbers(source, sentence):
    with pytest.raises(ValueError, match=sentence):
        SHOWN(source)


def test_booleans_are_black_and_white():
    mask = np.random.default_rng(0).random((64, 64, 3)) > 0.5
    assert np.array_equal(SHOWN(mask), mask * 255)


@pytest.mark.parametrize("error", [KeyError("tag"), IndexError(), MemoryError("too large"), RuntimeError("codec.")])
def test_whatever_a_decoder_raises_is_one_sentence(monkeypatch, tmp_path, error):
    EIGHT.save(tmp_path / "a.png")

    def fail(self):
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ValueError, match=r"a.png cannot be read as an image: [^.]+\.$"):
        SHOWN(tmp_path / "a.png")


def test_presets_of_other_libraries_have_the_pixels_of_these():
    assert read_row("clip_base")["images"]["decoding"] == "as_trained"
    assert "decoding" not in read_row("clip_nano")["images"]


def test_the_choice_is_kept_and_older_configs_have_the_pixels_they_had():
    config = Preprocessor(SHOWN).get_config()
    assert Preprocessor.from_config(config).images.decoding == "as_shown"
    del config["images"]["decoding"]
    assert Preprocessor.from_config(config).images.decoding == "as_trained"
    with pytest.raises(ValueError, match="decoding 'raw' is unknown; choose one of as_shown, as_trained"):
        ImageSteps(8, decoding="raw")


STRIPES = np.random.default_rng(0).integers(0, 256, (37, 23, 4)).astype("uint8")
MANY = Image.fromarray(STRIPES[..., 0]).convert("P")
MODES = {
    "RGBA": Image.fromarray(STRIPES),
    "LA": Image.fromarray(STRIPES[..., :2], "LA"),
    "PA": Image.fromarray(STRIPES).convert("PA"),
    "a palette": saved(MANY, "PNG", transparency=bytes(range(256))),
    "a colour of a palette": saved(MANY, "PNG", transparency=7),
    "a colour": saved(Image.fromarray(STRIPES[..., :3]), "PNG", transparency=tuple(map(int, STRIPES[4, 5, :3]))),
    "grey": saved(Image.fromarray(STRIPES[..., 0]), "PNG", transparency=int(STRIPES[4, 5, 0])),
    "I;16": deep(STRIPES[..., :2].copy().view("uint16")[..., 0], "PNG"),
    "I;16B": Image.frombytes("I;16B", (23, 37), STRIPES[..., :2].tobytes()),
    "I": Image.fromarray(STRIPES[..., 0].astype("int32") * 200),
    "F": deep((STRIPES[..., 0] / 255).astype("float32"), "TIFF"),
}


@pytest.mark.parametrize("what", MODES)
@pytest.mark.parametrize("strip", [1, 100, 23 * 37])
def test_pictures_that_are_changed_in_strips_have_the_pixels_of_the_whole(monkeypatch, what, strip):
    monkeypatch.setattr("kzoo.preprocessing.decoding.STRIP", strip)
    source = MODES[what]
    picture = source if isinstance(source, Image.Image) else Image.open(io.BytesIO(source))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        values = np.asarray(picture)
        bits = np.rint(values * 255.0) if picture.mode == "F" else values.astype("int32") >> 8
        expected = Image.fromarray(bits.astype("uint8")).convert("RGB")
    assert np.array_equal(decode(source), np.asarray(expected))


def test_a_picture_that_was_given_is_not_changed():
    given = saved(Image.fromarray(STRIPES[..., :3]), "PNG"), Image.fromarray(STRIPES[..., :3])
    for source in given:
        decode(source).paste("white", (0, 0, 9, 9))
        assert np.array_equal(decode(source), STRIPES[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(saved(given[1], "PNG", exif=exif)))
    assert np.array_equal(decode(turned), decode(turned)) and turned.size == given[1].size
