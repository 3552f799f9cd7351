"""The configs of open_clip's later line, 4.2, that its wheel has not: opened as it builds them, or refused by name."""

import json
import lzma
import re
import shutil

import pytest
from parity import FIXTURES, opened, outputs_of, worst
from shared_case import TESTS
from test_wheel import model_count
from wheel import CONFIGS, Shapes

import kzoo
from kzoo.layers.initializers import without_values
from kzoo.presets import build as building
from kzoo.presets.foreign import Checkpoint
from kzoo.presets.loader import checked
from kzoo.presets.table import read_row
from kzoo.weights import open_clip
from kzoo.weights.fields import Fields
from kzoo.weights.trunks import read_trunk, write_trunk

pytestmark = pytest.mark.once
# of each config the config itself, and where this version builds it `tensors` (name: shape) and `params`
LATER = json.loads(lzma.decompress((TESTS / "golden" / "open_clip_later.json.xz").read_bytes()))
OPENED = [name for name, each in LATER.items() if "tensors" in each]
REFUSED = {
    "CLAP": "so it is of CLAP (sound and text)",
    "naflexclap": "so it is of CLAP (sound and text)",
    "naflexgenlip": "so it is of GenLIP (texts written from pictures)",
    "naflexgenlap": "so it is of GenLAP (texts written from sounds)",
    "mammut2-moderntext": "multimodal_cfg is of MaMMUT with modern blocks",
    "mammut2-naflex": "multimodal_cfg is of MaMMUT, whose decoder reads the tokens of an image tower",
    "coca2-moderntext": "multimodal_cfg is of a decoder of modern blocks",
    "gte-modernbert": "says hf_model_name='Alibaba-NLP/gte-modernbert-base'",
}


def checkpoint_of(name, folder):
    steps = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    return Checkpoint(folder, name, open_clip.FORMAT, {"model_cfg": LATER[name]["config"], "preprocess_cfg": steps})


def test_none_of_them_is_in_the_wheel():
    assert not LATER.keys() & CONFIGS.keys() and len(LATER) == 47 and len(OPENED) == 15


@pytest.mark.parametrize("name", OPENED)
def test_names_shapes_and_count_of_a_config(name, tmp_path):
    checkpoint = checkpoint_of(name, tmp_path)
    model = without_values(building.build, checkpoint.row())
    checkpoint.check_tensors(Shapes(LATER[name]["tensors"]), model)
    assert model_count(model) == LATER[name]["params"]


@pytest.mark.parametrize("name", ["siglip2_base_patch16_naflex_576", "siglip2_so400m_patch16_naflex_576"])
def test_a_row_of_the_table_is_what_its_config_says(name, tmp_path):
    row = read_row(name)
    assert read_row(f"{row['open_clip']}/webli")["preset"] == name
    checkpoint = checkpoint_of(row["open_clip"], tmp_path)
    assert checked(checkpoint, row)["images"] == row["images"]
    assert checkpoint.row()["similarity"] == {"bias": -10, "max_scale": 1000.0}


@pytest.mark.parametrize("name", sorted(LATER.keys() - set(OPENED)))
def test_what_is_not_built_is_refused_by_name(name, tmp_path):
    (sentence,) = (said for beginning, said in REFUSED.items() if name.startswith(beginning))
    with pytest.raises(ValueError, match="open_clip_config.json, model_cfg") as error:
        checkpoint_of(name, tmp_path).row()
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", [path.name for path in sorted(FIXTURES.glob("oc4_*"))])
def test_written_back_and_opened_again(name, tmp_path):
    first = kzoo.from_preset(FIXTURES / name)
    first.save_to_preset(tmp_path, format="open_clip")
    again = kzoo.from_preset(tmp_path)
    steps, rules = (
        [model.preprocessor.get_config()[key] for model in (first, again)] for key in ("images", "vocabulary")
    )
    assert steps[0] == steps[1] and rules[0]["rules"] == rules[1]["rules"]
    assert worst(again, name) < 3e-6


@pytest.mark.parametrize(
    "name, changes",
    [
        ("oc4_naflex_siglip_tiny", {"image_encoder": {"activation": "gelu"}}),
        ("oc4_naflex_siglip_tiny", {"image_encoder": {"resampling": "bicubic"}}),
        ("oc4_naflex_gap_tiny", {"image_encoder": {"resampling": "bilinear"}}),
        ("oc4_naflex_gap_tiny", {"image_encoder": {"square": True}}),
        ("oc4_coca2_tiny", {"text_encoder": {"class_mask": "shifted"}}),
        ("oc4_naflex_par_token_tiny", {"image_encoder": {"square": False}}),
        ("oc4_moderntext_eos_tiny", {"text_encoder": {"causal": False}}),
        ("oc4_moderntext_eos_tiny", {"text_encoder": {"rotary_base": 10000.0}}),
        ("oc4_moderntext_mean_tiny", {"text_encoder": {"activation": "relu"}}),
        ("oc4_mammut_tiny", {"text_encoder": {"causal": True}}),
        ("oc4_mammut_tiny", {"text_encoder": {"mask_padding": True}}),
        ("oc4_mammut_tiny", {"image_encoder": {"pool": "average"}}),
        ("oc4_mammut_bare_tiny", {"image_encoder": {"pool": "average_all"}}),
    ],
)
def test_the_tolerance_catches_a_wrong_architecture(name, changes):
    assert worst(opened(name, **changes), name) > 3e-6


