"""Pixels beside those of transformers' own image processors, from either file that they are written to."""

import json
import shutil
from importlib import import_module

import numpy as np
import pytest
from PIL import Image
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
SHAPES = [(40, 40), (80, 40), (30, 90), (16, 16), (41, 64), (67, 40), (33, 34), (50, 73), (97, 31), (16, 205)]
THIN = [(300, 15), (7, 401), (401, 20)]  # of which the crop alone is scaled: places in float32 may round otherwise
MODES = ["L", "LA", "RGBA", "P", "CMYK", "1", "I;16", "RGB"]


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
        yield {"size": side + 5, "crop_size": {"height": side, "width": side}}
        yield {"size": {"shortest_edge": side - 5}, "crop_size": side, "do_pad": False}
        yield {"size": {"height": side + 5, "width": side - 3}, "crop_size": side}
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
    for height, width in SHAPES:
        compare(model, processor, np.resize(toy_pairs(1, max(height, width))["images"][0], (height, width, 3)))


def test_pictures_that_are_thin(tmp_path):
    processor = processor_of("hf_clip_tiny", size=37, crop_size=32)
    model = kzoo.from_preset(written("hf_clip_tiny", tmp_path, json.loads(processor.to_json_string())))
    for shape in THIN:
        compare(model, processor, np.resize(toy_pairs(1, max(shape))["images"][0], (*shape, 3)), atol=0.016)


@pytest.mark.parametrize(
    "options",
    [
        {"max_num_patches": 16},
        {"max_num_patches": 12, "resample": 3},
        {"image_mean": [0.4] * 3, "image_std": [0.2] * 3},
    ],
    ids=str,
)
def test_patches_are_those_of_the_processor(options, tmp_path):
    family = import_module("transformers.models.siglip2.image_processing_pil_siglip2")
    processor = family.Siglip2ImageProcessorPil(patch_size=4, **options)
    content = {"image_processor": json.loads(processor.to_json_string())}
    folder = written("hf_siglip2_naflex_tiny", tmp_path, content, "processor_config.json")
    model = kzoo.from_preset(folder, load_weights=False)
    mean, std = (255.0 * np.tile(each, 16) for each in (model.image_encoder.mean, model.image_encoder.std))
    for height, width in [*SHAPES, (7, 401), (401, 20), (5, 3)]:
        picture = np.resize(toy_pairs(1, max(height, width, 16))["images"][0], (height, width, 3))
        expected, got = processor(picture, return_tensors="np"), model.preprocessor.encode_images([picture])
        assert np.array_equal(got["image_grid"], expected["spatial_shapes"])
        real = expected["pixel_attention_mask"].astype(bool)
        patches = (got["images"] - mean) / std
        np.testing.assert_allclose(patches[real], expected["pixel_values"][real], atol=1e-5)


def compare(model, processor, picture, atol=1e-5):
    mean, std = (255.0 * np.array(each) for each in (model.image_encoder.mean, model.image_encoder.std))
    (expected,) = processor(picture, return_tensors="np")["pixel_values"]
    pixels = model.preprocessor.encode_images([picture])["images"][0]
    np.testing.assert_allclose((pixels - mean) / std, expected.transpose(1, 2, 0), atol=atol)


@pytest.mark.filterwarnings("ignore:the picture has values up to")
@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode(mode, tmp_path):
    for name in set(PROCESSORS) - {"hf_align_tiny"}:  # whose class takes colours alone
        folder = tmp_path / name
        side = side_of(name)
        size = {"size": side, "crop_size": side} if name in CROPPING else {"size": {"height": side, "width": side}}
        processor = processor_of(name, **size)
        model = kzoo.from_preset(written(name, folder, json.loads(processor.to_json_string())), load_weights=False)
        rows = np.resize(toy_pairs(1, 61)["images"][0], (45, 61, 3))
        picture = Image.fromarray(rows[..., 0].astype("uint16")) if mode == "I;16" else Image.fromarray(rows)
        picture = picture if mode == "I;16" else picture.convert(mode)
        assert picture.mode == mode
        compare(model, processor, picture)


