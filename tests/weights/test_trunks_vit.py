"""timm's vision transformers as open_clip joins them: names, arguments and pools, what is refused, and the way back."""

import numpy as np
import pytest
from shared_case import numpy, tiny_model
from test_trunks_of_stages import read

import kzoo
from kzoo.layers.patch_embedding import as_size
from kzoo.weights.trunks import write_trunk

pytestmark = pytest.mark.once
TINY = {"embed_dim": 48, "depth": 2, "num_heads": 3}
STEM = {"embed_dim": [8, 16, 48], "depths": [1, 2, 1], "stem_width": 12}
RELPOS = "vit_relpos_medium_patch16_cls_224"
OWN, BEHIND = {"timm_proj": None}, {"timm_proj": "linear"}


def written_back(row):
    """The tower that is read of what is written of a tower, and what is written."""
    row = {"embed_dim": None, "projection_bias": False} | row
    fields, arguments = write_trunk(row | {"image_size": as_size(row["image_size"])})
    fields.pop("timm_model_pretrained")
    name = fields.pop("timm_model_name")
    return read(name, arguments, image_size=row["image_size"], **fields), name, arguments


@pytest.mark.parametrize(
    "name, changed",
    [
        ("vit_base_patch16_224", {"width": 768, "patch_bias": True, "epsilon": 1e-6, "pool": "class_token"}),
        ("vit_tiny_patch16_384", {"width": 192, "num_heads": 3, "image_size": 384}),
        ("vit_large_patch14_clip_224", {"pre_norm": True, "patch_bias": False, "epsilon": 1e-5, "norm_tokens": True}),
        ("vit_xsmall_patch16_clip_224", {"width": 256, "depth": 10, "num_heads": 4}),
        ("vit_base_patch16_plus_clip_240", {"width": 896, "mlp_dim": 3584, "image_size": 240, "layer_scale": None}),
        ("vit_base_patch32_clip_quickgelu_224", {"activation": "quick_gelu", "patch_size": 32}),
        ("vit_giant_patch14_clip_224", {"width": 1408, "mlp_dim": 6144, "depth": 40}),
        ("vit_gigantic_patch14_224", {"width": 1664, "mlp_dim": 8192}),
        ("vit_medium_patch16_gap_256", {"pool": "average", "attention_bias": "out", "layer_scale": 1e-6}),
        ("vit_base_patch16_gap_224", {"num_heads": 16, "attention_bias": "all", "layer_scale": None}),
        ("vit_base_patch32_plus_256", {"width": 896, "layer_scale": 1e-5}),
        ("deit3_huge_patch14_224", {"position_prefix": False, "layer_scale": 1e-6, "width": 1280}),
        ("vit_base_mci_224", {"stem": "convolutions", "position_prefix": False, "patch_size": 16}),
        (RELPOS, {"positions": None, "relative_dim": 256, "attention_bias": "out", "norm_tokens": True}),
        ("vit_relpos_base_patch16_224", {"relative_dim": 128, "class_token": False, "norm_tokens": False}),
        ("vit_relpos_base_patch16_plus_240", {"attention_bias": "all", "norm_tokens": True, "width": 896}),
        ("vit_relpos_base_patch16_clsgap_224", {"class_token": True, "pool": "average", "norm_tokens": False}),
        ("vitamin_small_224", {"mlp": "geglu", "stem_stages": [[64, 2], [128, 4]], "norm_tokens": False}),
        ("vitamin_large2_336", {"depth": 31, "stem_width": 160, "positions": "learned"}),
        ("vitamin_xlarge_384", {"positions": None, "image_size": 224, "width": 1152}),
    ],
)
def test_a_name(name, changed):
    row = read(name)
    assert {key: row[key] for key in changed} == changed
    again, written, arguments = written_back(row)
    assert again == row and arguments == {}
    assert written == name or row == read(written)  # a tower that timm has twice


@pytest.mark.parametrize(
    "name, arguments, vision, changed",
    [
        ("vit_base_patch16_224", TINY | {"patch_size": 8, "img_size": [32, 48]}, BEHIND, {"mlp_dim": 192}),
        ("vit_base_patch16_224", TINY | {"mlp_ratio": 2.5, "init_values": 0.1}, OWN | {"timm_pool": "token"}, {}),
        ("vit_base_patch16_224", {"mlp_ratio": 2.7}, BEHIND, {"mlp_dim": 2073}),
        # where the norm stands: timm moves it behind the mean, if it builds the tower with that
        ("vit_base_patch16_224", {}, OWN | {"timm_pool": "avg"}, {"pool": "average", "norm_tokens": False}),
        ("vit_base_patch16_224", {}, {"timm_proj": "none", "timm_pool": "avg"}, {"norm_tokens": False}),
        ("vit_base_patch16_224", {}, BEHIND | {"timm_pool": "avg"}, {"pool": "average", "norm_tokens": True}),
        ("vit_base_patch16_224", {"fc_norm": False}, OWN | {"timm_pool": "avg"}, {"norm_tokens": True}),
        ("vit_base_patch16_224", {"fc_norm": True}, BEHIND, {"pool": "class_token", "norm_tokens": False}),
        ("vit_base_patch16_224", {"class_token": False, "global_pool": "avg"}, BEHIND, {"norm_tokens": False}),
        (RELPOS, {"class_token": False}, OWN | {"timm_pool": "avg"}, {"pool": "average", "norm_tokens": True}),
        ("vitamin_small_224", {}, OWN | {"timm_pool": "avg"}, {"norm_tokens": False, "projection_bias": True}),
        # single arguments
        ("vit_base_patch16_224", {"pos_embed": "none", "act_layer": "silu"}, BEHIND, {"positions": None}),
        ("vit_base_patch16_224", {"pre_norm": True}, BEHIND, {"pre_norm": True, "patch_bias": False}),
        ("vit_base_patch16_224", {"no_embed_class": True}, {"timm_proj": "mlp"}, {"position_prefix": False}),
        ("vit_base_mci_224", TINY | {"pre_norm": True}, BEHIND, {"pre_norm": True, "width": 48}),
        ("vit_medium_patch16_gap_256", {"init_values": 0.0, "qkv_bias": True}, BEHIND, {"layer_scale": None}),
        ("vit_medium_patch16_gap_256", {"init_values": None, "drop_path_rate": 0.1}, BEHIND, {"layer_scale": 1e-6}),
        (RELPOS, {"rel_pos_dim": 16, "rel_pos_type": "mlp"}, BEHIND, {"relative_dim": 16}),
        ("vitamin_base_224", TINY | {"embed_cfg": STEM}, BEHIND, {"stem_stages": [[8, 1], [16, 2]], "stem_width": 12}),
        ("vitamin_xlarge_256", TINY | {"embed_cfg": STEM, "img_size": [40, 64]}, BEHIND, {"image_size": [40, 64]}),
    ],
)
def test_arguments_and_pools(name, arguments, vision, changed):
    row = read(name, arguments, **{"timm_pool": ""} | vision)
    assert {key: row[key] for key in changed} == changed
    assert written_back(row)[0] == row