GAP, MAP, SIGLIP = (f"naflexvit_base_patch16_{form}" for form in ("gap", "map", "siglip"))


def read(name, arguments=(), **vision):
    vision = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear"} | vision
    given = {"timm_model_kwargs": dict(arguments)}
    return read_trunk(Fields(vision | given, "open_clip_config.json, vision_cfg"), 24)


@pytest.mark.parametrize(
    "name, arguments, vision, changed",
    [
        (GAP, {}, {}, {"pool": "average", "norm_tokens": False, "register_tokens": 4, "max_patches": 196}),
        (GAP, {"patch_size": 32}, {"image_size": [64, 96]}, {"max_patches": 6, "patch_size": 32}),
        (GAP, {"fc_norm": False}, {"image_seq_len": 10}, {"norm_tokens": True, "max_patches": 10}),
        (GAP, {"fc_norm": False, "global_pool": "map"}, {}, {"pool": "attention", "pool_mlp_dim": None}),
        (MAP, {}, {"timm_pool": "avg"}, {"pool": "average", "norm_tokens": True, "register_tokens": 1}),
        (MAP, {}, {"timm_pool": "avg", "timm_proj": None}, {"norm_tokens": False, "projection_bias": True}),
        (MAP, {"swiglu_mlp": True}, {}, {"mlp": "swiglu", "attention_bias": "query_value"}),
        (MAP, {"swiglu_mlp": True, "attn_type": "rope"}, {}, {"attention_bias": "all"}),
        (MAP, {"attn_type": "eva", "qkv_fused": False}, {}, {"mlp": "plain", "attention_bias": "query_value"}),
        (MAP, {"pos_embed_grid_size": [4, 6], "init_values": None}, {}, {"table_size": [4, 6], "layer_scale": 1e-5}),
        (MAP, {"pre_norm": True, "drop_path_rate": 0.1}, {}, {"pre_norm": True}),
        ("naflexvit_so150m2_patch16_reg1_map", {}, {}, {"mlp_dim": 2176, "attention_bias": "out", "depth": 21}),
        (
            "naflexvit_so400m_patch16_siglip",
            {},
            {"timm_proj": "none", "timm_pool": "map"},
            {"mlp_dim": 4304, "activation": "gelu_tanh"},
        ),
        (SIGLIP, {"mlp_ratio": 2.7, "attn_pool_num_heads": 4}, {}, {"mlp_dim": 2073, "pool_heads": 4}),
    ],
)
def test_a_trunk_that_keeps_the_shape_of_pictures(name, arguments, vision, changed):
    row = read(name, arguments, **vision)
    assert {key: row[key] for key in changed} == changed
    fields, own = write_trunk({"embed_dim": None, "projection_bias": False} | row)
    assert own == {} and fields.pop("timm_model_pretrained") is False
    arguments = fields.pop("timm_model_kwargs", {})
    assert read(fields.pop("timm_model_name"), arguments, image_seq_len=row["max_patches"], **fields) == row


@pytest.mark.parametrize(
    "name, arguments, vision, sentence",
    [
        (MAP, {"rope_type": "axial"}, {}, "vision_cfg, timm_model_kwargs says rope_type='axial', which this version"),
        (MAP, {"pos_embed": "factorized"}, {}, "says pos_embed='factorized', which this version cannot build"),
        (MAP, {"attn_gated": True}, {}, "says attn_gated=True, which this version cannot build"),
        (MAP, {"made_up": 1}, {}, "says made_up=1; this version knows patch_size, "),
        (MAP, {"pos_embed_interp_mode": "nearest"}, {}, "says pos_embed_interp_mode='nearest'; this version knows"),
        (GAP, {}, {"timm_pool": "map"}, "timm_pool='map' asks for a pool that timm does not put on"),
        (GAP, {"global_pool": "map"}, {}, "fc_norm=True with the pool 'map'"),
        (
            "naflexvit_base_patch16_parfac_gap",
            {},
            {},
            "of timm's towers this version builds naflexvit_base_patch16_gap",
        ),
        (
            "vit_base_patch16_224",
            {"use_naflex": True},
            {},
            "timm_model_kwargs says use_naflex=True; this version knows",
        ),
    ],
)
def test_what_is_refused_of_a_trunk(name, arguments, vision, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read(name, arguments, **vision)


def test_a_table_of_sines_is_read_as_any_other(tmp_path):
    """OpenVision's, of which open_clip stores the numbers."""
    shutil.copytree(FIXTURES / "oc_clip_vit_tiny", tmp_path / "x")
    path = tmp_path / "x" / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["vision_cfg"]["pos_embed_type"] = "sin_cos_2d"
    path.write_text(json.dumps(config))
    assert worst(kzoo.from_preset(tmp_path / "x"), "oc_clip_vit_tiny") < 3e-6


def test_the_outputs_of_padding_are_not_compared():
    got, expected = outputs_of(opened("oc4_naflex_gap_tiny"), "oc4_naflex_gap_tiny")
    assert len(got["image_tokens"]) == len(expected["image_tokens"]) == 15 + 15 + 7 + 4
