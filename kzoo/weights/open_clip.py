"""Models as open_clip stores them: `open_clip_config.json`, `open_clip_model.safetensors`.

Read from open_clip 3.3.0 (CLIP, CustomTextCLIP, CoCa) and 4.2. The config has two parts, `model_cfg` and
`preprocess_cfg`.
"""

from kzoo.weights import (
    harmless,
    hf_texts,
    open_clip_mammut,
    open_clip_modern,
    open_clip_text,
    open_clip_tokenizer,
    open_clip_vision,
    trunks,
)
from kzoo.weights.fields import Fields
from kzoo.weights.format import Format
from kzoo.weights.mapping import SCALAR, SINGLE, Entry
from kzoo.weights.trunks import eva_own

CONFIG_FILE = "open_clip_config.json"
TIMM_CONFIG = "config.json"  # of the image tower alone, as timm writes it, beside the whole
OWN_CONFIGS = (hf_texts.OWN_CONFIG, TIMM_CONFIG)
DROP = (
    "*.num_batches_tracked",
    "text.transformer.pooler.*",
    "*.position_ids",
    "*.token_type_ids",
    "attn_mask",
    "*.attn_mask",
    "*.relative_position_index",
    "*.rope.freqs_*",
)

TEXTS = ("text_transformer", open_clip_modern.KIND, *hf_texts.KINDS)
HOLDS = frozenset(
    {
        *((image, text) for image in {"vit", "resnet", *trunks.KINDS} for text in TEXTS),
        *(("vit", text, "multimodal_decoder") for text in TEXTS),
        ("vit", "text_transformer", open_clip_mammut.KIND),
    }
)
MARKS = {  # fields that no CLIP of open_clip has
    ("model_cfg",): {
        "audio_cfg": "CLAP (sound and text)",
        "genlap_cfg": "GenLAP (texts written from sounds)",
        "genlip_cfg": "GenLIP (texts written from pictures)",
        "image_cfg": "MobileCLIP's own code",
        "image_resolution": "open_clip 1, which described both towers in one flat list (later versions have "
        "vision_cfg and text_cfg)",
        "tower_a_cfg": "two towers of one modality, such as texts and texts",
    },
}
LAYOUT = ("custom_text", "nonscalar_logit_scale")  # spellings: the same model can be stored either way
NAMES = ("hf_model_name", "hf_tokenizer_name")  # of a text tower, of which two may have the same sizes


def _model(config):
    return Fields(config, CONFIG_FILE).part("model_cfg")


def _is_custom(model):
    """Whether the text tower lies under `text.`, and not at the root."""
    if open_clip_mammut.part_of(model) is not None:
        return True
    text = model.part("text_cfg")
    own = "hf_model_name" in text or text.get("variable_text", False) or open_clip_modern.is_modern(text)
    return model.get("custom_text", False) or "multimodal_cfg" in model or own


def complete(config, own) -> dict:
    """A config with what others add to its parts: `hf_config` of a text tower, `timm_model_args` of an image tower.

    Args:
        config: content of `open_clip_config.json`.
        own: contents of `OWN_CONFIGS` by name.

    Raises:
        ValueError: the config of timm is that of another tower.
    """
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return config
    hf, timm = (own[name] for name in OWN_CONFIGS)
    if hf and isinstance(model.get("text_cfg"), dict):
        model = model | {"text_cfg": model["text_cfg"] | {"hf_config": hf}}
    vision = model.get("vision_cfg")
    if isinstance(vision, dict) and eva_own.NAME in vision:
        return config | {"model_cfg": eva_own.in_words_of_timm(model, CONFIG_FILE)}
    # a name alone may be another one of the same tower: that of EVA-01's weights is eva_giant_patch14_clip_224
    if "architecture" in timm and timm.get("model_args") and isinstance(vision, dict) and "timm_model_name" in vision:
        if timm["architecture"] != vision["timm_model_name"]:
            raise ValueError(
                f"{TIMM_CONFIG} is of {timm['architecture']!r}, but {CONFIG_FILE} names {vision['timm_model_name']!r}; "
                "they belong to two models."
            )
        model = model | {"vision_cfg": vision | {trunks.ARGUMENTS: timm["model_args"]}}
    return config | {"model_cfg": model}


def renames(config) -> list:
    """Older files of models with a tower of their own kind have it at the root still; open_clip moves it."""
    root, model = (
        r"^(token_embedding|positional_embedding|transformer|ln_final|text_projection|cls_emb)\b",
        _model(config),
    )
    return [*([(root, r"text.\1")] if _is_custom(model) else []), *eva_own.renames(model.part("vision_cfg").values)]


def entries(config, names) -> list:
    """The map of one checkpoint."""
    model = _model(config)
    scalar = SINGLE if model.get("nonscalar_logit_scale", False) else SCALAR
    if open_clip_mammut.part_of(model) is not None:
        texts = open_clip_mammut.entries(model, names)
    else:
        texts = open_clip_text.text_entries(model, "text." if _is_custom(model) else "")
        texts += open_clip_text.DECODER if "multimodal_cfg" in model else []
    return [
        *open_clip_vision.vision_entries(model, names),
        *texts,
        Entry("logit_scale", "similarity.log_scale", scalar),
        Entry("logit_bias", "similarity.bias", scalar),
    ]


