"""ConvNeXt and Swin as open_clip joins them: what timm's arguments change, what is refused, and the way back."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.weights.fields import Fields
from kzoo.weights.trunks import read_trunk, write_trunk

pytestmark = pytest.mark.once
SWIN = "swin_base_patch4_window7_224"


def read(name, arguments=(), **vision):
    """The tower that a config names, with the model_args of timm's own config."""
    vision = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear"} | vision
    return read_trunk(Fields(vision | {"timm_model_args": dict(arguments)}, "open_clip_config.json, vision_cfg"), 24)


@pytest.mark.parametrize(
    "name, arguments, vision, changed",
    [
        ("convnext_base", {}, {"image_size": 224}, {"depths": [3, 3, 27, 3], "widths": [128, 256, 512, 1024]}),
        ("convnext_xxlarge", {}, {}, {"depths": [3, 4, 30, 3], "epsilon": 1e-5, "image_size": 224}),
        ("convnext_xxlarge", {"norm_eps": None}, {}, {"epsilon": 1e-6}),
        (
            "convnext_tiny",
            {"norm_eps": 1e-3, "act_layer": "gelu_tanh"},
            {},
            {"epsilon": 1e-3, "activation": "gelu_tanh"},
        ),
        (
            "convnext_tiny",
            {"ls_init_value": None},
            {"image_size": [64, 96]},
            {"layer_scale": None, "image_size": [64, 96]},
        ),
        ("convnext_tiny", {"kernel_sizes": [3, 5, 7, 9], "patch_size": 2}, {}, {"kernel_sizes": [3, 5, 7, 9]}),
        ("convnext_tiny", {"conv_mlp": False, "drop_path_rate": 0.2}, {}, {"kernel_sizes": 7, "patch_size": 4}),
        ("convnext_tiny", {}, {"timm_proj": "mlp"}, {"hidden_dim": 48, "projection_bias": False, "embed_dim": 24}),
        (SWIN, {}, {}, {"image_size": 224, "window_size": 7, "width": 128, "head_width": None}),
        (SWIN, {"img_size": [64, 96]}, {"image_size": [64, 96]}, {"image_size": [64, 96]}),
        (SWIN, {"window_size": [5, 5], "depths": [2, 2], "num_heads": [2, 4]}, {}, {"window_size": 5}),
        (SWIN, {"window_size": [7, 7, 14, 7], "head_dim": 16}, {}, {"window_size": [7, 7, 14, 7], "head_width": 16}),
        (SWIN, {"qkv_bias": False, "mlp_ratio": 2.0}, {}, {"attention_bias": "out", "mlp_ratio": 2.0}),
        ("swin_large_patch4_window12_384", {}, {}, {"image_size": 384, "window_size": 12, "width": 192}),
    ],
)
def test_a_name_and_its_arguments(name, arguments, vision, changed):
    row = read(name, arguments, **vision)
    assert {key: row[key] for key in changed} == changed
    again = write_trunk({"embed_dim": 24} | row | {"image_size": _pair(row["image_size"])})
    assert read(again[0].pop("timm_model_name"), again[1], image_size=row["image_size"], **again[0]) == row


def _pair(size):
    return tuple(size) if isinstance(size, list) else (size, size)


@pytest.mark.parametrize(
    "name, arguments, vision, sentence",
    [
        ("convnext_tiny", {"use_grn": True}, {}, "model_args says use_grn=True, which this version cannot build"),
        ("convnext_tiny", {"conv_mlp": True}, {}, "model_args says conv_mlp=True, which this version cannot build"),
        ("convnext_tiny", {"head_norm_first": True}, {}, "says head_norm_first=True, which"),
        ("convnext_tiny", {"stem_type": "overlap"}, {}, "says stem_type='overlap', which"),
        ("convnext_tiny", {"output_stride": 16}, {}, "says output_stride=16, which"),
        ("convnext_tiny", {"depths": [3, 3]}, {}, r"says depths=\[3, 3\]; timm's ConvNeXt has 4 stages"),
        ("convnext_tiny", {"patch_size": 8}, {}, "says patch_size=8; this version knows stems from 1 to 7"),
        ("convnext_tiny", {"act_layer": "mish"}, {}, "says act_layer='mish'; this version knows 'gelu', "),
        ("convnext_tiny", {"window_size": 7}, {}, "config.json of convnext_tiny, model_args says window_size=7; this"),
        ("convnext_tiny", {"dims": 96}, {}, "says dims=96, but a list of 1 to 64"),
        ("convnext_tiny", {}, {"timm_pool": "max"}, "says timm_pool='max'; this version knows 'avg', ''"),
        ("convnext_tiny", {}, {"timm_proj": None}, "timm_pool='' and timm_proj=None: .* leaves the pool out"),
        ("convnext_atto", {}, {}, r"says timm_model_name='convnext_atto'; .* convnext_\{tiny, small, base, "),
        ("convnextv2_tiny", {}, {}, "says timm_model_name='convnextv2_tiny'; of timm's towers this version builds"),
        (SWIN, {}, {"image_size": 256}, f"image_size=256, but {SWIN} takes pictures of 224; give it in the model_args"),
        (SWIN, {"window_size": [4, 8]}, {}, r"window_size=\[4, 8\]; this version builds square windows"),
        (SWIN, {"always_partition": True}, {}, "says always_partition=True, which this version cannot build"),
        (SWIN, {"embed_dim": [96, 192]}, {}, r"says embed_dim=\[96, 192\], but a whole number"),
    ],
)
def test_what_is_not_built_is_refused_by_name(name, arguments, vision, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(name, arguments, **vision)


def test_a_head_of_timms_own(tmp_path):
    """`timm_proj: null`: the classifier of the tower, with a bias, is the projection."""
    fixture = TESTS / "fixtures" / "oc_convnext_tiny"
    config = json.loads((fixture / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"] |= {"timm_proj": None, "timm_pool": "avg"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_bytes((fixture / "config.json").read_bytes())
    tensors = load_file(fixture / "open_clip_model.safetensors")
    tensors["visual.trunk.head.fc.weight"] = tensors.pop("visual.head.proj.weight")
    tensors["visual.trunk.head.fc.bias"] = np.arange(24, dtype="float32")
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    model, plain = kzoo.from_preset(tmp_path), kzoo.from_preset(fixture)
    images = plain.image_encoder.samples(2)["images"]
    got, expected = (numpy(each.image_encoder(images)["embedding"]) for each in (model, plain))
    np.testing.assert_allclose(got, expected + np.arange(24), atol=1e-5)
    model.save_to_preset(tmp_path / "again", format="open_clip")
    written = load_file(tmp_path / "again" / "open_clip_model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)


def test_tables_that_older_files_of_swin_hold_are_computed(tmp_path):
    fixture = TESTS / "fixtures" / "oc_swin_tiny"
    for name in ("open_clip_config.json", "config.json"):
        (tmp_path / name).write_bytes((fixture / name).read_bytes())
    tensors, block = load_file(fixture / "open_clip_model.safetensors"), "visual.trunk.layers.0.blocks.1"
    tensors[f"{block}.attn.relative_position_index"] = np.zeros((16, 16), "int64")
    tensors[f"{block}.attn_mask"] = np.zeros((16, 16, 16), "float32")
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    model, plain = kzoo.from_preset(tmp_path), kzoo.from_preset(fixture)
    images = plain.image_encoder.samples(2)["images"]
    assert np.array_equal(*(numpy(each.image_encoder(images)["embedding"]) for each in (model, plain)))
