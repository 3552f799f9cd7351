"""Pictures of every kind that a browser reads, and steps of every kind that a model may have, for the page."""

import io
import struct
from itertools import product

import numpy as np
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from kzoo.preprocessing import ImageSteps

SIZES = [(90, 60), (60, 90), (41, 41), (16, 24), (24, 16), (7, 5), (1, 1), (1, 300), (640, 2), (333, 500), (1200, 37)]
WITHOUT_LOSS, LOSSY = 0, 1  # largest difference of a channel that is taken


def noise(width, height, mode="RGB", seed=0):
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype="uint8")
    return Image.fromarray(values.squeeze(-1) if bands == 1 else values, mode=None if bands != 2 else "LA")


def scene(width=320, height=240, mode="RGB"):
    """Shapes and a gradient, as a photograph has them more than noise has."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width // 8, height // 8, width // 2, height // 2), fill=(220, 40, 40))
    draw.polygon([(width // 2, height - 9), (width - 9, height - 9), (width - 60, height // 3)], fill=(50, 80, 220))
    draw.rectangle((10, height - 60, 90, height - 20), fill=(40, 180, 70))
    if mode == "RGBA":
        picture.putalpha(Image.radial_gradient("L").resize((width, height)))
    return picture if mode in ("RGB", "RGBA") else picture.convert(mode)


def saved(picture, format, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def oriented(picture, format, orientation, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a picture"  # an entry before it
    return saved(picture, format, exif=exif, **options)


def steps() -> list:
    """Image steps of all modes and of sides that round in all ways."""
    found = [
        ImageSteps(size, resize, interpolation, crop_rounding=rounding)
        for size, resize, interpolation, rounding in product(
            (16, (15, 22)), ("shortest", "squash", "longest"), ("bicubic", "bilinear"), ("even", "floor")
        )
    ]
    found += [ImageSteps(32, resize, resize_size=size) for resize, size in (("shortest", 37), ("squash", (40, 35)))]
    return [*found, ImageSteps(224), ImageSteps(224, "squash", "bilinear"), ImageSteps(56, "longest")]


def files() -> dict:
    """Name -> (bytes of a file, bound): what is stored without loss is the same to the last bit."""
    colour, other = scene(), scene(mode="RGBA")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")  # red for green
    deep = Image.fromarray(np.random.default_rng(1).integers(0, 2**16, (30, 40), dtype="uint16"))
    gamma = PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100000))
    palette = colour.quantize(32)
    clear = palette.copy()
    clear.info["transparency"] = 3
    found = {
        "png": (saved(colour, "PNG"), WITHOUT_LOSS),
        "png, noise": (saved(noise(50, 40), "PNG"), WITHOUT_LOSS),
        "png, wide": (saved(noise(40000, 3), "PNG"), WITHOUT_LOSS),
        "png, grey": (saved(scene(mode="L"), "PNG"), WITHOUT_LOSS),
        "png, one bit": (saved(scene(mode="1"), "PNG"), WITHOUT_LOSS),
        "png, palette": (saved(palette, "PNG"), WITHOUT_LOSS),
        "png, transparent": (saved(other, "PNG"), WITHOUT_LOSS),
        "png, transparent noise": (saved(noise(50, 40, "RGBA"), "PNG"), WITHOUT_LOSS),
        "png, transparent grey": (saved(noise(50, 40, "LA"), "PNG"), WITHOUT_LOSS),
        "png, transparent palette": (saved(clear, "PNG", transparency=3), WITHOUT_LOSS),
        "png, 16 bits": (saved(deep, "PNG"), WITHOUT_LOSS),
        "png, a profile": (saved(colour, "PNG", icc_profile=profile), WITHOUT_LOSS),
        "png, a gamma": (saved(colour, "PNG", pnginfo=gamma), WITHOUT_LOSS),
        "png, turned": (oriented(colour, "PNG", 6), WITHOUT_LOSS),
        "webp": (saved(colour, "WEBP", lossless=True), WITHOUT_LOSS),
        "webp, transparent": (saved(other, "WEBP", lossless=True, exact=True), WITHOUT_LOSS),
        "webp, turned": (oriented(colour, "WEBP", 8, lossless=True), WITHOUT_LOSS),
        "gif": (saved(palette, "GIF"), WITHOUT_LOSS),
        "gif, transparent": (saved(clear, "GIF", transparency=3), WITHOUT_LOSS),
        "bmp": (saved(colour, "BMP"), WITHOUT_LOSS),
        "jpeg": (saved(colour, "JPEG", quality=90), LOSSY),
        "jpeg, 4:4:4": (saved(colour, "JPEG", quality=90, subsampling=0), LOSSY),
        "jpeg, odd sides": (saved(scene(77, 51), "JPEG", quality=75), LOSSY),
        "jpeg, progressive": (saved(colour, "JPEG", quality=60, progressive=True), LOSSY),
        "jpeg, grey": (saved(scene(mode="L"), "JPEG"), LOSSY),
        "jpeg, a profile": (saved(colour, "JPEG", icc_profile=profile), LOSSY),
        "webp, lossy": (saved(colour, "WEBP", quality=80), LOSSY),
        "avif": (saved(colour, "AVIF", quality=90), LOSSY),
    }
    return found | {f"jpeg, orientation {each}": (oriented(colour, "JPEG", each), LOSSY) for each in range(2, 9)}
