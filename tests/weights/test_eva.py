"""EVA and Perception Encoder: arguments of timm that no fixture has, EVA's own layout, Meta's."""

import json
import re
import shutil

import numpy as np
import pytest
from parity import FIXTURES, worst
from safetensors.numpy import load_file, save_file
from shared_case import numpy

import kzoo
from kzoo.presets.build import build, complete
from kzoo.presets.foreign import recognise
from kzoo.weights.fields import Fields
from kzoo.weights.trunks import read_trunk, write_trunk

pytestmark = pytest.mark.once
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def changed(folder, file, change):
    content = json.loads((folder / file).read_text())
    change(content)
    (folder / file).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    def copied(name):
        return shutil.copytree(FIXTURES / name, tmp_path / name)

    return copied


# -- EVA's own layout --
OWN = {  # fixture -> `vision_cfg` of its own config
    "oc_eva01_tiny": {"head_width": 12, "mlp_ratio": 4.3637},
    "oc_eva02_tiny": {
        "head_width": 12,
        "mlp_ratio": 2.6667,
        "rope": True,
        "pt_hw_seq_len": 16,
        "intp_freq": True,
        "naiveswiglu": True,
        "subln": True,
    },
    "oc_eva02_enormous_tiny": {"head_width": 16, "mlp_ratio": 5.0, "postnorm": True},
}
NAMES = {
    r"^visual\.trunk\.": "visual.",
    r"\.attn\.norm\.": ".attn.inner_attn_ln.",
    r"\.mlp\.norm\.": ".mlp.ffn_ln.",
    r"\.mlp\.fc1_g\.": ".mlp.w1.",
    r"\.mlp\.fc1_x\.": ".mlp.w2.",
    r"\.attn\.([qv])_proj\.bias": r".attn.\1_bias",
}


def as_eva_has_it(folder, name):
    def own(config):
        model = config["model_cfg"]
        model["vision_cfg"] = {
            "image_size": 32,
            "layers": 2,
            "width": 32 if "enormous" in name else 36,
            "patch_size": 8,
            "eva_model_name": "eva-clip-tiny",
            "drop_path_rate": 0.4,
            "xattn": True,
            "fusedLN": True,
            **OWN[name],
        }
        model["text_cfg"] |= {"xattn": True, "fusedLN": True}
        del model["custom_text"]

    changed(folder, CONFIG, own)
    (folder / "config.json").unlink()
    tensors = {}
    for key, tensor in load_file(folder / WEIGHTS).items():
        for pattern, replacement in NAMES.items():
            key = re.sub(pattern, replacement, key)
        if OWN[name].get("naiveswiglu"):
            key = re.sub(r"\.mlp\.fc2\.", ".mlp.w3.", key)
        tensors[key] = tensor
    if OWN[name].get("rope"):
        tensors |= {f"visual.{place}rope.freqs_cos": np.zeros((16, 12), "f4") for place in ("", "blocks.0.attn.")}
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("name", OWN)
def test_the_layout_of_its_own(name, folder, tmp_path):
    place = folder(name)
    as_eva_has_it(place, name)
    model = kzoo.from_preset(place)
    assert worst(model, name) < 3e-6
    model.save_to_preset(tmp_path / "written", format="open_clip")
    original, written = (load_file(each / WEIGHTS) for each in (FIXTURES / name, tmp_path / "written"))
    assert written.keys() == original.keys()
    assert all(np.array_equal(written[key], original[key]) for key in written)


@pytest.mark.parametrize(
    "field, sentence",
    [
        ({"xatn": True}, "vision_cfg says xatn=True; this version knows eva_model_name"),
        ({"global_average_pool": True}, "says global_average_pool=True, which this version cannot build"),
        ({"intp_freq": False}, "says pt_hw_seq_len=16 without intp_freq, but pictures of 32 x 32 have 4 x 4 patches"),
    ],
)
def test_what_its_own_config_may_not_say(field, sentence, folder):
    place = folder("oc_eva02_tiny")
    as_eva_has_it(place, "oc_eva02_tiny")
    changed(place, CONFIG, lambda config: config["model_cfg"]["vision_cfg"].update(field))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(place)


def test_the_layout_of_meta_is_called_by_its_name(folder):
    place = folder("oc_pe_core_tiny")
    tensors = load_file(place / WEIGHTS)
    tensors["visual.conv1.weight"] = tensors.pop("visual.trunk.patch_embed.proj.weight")
    save_file(tensors, place / WEIGHTS)
    with pytest.raises(ValueError, match=r"holds visual.conv1.weight: it is in the layout of Meta's own files; take"):
        kzoo.from_preset(place)


# -- arguments of timm --
def tower_of(place, arguments, vision=None):
    """The image tower of a folder whose model_args have more."""
    changed(place, "config.json", lambda config: config["model_args"].update(arguments))
    changed(place, CONFIG, lambda config: config["model_cfg"]["vision_cfg"].update(vision or {}))
    return recognise(place).row()


