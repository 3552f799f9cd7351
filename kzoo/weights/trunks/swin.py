"""Swin transformers of the first version."""

from kzoo.weights.mapping import CONVOLUTION, TRANSPOSE, Entry, dense, fused_attention, norm
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk, changed

# by the name that timm gives: channels of the first stage, blocks and heads of the stages
_SIZES = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
_NAMES = {f"swin_{size}_patch4_window7_224": (size, 7, 224) for size in _SIZES} | {
    f"swin_{size}_patch4_window12_384": (size, 12, 384) for size in ("base", "large")
}
_PLAIN = {  # what timm's Swin is otherwise, and this one is not
    "always_partition": False,
    "strict_img_size": True,
    "dynamic_img_size": False,
    "norm_layer": None,
    "weight_init": "",
    "in_chans": 3,
}
_OF_TRAINING = ("drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")  # which change no trained tower
_BIASES = {True: "all", False: "out"}  # of query, key and value
_OURS = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depths": "depths",
    "num_heads": "num_heads",
    "window_size": "window_size",
    "mlp_ratio": "mlp_ratio",
    "head_dim": "head_width",
}


def row(name) -> dict | None:
    """The tower of this name."""
    if name not in _NAMES:
        return None
    size, window_size, image_size = _NAMES[name]
    width, depths, num_heads = _SIZES[size]
    return {
        "kind": "swin",
        "image_size": image_size,
        "patch_size": 4,
        "width": width,
        "depths": list(depths),
        "num_heads": list(num_heads),
        "window_size": window_size,
        "mlp_ratio": 4.0,
        "head_width": None,
        "attention_bias": _BIASES[True],
        "epsilon": 1e-5,
    }


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    given.only(*_OURS, "qkv_bias", *_PLAIN, *_OF_TRAINING)
    given.refuse(**_PLAIN)
    row = row | {ours: given.get(theirs) for theirs, ours in _OURS.items() if theirs in given and theirs != "head_dim"}
    row["head_width"] = given.optional("head_dim")
    row["attention_bias"] = _BIASES[given.get("qkv_bias", True)]
    window = row["window_size"]
    if isinstance(window, list) and len(window) == 2:  # to timm these are its rows and columns, not two stages
        if window[0] != window[1]:
            raise ValueError(f"{given.place} says window_size={window}; this version builds square windows.")
        row["window_size"] = window[0]
    return row


def name(tower) -> tuple | None:
    """timm's name of a tower, and what differs from the tower of that name."""
    biases = [theirs for theirs, ours in _BIASES.items() if ours == tower["attention_bias"]]
    if not biases:
        raise ValueError(f"timm's Swin has no attention_bias={tower['attention_bias']!r}")
    differing = {name: changed(tower, row(name), _OURS) for name in _NAMES}
    name, arguments = min(differing.items(), key=lambda each: len(each[1]))
    return name, arguments if biases[0] else arguments | {"qkv_bias": False}


def entries(row) -> list:
    """The lines of the tower."""
    lines = [
        Entry(f"{TRUNK}.patch_embed.proj.weight", f"{TOWER}.stem.kernel", CONVOLUTION),
        Entry(f"{TRUNK}.patch_embed.proj.bias", f"{TOWER}.stem.bias"),
        *norm(f"{TRUNK}.patch_embed.norm", f"{TOWER}.stem_norm"),
        *norm(f"{TRUNK}.norm", f"{TOWER}.post_norm"),
    ]
    for number in range(len(row["depths"])):
        stage, layer = f"{TRUNK}.layers.{number}", f"{TOWER}.stages.{number}"
        block, ours = f"{stage}.blocks.{{n}}", f"{layer}.blocks.{{n}}"
        lines += [
            *norm(f"{stage}.downsample.norm", f"{layer}.merging.norm"),
            Entry(f"{stage}.downsample.reduction.weight", f"{layer}.merging.reduction.kernel", TRANSPOSE),
            *norm(f"{block}.norm1", f"{ours}.norm_1"),
            Entry(f"{block}.attn.relative_position_bias_table", f"{ours}.attention.position_bias"),
            *fused_attention(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", f"{ours}.attention"),
            *dense(f"{block}.attn.proj", f"{ours}.attention.out"),
            *norm(f"{block}.norm2", f"{ours}.norm_2"),
            *dense(f"{block}.mlp.fc1", f"{ours}.mlp_up"),
            *dense(f"{block}.mlp.fc2", f"{ours}.mlp_down"),
        ]
    return lines


SWIN = Trunk(
    "swin",
    "swin_{tiny, small, base, large}_patch4_window7_224, swin_{base, large}_patch4_window12_384",
    row,
    entries,
    arguments,
    name,
    pools={"avg": {}, "": {}},
    head="head.fc",
)
