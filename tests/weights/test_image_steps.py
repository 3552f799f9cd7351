"""Pixels beside those of transformers' own image processors, from either file that they are written to."""

import json
import shutil
from importlib import import_module

import numpy as np
import pytest
from shared_case import TESTS, toy_pairs

import kzoo

pytestmark = pytest.mark.once
PROCESSORS = {  # of a fixture: the family and the class of its processor
    "hf_clip_tiny": ("clip", "CLIPImageProcessorPil"),
    "hf_altclip_tiny": ("clip", "CLIPImageProcessorPil"),
    "hf_chinese_clip_tiny": ("chinese_clip", "ChineseCLIPImageProcessorPil"),
    "hf_blip_itm_tiny": ("blip", "BlipImageProcessorPil"),
    "hf_siglip_tiny": ("siglip", "SiglipImageProcessorPil"),
    "hf_align_tiny": ("efficientnet", "EfficientNetImageProcessorPil"),
}
CROPPING = ("hf_clip_tiny", "hf_altclip_tiny", "hf_chinese_clip_tiny")
SHAPES = [(40, 40), (80, 40), (30, 90), (16, 16)]  # of which no crop begins at half a pixel


def processor_of(name, **options):
    options |= {"include_top": False} if name == "hf_align_tiny" else {}
    family, kind = PROCESSORS[name]
    return getattr(import_module(f"transformers.models.{family}.image_processing_pil_{family}"), kind)(**options)


def side_of(name):
    return json.loads((TESTS / "fixtures" / name / "config.json").read_text())["vision_config"]["image_size"]


def written(name, tmp_path, content, file="preprocessor_config.json"):
    """A checkpoint with another file of its image processor."""
    folder = tmp_path / name
    shutil.copytree(TESTS / "fixtures" / name, folder)
    (folder / file).write_text(json.dumps(content))
    return folder


def options_of(name):
    """What the size of a picture may be written as."""
    side = side_of(name)
    if name in CROPPING:
        crop = {"crop_size": {"height": side, "width": side}}
        yield {"size": side, **crop}
        yield {"size": {"shortest_edge": side}, **crop}
        yield {"size": {"shortest_edge": side + 8}, "crop_size": side}
        yield {"size": {"height": side, "width": side}, "do_center_crop": False, **crop}
    elif name == "hf_align_tiny":  # as its authors' is
        scaled = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}
        yield {"size": {"height": side + 8, "width": side + 8}, "do_center_crop": True, "crop_size": side, **scaled}
    if name in ("hf_align_tiny", "hf_blip_itm_tiny"):
        yield {"size": side}
    whole = {"size": {"height": side, "width": side}} | ({"do_center_crop": False} if name in CROPPING else {})
    yield {**whole, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    yield {**whole, "resample": 2}


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "name, options", [(name, options) for name in PROCESSORS for options in options_of(name)], ids=str
)
def test_pixels_are_those_of_the_processor(name, options, file, tmp_path):
    processor = processor_of(name, **options)
    content = json.loads(processor.to_json_string())
    if file == "processor_config.json":
        content = {"image_processor": content, "processor_class": "AnyProcessor"}
    model = kzoo.from_preset(written(name, tmp_path, content, file), load_weights=False)
    mean, std = (255.0 * np.array(each) for each in (model.image_encoder.mean, model.image_encoder.std))
    for height, width in SHAPES:
        picture = np.resize(toy_pairs(1, max(height, width))["images"][0], (height, width, 3))
        (expected,) = processor(picture, return_tensors="np")["pixel_values"]
        pixels = model.preprocessor.encode_images([picture])["images"][0]
        np.testing.assert_allclose((pixels - mean) / std, expected.transpose(1, 2, 0), atol=1e-5)


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("hf_clip_tiny", {"do_resize": False}, "says do_resize=False, which this version cannot build"),
        ("hf_clip_tiny", {"do_rescale": False}, "says do_rescale=False"),
        ("hf_clip_tiny", {"do_normalize": False}, "says do_normalize=False"),
        ("hf_clip_tiny", {"rescale_factor": 0.5}, "says rescale_factor=0.5"),
        ("hf_clip_tiny", {"crop_size": 24}, "crops pictures to crop_size=24, but the tower takes 32 x 32"),
        ("hf_clip_tiny", {"do_center_crop": False}, "crops no centre, which gives pictures of every shape"),
        ("hf_align_tiny", {"include_top": True}, "says include_top=True"),
        ("hf_align_tiny", {"rescale_offset": True, "do_normalize": True}, "says do_normalize=True"),
        ("hf_siglip_tiny", {"size": 32}, "crops no centre, which gives pictures of every shape"),
    ],
)
def test_steps_that_cannot_be_are_refused(name, content, sentence, tmp_path):
    with pytest.raises(ValueError, match=f"preprocessor_config.json .*{sentence}"):
        kzoo.from_preset(written(name, tmp_path, content))


def test_a_square_of_clips(tmp_path):
    side = side_of("hf_clip_tiny")
    folder = written("hf_clip_tiny", tmp_path, {"size": {"shortest_edge": side}, "use_square_size": True})
    assert kzoo.from_preset(folder).preprocessor.images.resize == "squash"
