"""CLIP as open_clip stores it: `open_clip_config.json`, `open_clip_model.safetensors`.

Read from open_clip 3.3.0 (CLIP, CustomTextCLIP). Its config has two parts, `model_cfg` and `preprocess_cfg`.
"""

from kzoo.weights.fields import Fields
from kzoo.weights.mapping import CONVOLUTION, COPY, ROW, SCALAR, SPLIT, SPLIT_TRANSPOSE, Entry, dense, norm

STEM = "open_clip_model"
DROP = ()

_IMAGE_POOLS = {"tok": "class_token", "avg": "average"}
_POOLS = {"argmax": "end_of_text", "eos": "end_of_text", "last": "last"}


def _blocks(tensor, tower):
    block, layer = f"{tensor}transformer.resblocks.{{n}}", f"{tower}.blocks.{{n}}"
    query_key_value = [f"{layer}.attention.{name}" for name in ("query", "key", "value")]
    return [
        *norm(f"{block}.ln_1", f"{layer}.norm_1"),
        *norm(f"{block}.ln_2", f"{layer}.norm_2"),
        Entry(f"{block}.attn.in_proj_weight", tuple(f"{each}.kernel" for each in query_key_value), SPLIT_TRANSPOSE),
        Entry(f"{block}.attn.in_proj_bias", tuple(f"{each}.bias" for each in query_key_value), SPLIT),
        *dense(f"{block}.attn.out_proj", f"{layer}.attention.out"),
        *dense(f"{block}.mlp.c_fc", f"{layer}.mlp_up"),
        *dense(f"{block}.mlp.c_proj", f"{layer}.mlp_down"),
        Entry(f"{block}.ls_1.gamma", f"{layer}.scale_1.gain"),
        Entry(f"{block}.ls_2.gamma", f"{layer}.scale_2.gain"),
    ]


def entries(config):
    """The map of one checkpoint: the text tower lies at the root, or under `text.` where it is custom."""
    model = Fields(config, "open_clip_config.json").part("model_cfg")
    text = "text." if model.get("custom_text", False) else ""
    linear = model.part("text_cfg").get("proj_bias", False)
    projection = (
        dense(f"{text}text_projection", "text_encoder.projection")
        if linear
        else [Entry(f"{text}text_projection", "text_encoder.projection.kernel", COPY)]
    )
    return [
        Entry("visual.class_embedding", "image_encoder.embedding.class_embedding", ROW),
        Entry("visual.positional_embedding", "image_encoder.embedding.position_embedding"),
        Entry("visual.conv1.weight", "image_encoder.embedding.kernel", CONVOLUTION),
        *norm("visual.ln_pre", "image_encoder.pre_norm"),
        *_blocks("visual.", "image_encoder"),
        *norm("visual.ln_post", "image_encoder.post_norm"),
        Entry("visual.proj", "image_encoder.projection.kernel"),  # a parameter, used as x @ proj
        Entry(f"{text}token_embedding.weight", "text_encoder.token_embedding"),
        Entry(f"{text}positional_embedding", "text_encoder.position_embedding"),
        *_blocks(text, "text_encoder"),
        *norm(f"{text}ln_final", "text_encoder.final_norm"),
        *projection,
        Entry("logit_scale", "similarity.log_scale", SCALAR),
        Entry("logit_bias", "similarity.bias", SCALAR),
    ]


