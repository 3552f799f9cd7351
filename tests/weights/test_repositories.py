"""Every row with weights of open_clip is what its wheel says of the config and the tag, and opens from a repository as
the hub's client lays it out; every tag of the wheel has a row."""

import json
from collections import Counter

import pytest
import transformers as hf
from shared_case import TESTS
from test_hub import put
from wheel import WHEEL, config_of, pairs

import kzoo
from kzoo.presets.build import PARTS, complete, parts_of
from kzoo.presets.foreign import Checkpoint, plain, unread
from kzoo.presets.loader import checked
from kzoo.presets.table import preset_of, read_row
from kzoo.weights import open_clip

pytestmark = pytest.mark.once
ALL = {row["name"]: read_row(row["name"]) for row in kzoo.list_presets()}
ROWS = {name: row for name, row in ALL.items() if row.get("open_clip") in WHEEL}  # not of the later line
RELEASED = [name for name, row in ROWS.items() if row["weights"]]
QUICK = "-quickgelu"
# texts are cleaned as these models were trained, which open_clip's tokenizer does not quite
CLEANED = {"siglip": "big_vision", "siglip2": "lowercase"}


def repository(said):
    """Of a tag: its last part may be the name of a file."""
    return "/".join(said["hf_hub"].split("/")[:2])


def pair_of(row):
    """Config of open_clip of a row, in the spelling whose GELU is that of the row, and the tag of its weights."""
    config, tag = row["open_clip"], row["weights"] and row["weights"]["tag"]
    quick = f"{config}{QUICK}"
    of_quick = quick in WHEEL and row["text_encoder"].get("activation") == "quick_gelu"
    return (quick if of_quick else config), tag