@pytest.mark.parametrize(
    "name, arguments, vision, sentence",
    [
        (
            "vit_base_patch16_224",
            {"reg_tokens": 4},
            {},
            "model_args says reg_tokens=4, which this version cannot build",
        ),
        ("vit_base_patch16_224", {"qk_norm": True}, {}, "says qk_norm=True, which this version cannot build"),
        ("vit_base_patch16_224", {"final_norm": False}, {}, "says final_norm=False, which"),
        (
            "vit_base_patch16_224",
            {"block_fn": "x"},
            {},
            "config.json of vit_base_patch16_224, model_args says block_fn='x'",
        ),
        ("vit_base_patch16_224", {"embed_cfg": STEM}, {}, "says embed_cfg="),
        (
            "vit_base_patch16_224",
            {"act_layer": "mish"},
            {},
            "says act_layer='mish'; this version knows 'gelu', 'gelu_t",
        ),
        (
            "vit_base_patch16_224",
            {"global_pool": "max"},
            {},
            "says global_pool='max'; this version knows 'token', 'avg'",
        ),
        ("vit_base_patch16_224", {"embed_dim": "48"}, {}, "says embed_dim='48', but"),
        (
            "vit_base_patch16_224",
            {},
            {"timm_pool": "map"},
            "says timm_pool='map'; this version knows 'token', 'avg', ''",
        ),
        (
            "vit_base_patch16_224",
            {},
            {"image_size": 32},
            "says image_size=32, but vit_base_patch16_224 takes pictures of",
        ),
        ("vit_base_mci_224", {"patch_size": 2}, {}, "says patch_size=2; this version knows img_size, "),
        (RELPOS, {"rel_pos_type": "bias"}, {}, "says rel_pos_type='bias', which this version cannot build"),
        (RELPOS, {"shared_rel_pos": True}, {}, "says shared_rel_pos=True, which this version cannot build"),
        (RELPOS, {"pos_embed": "learn"}, {}, "says pos_embed='learn'; this version knows"),
        ("vitamin_small_224", {"embed_dim": 48}, {}, r"embed_cfg says embed_dim=\[64, 128, 384\].*of the whole, 48"),
        ("vitamin_small_224", {"embed_cfg": {"widths": 3}}, {}, "embed_cfg has a key 'widths' that is not known"),
        ("vitamin_small_224", {}, {"timm_pool": "token"}, "says timm_pool='token'; this version knows 'avg', ''"),
        ("vit_base_patch14_reg4_dinov2", {}, {}, "timm_model_name='vit_base_patch14_reg4_dinov2'; of timm's towers"),
        ("vit_srelpos_small_patch16_224", {}, {}, "timm_model_name='vit_srelpos_small_patch16_224'; of timm's towers"),
        ("vit_base_patch16_rpn_224", {}, {}, r"timm_model_name='vit_base_patch16_rpn_224'; .*vit_relpos_\{small, "),
        ("deit_base_patch16_clip_224", {}, {}, r"'deit_base_patch16_clip_224'; .* builds \{vit, deit, deit3\}_"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(name, arguments, vision, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(name, arguments, **vision)


def test_a_tower_of_open_clips_own_is_not_written_as_one_of_timms():
    own = dict(tiny_model().image_encoder.get_config(), kind="vit", mlp_dim=96, image_size=(16, 16))
    assert write_trunk(own) is None
    for changes in ({"patch_tokens": True}, {"pool": "queries"}, {"epsilon": 1e-3}):
        assert write_trunk(own | {"projection_bias": True, "norm_tokens": True} | changes) is None
    fields, _ = write_trunk(own | {"projection_bias": True})
    assert fields["timm_model_name"].startswith("vit_") and fields["timm_proj"] is None


def test_what_open_clip_itself_has_not_is_written_as_timms(tmp_path):
    model = tiny_model(projection_bias=True)
    model.save_to_preset(tmp_path / "theirs", format="open_clip")
    again = kzoo.from_preset(tmp_path / "theirs")
    images = model.image_encoder.samples(2)["images"]
    assert np.array_equal(numpy(again.image_encoder(images)["tokens"]), numpy(model.image_encoder(images)["tokens"]))
    assert np.array_equal(*(numpy(each.image_encoder(images)["embedding"]) for each in (again, model)))