def read_row(config, preprocessing=None) -> dict:
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: `Fields` of `open_clip_config.json`.
        preprocessing: not used, the config holds it.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    model, steps = config.part("model_cfg"), config.part("preprocess_cfg", {})
    mammut = open_clip_mammut.part_of(model)
    text = model.part("text_cfg") if mammut is None else mammut
    model.ignore("quick_gelu")  # read where a tower of open_clip's own has an activation to choose
    statistics = {name: steps.optional(name) for name in ("mean", "std") if steps.optional(name)}
    decoded = mammut is not None or "multimodal_cfg" in model
    row = {
        "image_encoder": open_clip_vision.read_vision(model, statistics, decoded),
        "similarity": _similarity(model),
        "loss": [{"loss": "InfoNCE"}],
        "tokenizer": open_clip_tokenizer.read_tokenizer(text),
        "layout": {name: model.get(name, False) for name in LAYOUT},
    }
    row["images"] = _images(steps, row["image_encoder"])
    row["layout"] |= {name: text.get(name) for name in NAMES if name in text and "hf_model_name" in text}
    if mammut is None:
        row["text_encoder"] = open_clip_text.read_text(model)
    else:
        row["text_encoder"], row["text_decoder"] = open_clip_mammut.read(model, row["image_encoder"])
    if decoded:
        row["model"] = "captioner"
        row["loss"].append({"loss": "Captioning", "weight": 2.0})
    if decoded and mammut is None:
        row["text_decoder"] = open_clip_text.read_decoder(model, row["image_encoder"], row["text_encoder"])
    elif row["similarity"]:
        row["loss"] = [{"loss": "SigmoidContrastive"}]
    return row


def said_of_images(config) -> list:
    """Names of the image steps that a config says something of."""
    steps = config.get("preprocess_cfg") or {}
    fields = {"resize": "resize_mode", "interpolation": "interpolation"}
    return [ours for ours, theirs in fields.items() if steps.get(theirs) is not None]


def _images(steps, image):
    """How pictures are read. Patches keep the shape of a picture, whatever a `resize_mode` does to others."""
    mode, interpolation = steps.optional("resize_mode"), steps.optional("interpolation") or "bicubic"
    if image["kind"] == "naflex_vit":
        return {"kind": "patches", "interpolation": interpolation}
    return {"resize": mode or "shortest", "interpolation": interpolation}


def _similarity(model):
    """Models with a bias are trained by the sigmoid loss, whose scale nothing bounds."""
    if model.optional("init_logit_bias") is None:
        return {}
    return {"bias": model.get("init_logit_bias"), "max_scale": 1000.0}


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content.

    Raises:
        ValueError: towers that open_clip has not.
    """
    image, text, similarity = row["image_encoder"], row["text_encoder"], row["similarity"]
    if row["model"] == "matching_encoder":
        raise ValueError("open_clip has no image-text matching head")
    decoder = row.get("text_decoder")
    mammut = bool(decoder) and decoder["kind"] == open_clip_mammut.KIND
    parts, files = (open_clip_mammut.write(text, decoder), {}) if mammut else open_clip_text.write_text(row)
    if not mammut:
        parts = {"text_cfg": parts}
    words = next(iter(parts.values()))
    words |= open_clip_tokenizer.write_tokenizer(row)
    vision, arguments = open_clip_vision.write_vision(image)
    if arguments:
        files |= {TIMM_CONFIG: {"architecture": vision["timm_model_name"], "model_args": arguments}}
    layout = row.get("layout", {})
    special = {"eos_id", "embed_cls", "hf_model_name"} & set(words)  # only models with a tower of their own know these
    custom_text = bool(words.get("proj_bias")) or "timm_model_name" in vision
    towers = (text,) if "timm_model_name" in vision else (image, text)  # a tower of timm has the GELU of its name
    activations = {tower["activation"] for tower in towers if "activation" in tower}
    model = {
        "embed_dim": image["embed_dim"] or image["width"],
        "quick_gelu": "quick_gelu" in activations,
        "nonscalar_logit_scale": layout.get("nonscalar_logit_scale", False),
        "vision_cfg": vision,
        **parts,
    }
    if mammut:
        vision["output_tokens"] = True
    elif decoder:
        model["multimodal_cfg"] = open_clip_text.write_decoder(decoder, text)
        words |= {"output_tokens": True, "vocab_size": decoder["vocab_size"]}
    if "text_cfg" in model:
        model["custom_text"] = mammut or bool(special) or layout.get("custom_text", custom_text)
    if similarity["bias"] is not None:
        model["init_logit_bias"] = similarity["bias"]
    steps = {
        "mean": list(image["mean"]),
        "std": list(image["std"]),
        "interpolation": row["images"]["interpolation"],
        "resize_mode": row["images"].get("resize", "squash"),  # of patches it says nothing
    }
    return {CONFIG_FILE: {"model_cfg": model, "preprocess_cfg": steps}, **files}


FORMAT = Format(
    "open_clip",
    CONFIG_FILE,
    "model_cfg",
    None,
    read_row,
    entries,
    DROP,
    HOLDS,
    write_config,
    stem="open_clip_model",
    renames=renames,
    own_configs=OWN_CONFIGS,
    complete=complete,
    harmless=harmless.OPEN_CLIP,
    marks=MARKS,
)
