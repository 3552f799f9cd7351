"""Foreign configs are read whole: every field is understood, known to change nothing, or refused by name and value."""

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest
import transformers as hf
from shared_case import TESTS

from kzoo.presets.foreign import recognise
from kzoo.weights.formats import FORMATS

pytestmark = pytest.mark.once
FIXTURES = TESTS / "fixtures"
CONFIGS = Path(distribution("open_clip_torch").locate_file("open_clip/model_configs"))
BY_TYPE = {format.value: format for format in FORMATS}
OPEN_CLIP = next(format for format in FORMATS if format.name == "open_clip")
CLASSES = {  # of transformers: the config, the model
    "clip": ("CLIPConfig", "CLIPModel"),
    "metaclip_2": ("MetaClip2Config", "MetaClip2Model"),
    "siglip": ("SiglipConfig", "SiglipModel"),
    "siglip2": ("Siglip2Config", "Siglip2Model"),
    "altclip": ("AltCLIPConfig", "AltCLIPModel"),
    "chinese_clip": ("ChineseCLIPConfig", "ChineseCLIPModel"),
    "align": ("AlignConfig", "AlignModel"),
    "blip": ("BlipConfig", "BlipForImageTextRetrieval"),
}
WRITTEN_BY_4 = {  # into every part of a config by transformers 4
    "_name_or_path": "",
    "_commit_hash": None,
    "_attn_implementation_autoset": True,
    "add_cross_attention": False,
    "architectures": None,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0,
    "classifier_dropout": None,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "dropout": 0.0,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "gradient_checkpointing": False,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "suppress_tokens": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torch_dtype": "float16",
    "torchscript": False,
    "transformers_version": "4.26.0.dev0",
    "typical_p": 1.0,
    "use_bfloat16": False,
}
OF_A_TEXT = {"position_embedding_type": "absolute", "use_cache": True}


def config_of(model_type):
    config, model = CLASSES[model_type]
    return json.loads(getattr(hf, config)().to_json_string()) | {"architectures": [model]}


def row_of(config):
    return BY_TYPE[config["model_type"]].row(BY_TYPE[config["model_type"]].completed(config, lambda name: {}))


@pytest.mark.parametrize("model_type", CLASSES)
def test_the_configs_of_the_librarys_own_classes(model_type):
    plain = config_of(model_type)
    whole = getattr(hf, CLASSES[model_type][0])().to_dict() | {"architectures": plain["architectures"]}
    row = row_of(plain)
    assert row_of(whole) == row
    old = WRITTEN_BY_4 | {"is_decoder": model_type == "blip"}
    parts = {name: {**(old | OF_A_TEXT), **plain[name]} for name in ("text_config", "vision_config")}
    parts["vision_config"].pop("is_decoder")
    config = {**WRITTEN_BY_4, **plain, **parts, "text_config_dict": None, "vision_config_dict": None, "use_cache": True}
    assert row_of(config) == row
    assert row_of({**config, "architectures": None} if model_type != "blip" else config) == row


@pytest.mark.parametrize("model_type", ["clip", "metaclip_2", "altclip", "chinese_clip"])
def test_a_dict_above_a_part_is_read_as_the_library_reads_it(model_type):
    config = config_of(model_type)
    config["text_config"] |= {"num_hidden_layers": 7, "hidden_size": 256}
    config["vision_config"] |= {"patch_size": 8}
    config |= {"text_config_dict": {"num_hidden_layers": 5}, "vision_config_dict": {"hidden_size": 960}}
    theirs = getattr(hf, CLASSES[model_type][0]).from_dict(config)
    row, expected = row_of(config), row_of(theirs.to_dict() | {"architectures": config["architectures"]})
    assert row == expected
    assert row["text_encoder"]["depth"] == 5
    assert row["image_encoder"]["patch_size"] == theirs.vision_config.patch_size


def fixtures():
    return sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and recognised(path))


def recognised(folder):
    return any((folder / name).exists() for name in ("config.json", "open_clip_config.json"))


def parts_of(config, path=()):
    yield path
    for name, value in config.items():
        if isinstance(value, dict) and name not in ("id2label", "label2id"):
            yield from parts_of(value, (*path, name))