OLD_FILES = [  # as versions 4 wrote them, and what the class of the library is told by them
    (
        "hf_clip_tiny",
        {
            "crop_size": 32,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
            "size": 32,
        },
    ),
    ("hf_clip_tiny", {"image_processor_type": "CLIPImageProcessor", "size": 37, "crop_size": 32, "resample": 2}),
    (
        "hf_clip_tiny",
        {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 32}, "crop_size": 32},
    ),
    ("hf_clip_tiny", {"size": 32, "default_to_square": True, "crop_size": 32}),
    ("hf_blip_itm_tiny", {"size": 37, "default_to_square": False, "do_center_crop": True, "crop_size": 32}),
    ("hf_siglip_tiny", {"processor_class": "SiglipProcessor", "size": {"height": 32, "width": 32}}),
    (
        "hf_blip_itm_tiny",
        {"image_processor_type": "BlipImageProcessor", "size": 32, "rescale_factor": 0.00392156862745098},
    ),
    ("hf_chinese_clip_tiny", {"do_convert_rgb": True, "size": {"height": 32, "width": 32}, "do_center_crop": False}),
]


@pytest.mark.parametrize("name, content", OLD_FILES, ids=str)
def test_files_of_older_versions(name, content, tmp_path):
    kinds = ("feature_extractor_type", "image_processor_type", "processor_class")
    processor = processor_of(name, **{key: value for key, value in content.items() if key not in kinds})
    model = kzoo.from_preset(written(name, tmp_path, content), load_weights=False)
    for height, width in SHAPES:
        compare(model, processor, np.resize(toy_pairs(1, max(height, width))["images"][0], (height, width, 3)))


def test_another_class_of_processors_means_its_own_defaults(tmp_path):
    family = import_module("transformers.models.vit.image_processing_pil_vit")
    processor = family.ViTImageProcessorPil(size=32)
    content = {"image_processor_type": "ViTImageProcessor", "size": 32}
    compare(
        kzoo.from_preset(written("hf_clip_tiny", tmp_path, content)), processor, toy_pairs(1, 45)["images"][0][:, :37]
    )


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
        (
            "hf_siglip_tiny",
            {"size": {"height": 40, "width": 40}},
            "resizes pictures to size={.*but the tower takes 32 x",
        ),
        ("hf_clip_tiny", {"size": {"longest_edge": 32}}, "says size={'longest_edge': 32}; this version knows a number"),
        ("hf_clip_tiny", {"resample": 1}, "says resample=1; this version knows 2, 3"),
        ("hf_clip_tiny", {"do_pad": True}, "says do_pad=True, which this version cannot build"),
        ("hf_clip_tiny", {"do_thumbnail": True}, "says do_thumbnail=True"),
        ("hf_clip_tiny", {"image_processor_type": "ConvNextImageProcessor"}, "says image_processor_type='ConvNext"),
        ("hf_siglip2_naflex_tiny", {"patch_size": 5}, "cuts pictures into patch_size=5, but the tower takes"),
    ],
)
def test_steps_that_cannot_be_are_refused(name, content, sentence, tmp_path):
    with pytest.raises(ValueError, match=f"preprocessor_config.json .*{sentence}"):
        kzoo.from_preset(written(name, tmp_path, content))


def test_a_square_of_clips(tmp_path):
    side = side_of("hf_clip_tiny")
    folder = written("hf_clip_tiny", tmp_path, {"size": {"shortest_edge": side}, "use_square_size": True})
    assert kzoo.from_preset(folder).preprocessor.images.resize == "squash"


def test_where_a_crop_begins_is_kept(tmp_path):
    model = kzoo.from_preset(TESTS / "fixtures" / "hf_clip_tiny")
    assert model.preprocessor.images.crop_rounding == "floor"
    model.save_to_preset(tmp_path / "ours")
    model.save_to_preset(tmp_path / "theirs", format="transformers")
    for folder in ("ours", "theirs"):
        assert kzoo.from_preset(tmp_path / folder).preprocessor.images.crop_rounding == "floor"
    assert kzoo.from_preset(TESTS / "fixtures" / "oc_clip_vit_tiny").preprocessor.images.crop_rounding == "even"
    assert kzoo.presets.read_row("align_base")["images"]["crop_rounding"] == "floor"
    assert "crop_rounding" not in kzoo.presets.read_row("clip_base")["images"]
