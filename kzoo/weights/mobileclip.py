"""MobileCLIP as Apple's own code has it, said in words of open_clip: its config as `config.json`, `model.safetensors`.

Read from ml-mobileclip. Its S0 has a text tower with convolutions, which open_clip has not. The convolutions of its B
begin a pixel before the picture, and those of timm, which open_clip takes, do not.
"""

import math
from dataclasses import replace

from kzoo.weights import open_clip
from kzoo.weights.fields import Fields
from kzoo.weights.mapping import COPY, POINTWISE, VECTOR, Entry, Transform, batch_norm
from kzoo.weights.trunks.trunk import TRUNK

CONFIG_FILE = "config.json"
# its image towers -> timm's name, and what stands in `network` before each stage: nothing, what halves it, positions
_TOWERS = {f"mci{number}": f"fastvit_mci{number}" for number in range(3)}
_VIT, _VIT_SIZE = {"vit_b16": "vit_base_mci_224"}, 224
_NETWORK = ("0.blocks", "1.downsample", "1.blocks", "2.downsample", "2.blocks", "3.downsample", "3.pos_emb", "3.blocks")
_IMAGE = {  # names within the image tower
    "rbr_conv": "conv_kxk",
    "rbr_scale": "conv_scale",
    "rbr_skip": "identity",
    "lkb_origin": "large_conv",
    "lkb_reparam": "reparam_conv",
    "convffn": "mlp",
    r"se\.reduce": "se.fc1",
    r"se\.expand": "se.fc2",
    "pe": "pos_enc",
}
_IMAGE_OF_VIT = {
    r"patch_emb\.(\d)\.block\.conv": r"patch_embed.backbone.\1.conv",
    r"patch_emb\.(\d)\.block\.norm": r"patch_embed.backbone.\1.bn",
    r"pos_embed\.pos_embed\.pos_embed": "pos_embed",
    r"transformer\.(\d+)\.pre_norm_mha\.0": r"blocks.\1.norm1",
    r"transformer\.(\d+)\.pre_norm_mha\.1\.qkv_proj": r"blocks.\1.attn.qkv",
    r"transformer\.(\d+)\.pre_norm_mha\.1\.out_proj": r"blocks.\1.attn.proj",
    r"transformer\.(\d+)\.pre_norm_ffn\.0": r"blocks.\1.norm2",
    r"transformer\.(\d+)\.pre_norm_ffn\.1": r"blocks.\1.mlp.fc1",
    r"transformer\.(\d+)\.pre_norm_ffn\.4": r"blocks.\1.mlp.fc2",
    "post_transformer_norm": "norm",
    "cls_token": "cls_token",
}
_TEXT = {
    "embedding_layer": "token_embedding",
    r"positional_embedding\.pos_embed\.pos_embed": "positional_embedding",
    "final_layer_norm": "ln_final",
    "projection_layer": "text_projection",
}
VARIANT, MIXED = "model_name", "mct"  # of the text tower
_BLOCK = {
    r"pre_norm_mha\.0": "ln_1",
    r"pre_norm_mha\.1\.qkv_proj\.weight": "attn.in_proj_weight",
    r"pre_norm_mha\.1\.qkv_proj\.bias": "attn.in_proj_bias",
    r"pre_norm_mha\.1\.out_proj": "attn.out_proj",
    r"pre_norm_ffn\.0": "ln_2",
    r"pre_norm_ffn\.1": "mlp.c_fc",
    r"pre_norm_ffn\.4": "mlp.c_proj",
}
_MIXER = r"(token_mixer|convffn|layer_scale)\b"  # the parts of a mixer of a text, which keep their names
_ALONG = Transform(lambda x: [x[:, 0, 0].T], lambda parts: parts[0].T[:, None, None])  # (d, 1, 1, k) <-> (k, d)
_SHARED = "vocab_size context_length width depth num_heads mlp_dim embed_dim activation eot_id epsilon".split()
_OWN = {  # tensors that have another form there
    "visual.head.proj.weight": COPY,  # (in, out)
    "text.positional_embedding": Transform(lambda x: [x[0, 0]], lambda parts: parts[0][None, None]),
    f"{TRUNK}.pos_embed": Transform(lambda x: [x[0, 0]], lambda parts: parts[0][None, None]),  # of the ViT
}