@pytest.mark.parametrize(
    "name, arguments, vision",
    [
        ("oc_eva02_tiny", {"qkv_fused": True, "scale_mlp": False, "scale_attn_inner": False}, {}),
        ("oc_eva02_tiny", {"swiglu_align_to": 64, "scale_mlp": False, "init_values": 0.1}, {}),
        ("oc_eva02_tiny", {"ref_feat_shape": None, "img_size": [32, 48]}, {"image_size": [32, 48], "timm_pool": "avg"}),
        ("oc_eva02_tiny", {"ref_feat_shape": 8, "qkv_bias": False}, {"timm_proj": "linear", "timm_pool": "avg"}),
        ("oc_eva02_tiny", {"use_post_norm": True, "swiglu_mlp": False}, {"timm_pool": "map"}),
        ("oc_eva02_tiny", {"use_abs_pos_emb": False, "embed_dim": 24}, {}),
        ("oc_pe_core_tiny", {"no_embed_class": True, "attn_pool_mlp_ratio": None}, {}),
        ("oc_eva01_tiny", {"mlp_ratio": 2.0, "drop_path_rate": 0.2}, {"timm_proj": "mlp", "timm_pool": ""}),
        ("oc_pe_core_tiny", {"rope_grid_indexing": "ij", "rope_grid_offset": 0.5, "class_token": False}, {}),
        ("oc_pe_core_tiny", {"use_pre_transformer_norm": False, "qkv_fused": False}, {"timm_pool": "token"}),
    ],
)
def test_a_tower_of_other_arguments_is_written_as_it_is_read(name, arguments, vision, folder, tmp_path):
    row = tower_of(folder(name), arguments, vision)
    model = build(row, preprocessor=recognise(FIXTURES / name).preprocessor(row))
    model.save_to_preset(tmp_path / "written", format="open_clip")
    again = kzoo.from_preset(tmp_path / "written")
    assert json.dumps(again.image_encoder.get_config()) == json.dumps(model.image_encoder.get_config())
    for one, two in zip(model.weights, again.weights, strict=True):
        assert np.array_equal(numpy(one), numpy(two)), one.path


def test_another_name_of_the_same_tower_beside_the_config(folder):
    """As the repositories of EVA-01 have it; with arguments it would be another tower."""
    place = folder("oc_eva01_tiny")

    def renamed(timm):
        timm["architecture"] = "eva_giant_patch14_clip_224"

    changed(place, "config.json", renamed)
    with pytest.raises(ValueError, match="config.json is of 'eva_giant_patch14_clip_224', but .* they belong to two"):
        recognise(place)
    changed(place, "config.json", lambda timm: timm.pop("model_args"))
    changed(place, CONFIG, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=224))
    assert recognise(place).row()["image_encoder"]["depth"] == 40


@pytest.mark.parametrize("proj, pool", [(None, "token"), ("linear", "token"), ("linear", "avg"), ("linear", "")])
@pytest.mark.parametrize(
    "name, width",
    [("eva02_tiny_patch14_224", 192), ("eva_giant_patch14_clip_224", 1408), ("eva_giant_patch14_336", 1408)],
)
def test_names_of_timm_are_written_as_they_are_read(name, width, proj, pool):
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": int(name[-3:])}
    row = read_trunk(Fields(vision, CONFIG), 24)
    assert row["width"] == width
    whole = complete(row) | {"image_size": [row["image_size"]] * 2}
    written, arguments = write_trunk(whole)
    again = read_trunk(Fields(written | {"timm_model_args": arguments, "image_size": row["image_size"]}, CONFIG), 24)
    assert again == row


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"num_reg_tokens": 4}, "config.json of eva02_base_patch16_clip_224, model_args says num_reg_tokens=4, which"),
        ({"rope_rotate_half": True}, "says rope_rotate_half=True, which this version cannot build"),
        ({"use_fc_norm": True}, "says use_fc_norm=True, which this version cannot build"),
        ({"attn_type": "linear"}, "says attn_type='linear'; this version knows 'eva', 'rope'"),
        ({"windows": 4}, "says windows=4; this version knows img_size"),
        ({"depth": "two"}, "depth"),
        ({"num_heads": 6}, "heads are 6 wide, but rotary positions of rows and columns take a multiple of 4"),
        ({"img_size": 48}, "says image_size=32, but eva02_base_patch16_clip_224 takes pictures of 48"),
    ],
)
def test_arguments_that_are_refused(arguments, sentence, folder):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        build(tower_of(folder("oc_eva02_tiny"), arguments))


def test_the_names_of_a_file_follow_its_arguments(folder):
    """Packed gates and fused projections are read as they are written where they are apart."""
    place = folder("oc_eva02_tiny")
    tensors = load_file(place / WEIGHTS)
    for number in range(2):
        block = f"visual.trunk.blocks.{number}"
        gate = [f"{block}.mlp.{name}" for name in ("fc1_g", "fc1_x")]
        for kind in ("weight", "bias"):
            tensors[f"{block}.mlp.fc1.{kind}"] = np.concatenate([tensors.pop(f"{name}.{kind}") for name in gate])
            del tensors[f"{block}.mlp.norm.{kind}"]
        parts = [tensors.pop(f"{block}.attn.{name}_proj.weight") for name in "qkv"]
        tensors[f"{block}.attn.qkv.weight"] = np.concatenate(parts)
        tensors |= {f"{block}.attn.{name}_bias": tensors.pop(f"{block}.attn.{name}_proj.bias") for name in "qv"}
    save_file(tensors, place / WEIGHTS)
    changed(place, "config.json", lambda config: config["model_args"].update(qkv_fused=True, scale_mlp=False))
    block, original = kzoo.from_preset(place).image_encoder.blocks[1], load_file(FIXTURES / "oc_eva02_tiny" / WEIGHTS)
    stored = "visual.trunk.blocks.1"
    for layer, name in (
        (block.mlp_gate, "mlp.fc1_g"),
        (block.mlp_up, "mlp.fc1_x"),
        (block.attention.key, "attn.k_proj"),
    ):
        assert np.array_equal(numpy(layer.kernel), original[f"{stored}.{name}.weight"].T)
    assert np.array_equal(numpy(block.attention.value.bias), original[f"{stored}.attn.v_proj.bias"])