def read_row(config, preprocessing=None):
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: content of `open_clip_config.json`.
        preprocessing: not used, the config holds it.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    config = Fields(config, "open_clip_config.json")
    model, steps = config.part("model_cfg"), config.part("preprocess_cfg")
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    vision.refuse(timm_model_name=None, attentional_pool=False)
    text.refuse(hf_model_name=None, embed_cls=False)
    if isinstance(vision.get("layers", 12), list):
        raise ValueError(f"{vision.place} describes a ResNet (layers is a list), which this version cannot build.")
    embed_dim = model.get("embed_dim")
    width, vocab_size = vision.get("width", 768), text.get("vocab_size", 49408)
    activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
    return {
        "image_encoder": {
            "kind": "vit",
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
            **_tower(vision, width, width // vision.get("head_width", 64), activation),
            "pool": _image_pool(vision),
            "pre_norm": not vision.get("no_ln_pre", False),
            "embed_dim": embed_dim,
            **{name: steps.get(name) for name in ("mean", "std") if name in steps},
        },
        "text_encoder": {
            "kind": "text_transformer",
            "vocab_size": vocab_size,
            "context_length": text.get("context_length", 77),
            **_tower(text, text.get("width", 512), text.get("heads", 8), activation),
            "causal": not text.get("no_causal_mask", False),
            "embed_dim": embed_dim,
            "pool": text.choice("pool_type", _POOLS, "argmax"),
            # argmax finds the largest id, which is the last of the vocabulary
            "eot_id": text.get("eos_id", 2) if text.get("pool_type", "argmax") == "eos" else vocab_size - 1,
            "projection_bias": text.get("proj_bias", False),
        },
        "similarity": {"bias": model.get("init_logit_bias")} if "init_logit_bias" in model else {},
        "loss": [{"loss": "InfoNCE"}],
        "images": {
            "resize": steps.get("resize_mode", "shortest"),
            "interpolation": steps.get("interpolation", "bicubic"),
        },
        "tokenizer": {"kind": text.get("hf_tokenizer_name", "clip_bpe"), "pad_id": 0, "clean": "openai"},
    }


def _image_pool(vision):
    pool = vision.choice("pool_type", _IMAGE_POOLS, "tok")
    if pool == "average":
        # else the norm comes before the mean, which no released model wants
        vision.refuse(final_ln_after_pool=True)
        vision.get("final_ln_after_pool")
    return pool


def _tower(config, width, num_heads, activation):
    return {
        "width": width,
        "depth": config.get("layers", 12),
        "num_heads": num_heads,
        "mlp_dim": int(width * config.get("mlp_ratio", 4.0)),  # cut, as open_clip does
        "activation": activation,
        "epsilon": 1e-5,
        "layer_scale": config.values.get("ls_init_value"),
    }


def write_config(row):
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    size, largest = list(image["image_size"]), text["vocab_size"] - 1
    vision = {
        "image_size": size[0] if size[0] == size[1] else size,
        "patch_size": image["patch_size"],
        "width": image["width"],
        "layers": image["depth"],
        "head_width": image["width"] // image["num_heads"],
        "mlp_ratio": image["mlp_dim"] / image["width"],
    }
    if not image["pre_norm"]:
        vision["no_ln_pre"] = True
    if image["pool"] == "average":
        vision |= {"pool_type": "avg", "final_ln_after_pool": True}
    words = {
        "context_length": text["context_length"],
        "vocab_size": text["vocab_size"],
        "width": text["width"],
        "heads": text["num_heads"],
        "layers": text["depth"],
        "mlp_ratio": text["mlp_dim"] / text["width"],
        "proj_bias": text["projection_bias"],
        "no_causal_mask": not text["causal"],
    }
    if text["pool"] == "last":
        words["pool_type"] = "last"
    elif text["eot_id"] != largest:
        words |= {"pool_type": "eos", "eos_id": text["eot_id"]}
    for part, tower in ((vision, image), (words, text)):
        if tower["layer_scale"] is not None:
            part["ls_init_value"] = tower["layer_scale"]
    custom = bool(text["projection_bias"]) or "eos_id" in words  # only the custom text tower knows these
    model = {
        "embed_dim": image["embed_dim"],
        "quick_gelu": image["activation"] == "quick_gelu",
        "custom_text": custom,
        "vision_cfg": vision,
        "text_cfg": words,
    }
    if row["similarity"]["bias"] is not None:
        model["init_logit_bias"] = row["similarity"]["bias"]
    steps = {
        "mean": list(image["mean"]),
        "std": list(image["std"]),
        "interpolation": row["images"]["interpolation"],
        "resize_mode": row["images"]["resize"],
    }
    return {"open_clip_config.json": {"model_cfg": model, "preprocess_cfg": steps}}