@pytest.mark.parametrize("name", fixtures())
def test_no_part_of_a_config_has_a_field_that_nobody_knows(name):
    checkpoint = recognise(FIXTURES / name)
    row = checkpoint.row()
    paths = list(parts_of(checkpoint.config))
    assert len(paths) > 2
    for path in paths:
        config = json.loads(json.dumps(checkpoint.config))
        part = config
        for step in path:
            part = part[step]
        part["no_such_field"] = 1.5
        with pytest.raises(ValueError, match="no_such_field"):
            checkpoint.format.row(config)
        part["no_such_field"] = None  # which says nothing
        if not {"timm_model_args", "timm_model_kwargs"} & {*path}:  # whose trunks take what they name
            assert checkpoint.format.row(config)["image_encoder"] == row["image_encoder"]


def open_clip_config(**changes):
    """The config of ViT-B-32 with fields of its parts changed; a part that is None lacks."""
    model = json.loads((CONFIGS / "ViT-B-32.json").read_text())
    steps = changes.pop("preprocess_cfg", {})
    for part, change in changes.items():
        if change is None:
            del model[part]
        elif part == "model_cfg":
            model |= change
        else:
            model[part] = model.get(part, {}) | change
    return {"model_cfg": model, "preprocess_cfg": steps}


HARMLESS = [
    {"vision_cfg": {"patch_dropout": 0.5, "output_tokens": True, "timm_model_name": None, "timm_pool": "avg"}},
    {"vision_cfg": {"block_type": None, "qk_norm": False, "scale_attn_inner": False, "act_kwargs": None}},
    {"vision_cfg": {"global_average_pool": False, "attentional_pool": False, "attn_pooler_queries": 64}},
    {"text_cfg": {"hf_tokenizer_name": None, "hf_model_pretrained": True, "hf_pooler_type": "mean_pooler"}},
    {"text_cfg": {"eos_id": 9, "output_tokens": False, "final_ln_after_pool": True, "norm_kwargs": {}}},
    {"model_cfg": {"init_logit_scale": 2.0, "output_dict": True, "init_logit_bias": None, "cast_dtype": None}},
    {"preprocess_cfg": {"size": 224, "mode": "RGB", "fill_color": 0, "interpolation": "bicubic"}},
    {"preprocess_cfg": {"size": [224, 224], "resize_mode": None, "mean": None, "interpolation": None}},
]
REFUSED = [
    ({"vision_cfg": None}, "model_cfg has no 'vision_cfg', which the architecture needs"),
    ({"text_cfg": None}, "model_cfg has no 'text_cfg', which the architecture needs"),
    ({"vision_cfg": None, "model_cfg": {"audio_cfg": {"audio_length": 1024}}}, "audio_cfg=.*it is of CLAP"),
    ({"vision_cfg": None, "model_cfg": {"image_resolution": 224}}, "image_resolution=224, so it is of open_clip 1"),
    ({"vision_cfg": None, "model_cfg": {"tower_a_cfg": {}}}, "tower_a_cfg={}, so it is of two towers of one modality"),
    ({"vision_cfg": None, "text_cfg": None, "model_cfg": {"genlip_cfg": {"width": 768}}}, "genlip_cfg=.*of GenLIP"),
    ({"vision_cfg": None, "model_cfg": {"image_cfg": {"model_name": "mci1"}}}, "image_cfg=.*MobileCLIP's own code"),
    (
        {"vision_cfg": {"eva_model_name": "eva-clip-b-16", "no_such": 1}},
        "vision_cfg says no_such=1; this version knows",
    ),
    ({"text_cfg": {"fusedLN": True, "xattn": True}}, "text_cfg says fusedLN=True; .*xattn=True"),
    ({"text_cfg": {"norm_type": "rmsnorm", "mlp_type": "swiglu"}}, "text_cfg says norm_type='rmsnorm'"),
    ({"text_cfg": {"pooler_type": "mean_pooler"}}, "text_cfg says pooler_type='mean_pooler'"),
    ({"text_cfg": {"proj": "mlp"}}, "text_cfg says proj='mlp'"),
    ({"text_cfg": {"proj_type": "mlp"}}, "proj_type='mlp'; this version knows"),
    ({"text_cfg": {"qk_norm": True}}, "text_cfg says qk_norm=True"),
    ({"text_cfg": {"act_kwargs": {"inplace": True}}}, "text_cfg, act_kwargs says inplace=True"),
    ({"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "syntax"}}}, "tokenizer_kwargs says reduction_mask='syntax'"),
    ({"text_cfg": {"tokenizer_kwargs": {"clean": "none"}}}, "clean='none'; this version knows 'canonicalize'"),
    ({"text_cfg": {"hf_tokenizer_name": "bert-base-uncased", "tokenizer_mode": "clips"}}, "tokenizer_mode='clips'"),
    ({"vision_cfg": {"global_average_pool": True, "pool_type": "avg"}}, "vision_cfg says pool_type='avg', which"),
    ({"vision_cfg": {"global_average_pool": True, "attentional_pool": True}}, "says attentional_pool=True, which"),
    (
        {"vision_cfg": {"global_average_pool": True}, "model_cfg": {"multimodal_cfg": {"width": 512}}},
        "vision_cfg says global_average_pool=True, which",
    ),
    (
        {"vision_cfg": {"timm_model_name": "vit_base_patch16_224", "global_average_pool": True}},
        "vision_cfg says global_average_pool=True, which",
    ),
    ({"vision_cfg": {"input_patchnorm": True}}, "input_patchnorm=True"),
    ({"vision_cfg": {"final_ln_after_pool": True}}, "final_ln_after_pool=True"),
    ({"vision_cfg": {"attentional_pool": True, "pool_type": "avg"}}, "pool_type='avg'"),
    ({"vision_cfg": {"attentional_pool": True, "n_queries": 8, "attn_pooler_queries": 9}}, "which are one field"),
    ({"vision_cfg": {"block_type": "custom"}}, "block_type='custom'"),
    ({"vision_cfg": {"no_such": 1}, "text_cfg": {"a": 1, "b": 2, "c": 3}}, r"no_such=1; .*a=1; .*b=2 \(and 1 more"),
    ({"preprocess_cfg": {"mode": "L"}}, "preprocess_cfg says mode='L'"),
    ({"preprocess_cfg": {"crop_pct": 0.9}}, "preprocess_cfg says crop_pct=0.9"),
]


@pytest.mark.parametrize("change", HARMLESS, ids=str)
def test_what_changes_nothing_in_open_clip(change):
    assert OPEN_CLIP.row(open_clip_config(**change)) == OPEN_CLIP.row(open_clip_config())


@pytest.mark.parametrize("change, sentence", REFUSED, ids=str)
def test_what_is_refused_in_open_clip(change, sentence):
    with pytest.raises(ValueError, match=f"^open_clip_config.json.*{sentence}"):
        OPEN_CLIP.row(OPEN_CLIP.completed(open_clip_config(**change), lambda name: {}))


def test_spellings_of_older_versions():
    old = OPEN_CLIP.row(open_clip_config(vision_cfg={"global_average_pool": True}))
    new = OPEN_CLIP.row(open_clip_config(vision_cfg={"pool_type": "avg_all", "final_ln_after_pool": True}))
    assert old == new and old["image_encoder"]["pool"] == "average_all"
    config = json.loads((CONFIGS / "roberta-ViT-B-32.json").read_text())
    assert config["text_cfg"].pop("hf_pooler_type") == "mean_pooler"
    old = config["text_cfg"] | {"proj": "mlp", "pooler_type": "mean_pooler"}
    assert OPEN_CLIP.row({"model_cfg": config | {"text_cfg": old}}) == OPEN_CLIP.row({"model_cfg": config})
    coca = json.loads((CONFIGS / "coca_ViT-B-32.json").read_text())
    queries = {"vision_cfg": coca["vision_cfg"] | {"n_queries": 64}}
    assert OPEN_CLIP.row({"model_cfg": coca | queries})["image_encoder"]["num_queries"] == 64


def test_what_a_tower_of_timm_is_not_given():
    config = json.loads((CONFIGS / "ViT-B-16-SigLIP.json").read_text())
    unread = {"layers": 9, "width": 99, "patch_size": 3, "head_width": 7, "mlp_ratio": 9.0, "no_ln_pre": True}
    changed = config | {"vision_cfg": config["vision_cfg"] | unread}
    assert OPEN_CLIP.row({"model_cfg": changed}) == OPEN_CLIP.row({"model_cfg": config})


REFUSED_OF_TRANSFORMERS = [
    (
        "clip",
        None,
        {"architectures": ["StableDiffusionSafetyChecker"]},
        "StableDiffusionSafetyChecker.* reads CLIPModel",
    ),
    ("clip", None, {"architectures": ["EvaCLIPModel"]}, "EvaCLIPModel"),
    ("clip", None, {"auto_map": {"AutoModel": "modeling_evaclip.EvaCLIPModel"}}, "code of its own, EvaCLIPModel"),
    ("clip", None, {"quantization_config": {"bits": 4}}, "quantization_config={'bits': 4}"),
    ("clip", "vision_config", {"num_channels": 4}, "num_channels=4"),
    ("clip", "vision_config", {"post_layernorm": True}, "vision_config says post_layernorm=True"),
    ("clip", "vision_config", {"qkv_bias": False}, "qkv_bias=False"),
    ("clip", "text_config", {"pruned_heads": {"0": [1]}}, "pruned_heads="),
    (
        "clip",
        "text_config",
        {"eos_token_id": 2, "vocab_size": 49410},
        "text_config says eos_token_id=2 and vocab_size=494",
    ),
    ("clip", "text_config", {"add_cross_attention": True}, "add_cross_attention=True"),
    ("siglip", "vision_config", {"vision_use_head": False}, "vision_use_head=False"),
    ("siglip", None, {"architectures": ["SiglipForImageClassification"]}, "SiglipForImageClassification"),
    ("altclip", "text_config", {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
    ("chinese_clip", "text_config", {"pooler_type": "mean"}, "pooler_type='mean'"),
    ("align", "vision_config", {"pooling_type": "max"}, "pooling_type='max'"),
    ("align", "vision_config", {"hidden_dim": 8}, "hidden_dim=8.*map of 600 pixels has a side of 19"),
    ("blip", "text_config", {"is_decoder": False}, "is_decoder=False"),
    ("blip", "text_config", {"tie_word_embeddings": False}, "tie_word_embeddings=False"),
]


@pytest.mark.parametrize("model_type, part, change, sentence", REFUSED_OF_TRANSFORMERS, ids=str)
def test_what_is_refused_in_transformers(model_type, part, change, sentence):
    config = config_of(model_type)
    if part is None:
        config |= change
    else:
        config[part] |= change
    with pytest.raises(ValueError, match=f"config.json.*{sentence}"):
        row_of(config)


@pytest.mark.parametrize("vocab_size, eos, end", [(120, 2, 119), (49408, 2, 49407), (49536, 49407, 49407)])
def test_the_end_of_text_of_clip(vocab_size, eos, end):
    config = config_of("clip")
    config["text_config"] |= {"eos_token_id": eos, "vocab_size": vocab_size}
    assert row_of(config)["text_encoder"]["eot_id"] == end
    metaclip = config_of("metaclip_2")
    metaclip["text_config"] |= {"eos_token_id": 2, "vocab_size": vocab_size}
    assert row_of(metaclip)["text_encoder"]["eot_id"] == 2


def test_code_of_its_own_that_is_the_librarys_class():
    config = config_of("clip") | {"auto_map": {"AutoModel": "modeling_own.CLIPModel", "AutoProcessor": "own.Any"}}
    assert row_of(config) == row_of(config_of("clip"))


def test_the_cross_attention_of_blip_follows_its_image_tower():
    config = config_of("blip")
    config["vision_config"] |= {"hidden_size": 1024, "num_channels": 1}
    config["text_config"] |= {"encoder_hidden_size": 512}
    theirs = hf.BlipConfig.from_dict(config)
    assert row_of(config)["text_encoder"]["cross_width"] == theirs.text_config.encoder_hidden_size == 1024


def test_it_is_refused_where_a_folder_is_opened(tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(FIXTURES / "hf_clip_tiny", folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["rotary"] = True
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match="config.json, vision_config says rotary=True, which this version cannot build"
    ):
        recognise(folder).row()
