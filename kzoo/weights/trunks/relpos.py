"""timm's vision transformers that place patches by how far apart they are, with an MLP in each block and no table."""

import re

from kzoo.weights.mapping import dense
from kzoo.weights.trunks import vision_transformer
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk
from kzoo.weights.trunks.vision_transformer import PLAIN, pooled

# by the name that timm gives: width, heads, MLP; all of 12 blocks
_SIZES = {"small": (384, 6, 1536), "medium": (512, 8, 2048), "base": (768, 12, 3072)}
_MEAN = {"class_token": False, "pool": "average", "norm_tokens": False}
_FORMS = {
    "": _MEAN,
    "_plus": _MEAN | {"norm_tokens": True, "attention_bias": "all", "width": 896, "num_heads": 14, "mlp_dim": 3584},
    "_cls": {"norm_tokens": True},
    "_clsgap": {"pool": "average", "norm_tokens": False},
}
_NAMES = (
    "vit_relpos_medium_patch16_cls_224",
    "vit_relpos_base_patch16_cls_224",
    *(f"vit_relpos_{size}_patch16_224" for size in _SIZES),
    "vit_relpos_base_patch16_plus_240",
    "vit_relpos_base_patch16_clsgap_224",
)
_NAME = re.compile(rf"vit_relpos_(?P<size>{'|'.join(_SIZES)})_patch16(?P<form>|_plus|_cls|_clsgap)_(?P<image>\d+)")
_OF_CLASS = {
    "more": {"rel_pos_dim": "relative_dim"},
    "without": ("pre_norm", "pos_embed", "no_embed_class", "act_layer"),
}


def row(name) -> dict | None:
    """The tower of this name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    sizes = dict(zip(("width", "num_heads", "mlp_dim"), _SIZES[match["size"]]))
    kind = {"attention_bias": "out", "layer_scale": 1e-6, "positions": None, "relative_dim": 128}
    if name == "vit_relpos_medium_patch16_cls_224":
        kind["relative_dim"] = 256
    return PLAIN | {"image_size": int(match["image"]), "depth": 12} | sizes | kind | _FORMS[match["form"]]


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    plain = {"rel_pos_type": "mlp", "shared_rel_pos": False}
    return vision_transformer.arguments(row, given, **_OF_CLASS, refused=plain)


def name(tower) -> tuple | None:
    """timm's name of a tower, and what differs from the tower of that name."""
    return vision_transformer.name(tower, _NAMES, row, **_OF_CLASS) if tower["relative_dim"] else None


def entries(row) -> list:
    """The lines of the tower."""
    mlp, layer = f"{TRUNK}.blocks.{{n}}.attn.rel_pos.mlp", f"{TOWER}.relative_positions.{{n}}"
    return [
        *vision_transformer.entries(row),
        *dense(f"{mlp}.fc1", f"{layer}.mlp_up"),
        *dense(f"{mlp}.fc2", f"{layer}.mlp_down"),
    ]


RELPOS = Trunk(
    "vit",
    "vit_relpos_{small, medium, base}_patch16_N (also with cls, base with plus, clsgap)",
    row,
    entries,
    arguments,
    name,
    pools={"token": {"pool": "class_token"}, "avg": {"pool": "average"}, "": {}},
    pooled=pooled,
)
