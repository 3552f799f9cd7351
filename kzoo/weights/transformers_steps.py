"""Image steps as transformers stores them: what its image processors are told, and what each does untold.

Read from transformers 5.24, whose classes in Pillow give the same pixels as those of version 4.
"""

import math
from dataclasses import dataclass

from kzoo.files.schema import shown

_RESAMPLE = {2: "bilinear", 3: "bicubic"}
_CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Processor:
    """What a class of image processors does where its file says nothing.

    Args:
        resize: as in `ImageSteps`.
        of_a_number: what one number for a size means.
        crops: whether it crops the centre.
        statistics: mean and std.
        resample: Pillow's number.
    """

    resize: str
    of_a_number: str
    crops: bool
    statistics: dict
    resample: int = 3


_SHORTEST = Processor("shortest", "shortest", True, _CLIP)
PROCESSORS = {
    "Bit": _SHORTEST,
    "Blip": Processor("squash", "squash", False, _CLIP),
    "CLIP": _SHORTEST,
    "ChineseCLIP": _SHORTEST,
    "EfficientNet": Processor("squash", "squash", False, _HALF),
    "Siglip": Processor("squash", "shortest", False, _HALF),
    "Siglip2": Processor("squash", "squash", False, _HALF, 2),
    "ViT": Processor("squash", "squash", False, _HALF, 2),
}
_ENDS = ("Fast", "Pil", "ImageProcessor", "FeatureExtractor")  # of the names of classes


def processor_of(steps, family) -> Processor:
    """The class that a file of image steps names, else that of the family.

    Raises:
        ValueError: a class that is not known.
    """
    for field in ("image_processor_type", "feature_extractor_type"):
        named = name = steps.optional(field)
        for end in _ENDS:
            name = name and name.removesuffix(end)
        if name is not None and name not in PROCESSORS:
            raise ValueError(
                f"{steps.place} says {field}={named!r}; this version knows the image processors of "
                f"{', '.join(PROCESSORS)}."
            )
        if name is not None:
            return PROCESSORS[name]
    return PROCESSORS[family]


def image_steps(steps, family, image_size, untold=None) -> tuple:
    """Image steps of `preprocessor_config.json`, and the mean and std that belong into the tower.

    Args:
        steps: `Fields` of the file, or of {}.
        family: whose class of `PROCESSORS` it is of, unless it names another.
        image_size: side of the tower's pictures; None where they keep their shape.
        untold: how pictures are resized where there is no file; default as the class does.

    Raises:
        ValueError: steps that give other pixels than any of kzoo.
    """
    processor = processor_of(steps, family)
    steps.refuse(do_resize=True, do_rescale=True, do_normalize=True)
    if not math.isclose(steps.optional("rescale_factor") or 1 / 255, 1 / 255, rel_tol=1e-5):
        steps.refuse(rescale_factor=1 / 255)
    statistics = {}
    if steps.values:
        statistics = {name: steps.optional(f"image_{name}") or list(processor.statistics[name]) for name in _HALF}
    resample = steps.optional("resample")
    interpolation = steps.choice("resample", _RESAMPLE, None) if resample is not None else _RESAMPLE[processor.resample]
    if image_size is None:  # pictures keep their shape
        return {"interpolation": interpolation}, statistics
    resize, target = _aim(steps, processor, image_size, untold)
    square = steps.optional("use_square_size")  # of KOSMOS-2
    if resize == "shortest" and square:
        resize = "squash"
    cropped = steps.optional("do_center_crop")
    cropped = processor.crops if cropped is None else cropped
    wanted = " x ".join(map(str, sides(image_size)))
    if resize == "shortest" and not cropped:
        raise ValueError(
            f"{steps.place} resizes the shortest edge and crops no centre, which gives pictures of every shape, "
            f"but the tower takes {wanted}; it cannot be built from this."
        )
    if not cropped and sides(target) != sides(image_size):
        raise ValueError(
            f"{steps.place} resizes pictures to size={shown(steps.values['size'])}, but the tower takes {wanted}; it "
            "cannot be built from this."
        )
    crop = steps.optional("crop_size")  # said also where nothing is cropped
    if cropped and crop is not None and sides(crop) != sides(image_size):
        raise ValueError(
            f"{steps.place} crops pictures to crop_size={crop!r}, but the tower takes {wanted}; it cannot be built "
            "from this."
        )
    row = {"resize": resize, "interpolation": interpolation, "crop_rounding": "floor"}
    if sides(target) != sides(image_size):
        row["resize_size"] = target  # larger than the tower's, whose size is cropped out of the centre
    return row, statistics


def _aim(steps, processor, image_size, untold):
    """How pictures are resized, and to what."""
    size = steps.optional("size")
    if size is None:
        return (processor.resize if steps.values or untold is None else untold), image_size
    if isinstance(size, int):
        square = steps.optional("default_to_square")
        return (processor.of_a_number if square is None else "squash" if square else "shortest"), size
    said = {name for name, side in size.items() if side is not None}
    if said == {"shortest_edge"}:
        return "shortest", size["shortest_edge"]
    if said == {"height", "width"}:
        return "squash", [size["height"], size["width"]]
    raise ValueError(
        f"{steps.place} says size={shown(size)}; this version knows a number, shortest_edge, and height and width."
    )


def sides(size) -> list:
    """`[height, width]` of a side, a pair, or a dict of both."""
    if isinstance(size, dict):
        return [size.get("height"), size.get("width")]
    return [size, size] if isinstance(size, int) else list(size)


def write_steps(row, processor) -> dict:
    """The inverse of `image_steps`: the content of `preprocessor_config.json`.

    Raises:
        ValueError: a resize that the library has not.
    """
    image, steps = row["image_encoder"], row["images"]
    common = {
        "image_processor_type": processor,
        "do_resize": True,
        "resample": {name: code for code, name in _RESAMPLE.items()}[steps["interpolation"]],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(image["mean"]),
        "image_std": list(image["std"]),
        "do_convert_rgb": True,
    }
    if image["kind"] == "naflex_vit":
        return common | {"patch_size": image["patch_size"], "max_num_patches": image["max_patches"]}
    height, width = image["image_size"]
    target = sides(steps["resize_size"] or image["image_size"])
    if steps["resize"] == "longest":
        raise ValueError("transformers has no image step that fits the longest side")
    squash = steps["resize"] == "squash"
    return common | {
        "size": dict(zip(("height", "width"), target)) if squash else {"shortest_edge": target[0]},
        "do_center_crop": not squash or steps["resize_size"] is not None,
        "crop_size": {"height": height, "width": width},
    }