def complete(config, own) -> dict:
    """The config as open_clip would say it of a tower of timm; pixels are halved to [0, 1] and no further.

    Raises:
        ValueError: a field that is not known, or says what is not built.
    """
    config = Fields(config, CONFIG_FILE)
    config.only("embed_dim", "image_cfg", "text_cfg")
    image, text = config.part("image_cfg"), config.part("text_cfg")
    image.only("image_size", "model_name")
    heads, ratios = "n_heads_per_layer", "ffn_multiplier_per_layer"
    rates = ("embed_dropout", "no_scale_embedding")  # while it trains; a scale that its code never uses
    sizes = ("context_length", "vocab_size", "dim", "n_transformer_layers", heads, ratios)
    text.only(*sizes, "norm_layer", "causal_masking", "no_pos_embedding", "model_name", *rates)
    text.refuse(no_pos_embedding=False)
    text.choice("norm_layer", {"layer_norm_fp32": None, "layer_norm": None}, "layer_norm_fp32")
    variant = text.choice("model_name", {name: name for name in ("base", MIXED)}, "base")
    if variant == MIXED:  # what its convolutions see comes later in the text, whatever its attention does
        text.refuse(causal_masking=False)
    width, named = text.get("dim"), image.get("model_name")
    name, side = image.choice("model_name", _TOWERS | _VIT, named), image.get("image_size", 256)
    vit = name in _VIT.values()
    if vit and side != _VIT_SIZE:  # its table is stretched by another rule
        raise ValueError(f"{image.place} says image_size={side}; this version builds that tower for {_VIT_SIZE} alone.")
    mlp_dim = 16 * math.ceil(width * _alike(text, ratios) / 16)
    return {
        VARIANT: variant,
        "model_cfg": {
            "embed_dim": config.get("embed_dim"),
            "vision_cfg": {
                "image_size": side,
                "timm_model_name": name,
                "timm_pool": "token" if vit else "avg",
                "timm_proj": "linear",
            },
            "text_cfg": {
                "context_length": text.get("context_length"),
                "vocab_size": text.get("vocab_size"),
                "width": width,
                "heads": _alike(text, heads),
                "layers": text.get("n_transformer_layers"),
                "mlp_ratio": mlp_dim / width,
                "no_causal_mask": not text.get("causal_masking"),
            },
            "custom_text": True,
        },
        "preprocess_cfg": {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"},
    }


def _alike(text, name):
    """A number for all blocks, which may be given for each."""
    value = text.get(name)
    if not isinstance(value, list):
        return value
    if len(set(value)) > 1 or len(value) != text.get("n_transformer_layers"):
        raise ValueError(f"{text.place} says {name}={value}; this version builds blocks that are all alike.")
    return value[0]


def renames(config) -> list:
    """What its names are in open_clip: pairs of a pattern and what stands in its place."""
    block = r"^text_encoder\.transformer\.(\d+)"
    texts = [
        *((rf"{block}\.{own}\b", rf"text.transformer.resblocks.\1.{theirs}") for own, theirs in _BLOCK.items()),
        (rf"{block}\.{_MIXER}", r"text.transformer.resblocks.\1.\2"),
        *((rf"^text_encoder\.{own}\b", f"text.{theirs}") for own, theirs in _TEXT.items()),
    ]
    if _is_vit(config):
        image = {rf"^image_encoder\.model\.{own}\b": f"{TRUNK}.{theirs}" for own, theirs in _IMAGE_OF_VIT.items()}
        return [(r"^image_encoder\.model\.classifier\.proj$", "visual.head.proj.weight"), *image.items(), *texts]
    network = [(rf"^{TRUNK}\.network\.{n}\.", f"{TRUNK}.stages.{stage}.") for n, stage in enumerate(_NETWORK)]
    return [
        (r"^image_encoder\.model\.head\.proj$", "visual.head.proj.weight"),
        (r"^image_encoder\.model\.", f"{TRUNK}."),
        (rf"^{TRUNK}\.patch_embed\.", f"{TRUNK}.stem."),
        (rf"^{TRUNK}\.conv_exp\.", f"{TRUNK}.final_conv."),
        *network,
        *((rf"^({TRUNK}\..*)\b{own}\.", rf"\1{theirs}.") for own, theirs in _IMAGE.items()),
        (rf"^({TRUNK}\..*\.layer_scale(_\d)?)$", r"\1.gamma"),
        *texts,
    ]


def _is_vit(config):
    """Whether a config in words of open_clip is of the ViT."""
    return config.get("model_cfg", {}).get("vision_cfg", {}).get("timm_model_name") in _VIT.values()


def entries(config, names) -> list:
    """The map of one checkpoint, by its names in open_clip."""
    lines = open_clip.entries(config, names)
    if config.get(VARIANT) == MIXED:
        lines += _mixer("text.transformer.resblocks.{n}", "text_encoder.blocks.{n}")
    return [replace(line, transform=_OWN.get(line.tensor, line.transform)) for line in lines]


def _mixer(tensor, layer):
    """The lines of the mixers, which are void for the blocks between them."""
    mixer, mlp = f"{tensor}.token_mixer", f"{tensor}.convffn"
    return [
        Entry(f"{mixer}.mixer.rbr_conv.0.conv.weight", f"{layer}.mixer.kernel", _ALONG),
        *batch_norm(f"{mixer}.mixer.rbr_conv.0.bn", f"{layer}.mixer.norm"),
        *batch_norm(f"{mixer}.mixer.rbr_skip", f"{layer}.identity"),
        *batch_norm(f"{mixer}.norm.rbr_skip", f"{layer}.norm"),
        Entry(f"{mixer}.layer_scale", f"{layer}.mixer_scale.gain", VECTOR),
        Entry(f"{mlp}.conv.conv.weight", f"{layer}.conv.kernel", _ALONG),
        *batch_norm(f"{mlp}.conv.bn", f"{layer}.conv.norm"),
        *(Entry(f"{mlp}.fc{n}.weight", f"{layer}.{name}.kernel", POINTWISE) for n, name in ((1, "up"), (2, "down"))),
        *(Entry(f"{mlp}.fc{n}.bias", f"{layer}.{name}.bias") for n, name in ((1, "up"), (2, "down"))),
        Entry(f"{tensor}.layer_scale", f"{layer}.mlp_scale.gain", VECTOR),
    ]


def read_row(config, preprocessing=None) -> dict:
    """A complete row, as in a table of presets, from the config in words of open_clip."""
    row = open_clip.read_row(config)
    text = config.part("model_cfg").part("text_cfg")
    if row["image_encoder"]["kind"] == "vit":
        row["image_encoder"] |= {"stem": "padded_convolutions", "epsilon": 1e-5}  # where timm has neither
    words = row["text_encoder"]
    words["mlp_dim"] = round(text.get("width") * text.get("mlp_ratio"))
    if config.get(VARIANT, "base") == MIXED:
        own = {"kind": "convolved_text"}
        row["text_encoder"] = own | {name: words[name] for name in _SHARED}
    return row


FORMAT = replace(
    open_clip.FORMAT,
    name="mobileclip",
    file=CONFIG_FILE,
    key="image_cfg",
    read_row=read_row,
    entries=entries,
    holds=frozenset(),
    write_config=None,
    stem="model",
    renames=renames,
    own_configs=(),
    complete=complete,
)