def laid_out(cache, tmp_path, repo, config):
    """A repository in the hub's cache, with a file of weights that holds nothing."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "open_clip_model.safetensors").write_bytes(b"")
    put(cache, repo, folder)


def test_a_config_with_a_tag_is_one_row():
    assert [name for name, count in Counter(map(pair_of, ROWS.values())).items() if count > 1] == []


@pytest.mark.parametrize("config", WHEEL)
def test_every_config_of_the_wheel_is_a_name(config):
    if config != "coca_base":  # which is a preset of kzoo, of coca_ViT-B-32
        row = read_row(config)
        assert row["open_clip"] == config.removesuffix(QUICK)
        assert row["weights"] or not WHEEL[config]["tags"]
        if config.endswith(QUICK):
            assert row["text_encoder"]["activation"] == "quick_gelu"


@pytest.mark.parametrize("config, tag, said", [pytest.param(*each, id="/".join(each[:2])) for each in pairs()])
def test_every_tag_of_the_wheel_has_a_row(config, tag, said):
    row = read_row(f"{config}/{tag}")
    assert row["weights"] and (row["weights"]["repo"], row["weights"]["tag"]) == (repository(said), tag)
    assert config.removesuffix(QUICK) == row["open_clip"] and preset_of(config) in ROWS


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_the_wheel_says(name, tmp_path):
    row = ROWS[name]
    config, tag = pair_of(row)
    if tag:
        assert repository(WHEEL[config]["tags"][tag]) == row["weights"]["repo"]
    own = Checkpoint(tmp_path, name, open_clip.FORMAT, config_of(config, tag)).row()
    chosen = {"activation"} & set((row["weights"] or {}).get("overrides", {}))
    for part in {*PARTS, *parts_of(row)}:
        assert (part in own) == (part in row)
        if part in row:
            of_wheel, of_row = ({name: plain(each) for name, each in complete(of[part]).items()} for of in (own, row))
            assert of_wheel.keys() == of_row.keys()
            compared = of_row.keys() - chosen - unread(row[part])
            assert {key: of_wheel[key] for key in compared} == {key: of_row[key] for key in compared}
    for part in ("images", "tokenizer"):
        shared = own[part].keys() & row[part].keys() - ({"clean"} if row["family"] in CLEANED else set())
        assert {key: own[part][key] for key in shared} == {key: row[part][key] for key in shared}
    assert row["images"].keys() >= {"resize", "interpolation"}
    assert row["tokenizer"]["clean"] == CLEANED.get(row["family"], own["tokenizer"]["clean"])
    assert own["loss"] == row["loss"] and own.get("model") == row.get("model")
    assert ("bias" in own["similarity"]) == ("bias" in row["similarity"])
    assert own["similarity"].get("max_scale", 100.0) == row["similarity"]["max_scale"]


@pytest.mark.parametrize("name", RELEASED)
def test_a_row_opens_from_its_repository(name, offline, tmp_path):
    repo = ROWS[name]["weights"]["repo"]
    of_repo = [(config, tag) for config, tag, said in pairs() if repository(said) == repo]
    # of several that share a repository the one that it is called after
    config, tag = next((pair for pair in of_repo if repo.endswith(pair[0])), pair_of(ROWS[name]))
    laid_out(offline, tmp_path, repo, config_of(config, tag))
    with pytest.raises(ValueError, match="open_clip_model.safetensors cannot be read as safetensors"):
        kzoo.from_preset(name)  # which came as far as the weights


LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
HUGE = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120}
SO400M = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
MULTILINGUAL, CHINESE, OF_BERT = {"vocab_size": 256000}, {"vocab_size": 21128}, {"num_attention_heads": 12}
OF_TRANSFORMERS = {  # preset: class of its config, what its repository says of texts, pictures, the whole
    "align_base": (
        hf.AlignConfig,
        {},
        {"image_size": 289, "hidden_dim": 640, "depthwise_padding": []},
        {"projection_dim": 640},
    ),
    "altclip": (hf.AltCLIPConfig, {"project_dim": 768}, LARGE | {"patch_size": 14}, {"projection_dim": 768}),
    "altclip_m9": (hf.AltCLIPConfig, {"project_dim": 768}, LARGE | {"patch_size": 14}, {"projection_dim": 768}),
    "altclip_m18": (hf.AltCLIPConfig, {"project_dim": 1024}, HUGE | {"patch_size": 14}, {"projection_dim": 1024}),
    "blip_itm_base": (hf.BlipConfig, OF_BERT, {"image_size": 384}, {"image_text_hidden_size": 256}),
    "blip_itm_large": (hf.BlipConfig, OF_BERT, LARGE | {"image_size": 384}, {"image_text_hidden_size": 256}),
    "chinese_clip_base_patch16": (hf.ChineseCLIPConfig, CHINESE, {"patch_size": 16}, {"projection_dim": 512}),
    "chinese_clip_large_patch14": (
        hf.ChineseCLIPConfig,
        CHINESE,
        LARGE | {"patch_size": 14},
        {"projection_dim": 768},
    ),
    "chinese_clip_large_patch14_336": (
        hf.ChineseCLIPConfig,
        CHINESE,
        LARGE | {"patch_size": 14, "image_size": 336},
        {"projection_dim": 768},
    ),
    "chinese_clip_huge_patch14": (
        hf.ChineseCLIPConfig,
        CHINESE | LARGE,
        HUGE | {"patch_size": 14},
        {"projection_dim": 1024},
    ),
    "siglip2_base_patch16_naflex": (hf.Siglip2Config, MULTILINGUAL, {}, {}),
    "siglip2_so400m_patch16_naflex": (
        hf.Siglip2Config,
        MULTILINGUAL | SO400M | {"projection_size": 1152},
        SO400M,
        {},
    ),
}
NAFLEX = {
    "image_size": 384,
    "image_seq_len": 576,
    "timm_model_pretrained": False,
    "timm_pool": "map",
    "timm_proj": "none",
}
GEMMA = {
    "context_length": 64,
    "vocab_size": 256000,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
OF_OPEN_CLIP = {  # presets of its later line and of LAION's fork
    "mammut_large_datacomp": {
        "embed_dim": 768,
        "vision_cfg": {
            "image_size": 224,
            "layers": 24,
            "width": 1024,
            "patch_size": 14,
            "output_tokens": True,
            "pool_type": "avg_all",
            "final_ln_after_pool": True,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 768,
            "heads": 12,
            "layers": 12,
            "output_tokens": True,
            "cross_attn_ratio": 2,
            "does_full_decoding": True,
        },
        "custom_text": True,
    },
    "siglip2_base_patch16_naflex_576": {
        "embed_dim": 768,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": NAFLEX | {"timm_model_name": "naflexvit_base_patch16_siglip"},
        "text_cfg": GEMMA | {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP2-256", "width": 768, "heads": 12, "layers": 12},
    },
    "siglip2_so400m_patch16_naflex_576": {
        "embed_dim": 1152,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": NAFLEX | {"timm_model_name": "naflexvit_so400m_patch16_siglip"},
        "text_cfg": GEMMA
        | {"hf_tokenizer_name": "timm/ViT-SO400M-16-SigLIP2-256", "width": 1152, "heads": 16, "layers": 27}
        | {"mlp_ratio": 3.7362},
    },
}


def other_config(name):
    """File and content of the config of a repository that is not of the wheel."""
    if name in OF_OPEN_CLIP:
        return "open_clip_config.json", {"model_cfg": OF_OPEN_CLIP[name], "preprocess_cfg": {}}
    kind, text, vision, whole = OF_TRANSFORMERS[name]
    config = json.loads(kind(text_config=text, vision_config=vision, **whole).to_json_string())
    model = "BlipForImageTextRetrieval" if kind is hf.BlipConfig else kind.__name__.replace("Config", "Model")
    return "config.json", config | {"architectures": [model]}


def test_every_row_with_weights_is_opened_here():
    assert {*RELEASED, *OF_TRANSFORMERS, *OF_OPEN_CLIP} == {name for name, row in ALL.items() if row["weights"]}


@pytest.mark.parametrize("name", [*OF_TRANSFORMERS, *OF_OPEN_CLIP])
def test_a_row_of_another_repository_opens(name, offline, tmp_path):
    file, config = other_config(name)
    (tmp_path / file).write_text(json.dumps(config))
    weights = "open_clip_model" if name in OF_OPEN_CLIP else "model"
    (tmp_path / f"{weights}.safetensors").write_bytes(b"")
    put(offline, ALL[name]["weights"]["repo"], tmp_path)
    with pytest.raises(ValueError, match=f"{weights}.safetensors cannot be read as safetensors"):
        kzoo.from_preset(name)


def test_a_repository_opens_by_its_name_alone(offline):
    put(offline, "somebody/something", TESTS / "fixtures" / "oc_clip_vit_tiny")
    assert kzoo.from_preset("somebody/something").source.startswith("hf://somebody/something@")


@pytest.mark.parametrize("said", [{"interpolation": "bilinear"}, {"resize_mode": "squash"}, {}, None])
def test_the_repository_says_how_its_pictures_are_read(said, offline, tmp_path, caplog):
    config = config_of(*pair_of(ROWS["clip_base"])) | ({} if said is None else {"preprocess_cfg": said})
    checkpoint = Checkpoint(tmp_path, "x", open_clip.FORMAT, config)
    row = checked(checkpoint, read_row("clip_base"))
    assert row["images"] == ROWS["clip_base"]["images"] | {
        {"interpolation": "interpolation", "resize_mode": "resize"}[name]: value for name, value in (said or {}).items()
    }
    assert ("its repository says" in caplog.text) == bool(said)


@pytest.mark.parametrize(
    "part, said, sentence",
    [
        ("text_cfg", {"context_length": 78}, "text_encoder context_length=77, but the checkpoint in .* says 78"),
        # what the row leaves to the tower
        ("text_cfg", {"no_causal_mask": True}, "text_encoder causal=True, but the checkpoint in .* says False"),
        ("vision_cfg", {"no_ln_pre": True}, "image_encoder pre_norm=True, but the checkpoint in .* says False"),
    ],
)
def test_what_changes_numbers_is_compared(part, said, sentence, offline, tmp_path):
    config = config_of(*pair_of(ROWS["clip_base"]))
    config["model_cfg"] = config["model_cfg"] | {part: config["model_cfg"][part] | said}
    laid_out(offline, tmp_path, ROWS["clip_base"]["weights"]["repo"], config)
    with pytest.raises(ValueError, match=f"clip_base has {sentence}"):
        kzoo.from_preset("clip_base")
