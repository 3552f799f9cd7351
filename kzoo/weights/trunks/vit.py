"""Plain vision transformers of timm: of a class token or the mean, CLIP's, DeiT's, and that of MobileCLIP-B."""

import re

from kzoo.weights.mapping import CONVOLUTION, Entry, batch_norm
from kzoo.weights.trunks import vision_transformer
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk
from kzoo.weights.trunks.vision_transformer import PLAIN, convolution, pooled

# by the name that timm gives: width, depth, heads, MLP
_SIZES = {
    "tiny": (192, 12, 3, 768),
    "xsmall": (256, 10, 4, 1024),
    "small": (384, 12, 6, 1536),
    "medium": (512, 12, 8, 2048),
    "betwixt": (640, 12, 10, 2560),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
    "giant": (1408, 40, 16, 6144),
    "gigantic": (1664, 48, 16, 8192),
}
_PLUS = {"width": 896, "num_heads": 14, "mlp_dim": 3584}
_CLIP = {"pre_norm": True, "patch_bias": False, "epsilon": 1e-5}
_GAP = {"class_token": False, "pool": "average", "norm_tokens": True}
_FORMS = {  # what stands in the name behind the patch size
    "": {},
    "_plus": _PLUS | {"layer_scale": 1e-5},
    "_gap": _GAP,
    "_clip": _CLIP,
    "_plus_clip": _PLUS | _CLIP,
    "_clip_quickgelu": _CLIP | {"activation": "quick_gelu"},
}
_THIN = {"attention_bias": "out", "layer_scale": 1e-6}
_OWN = {  # of one size in one form
    ("medium", "_gap"): _THIN,
    ("betwixt", "_gap"): _THIN,
    ("base", "_gap"): {"num_heads": 16},
}
_MAKERS = {"vit": {}, "deit": {}, "deit3": {"position_prefix": False, "layer_scale": 1e-6}}
_NAME = re.compile(
    rf"(?P<maker>{'|'.join(_MAKERS)})_(?P<size>{'|'.join(_SIZES)})_patch(?P<patch>\d+)"
    rf"(?P<form>{'|'.join(sorted(_FORMS, key=len, reverse=True))})_(?P<image>\d+)"
)
_MCI = "vit_base_mci_224"
# those that timm has, which a tower is written as; others of these forms are read
_NAMES = (
    *(f"vit_{size}_patch16_{side}" for size in ("base", "large", "small", "tiny") for side in (224, 384)),
    *(f"vit_{size}_patch32_{side}" for size in ("base", "large", "small") for side in (224, 384)),
    *(f"vit_{size}_patch8_224" for size in ("base", "small")),
    *(f"vit_{size}_patch14_224" for size in ("large", "huge", "giant", "gigantic")),
    *(f"vit_medium_patch16_gap_{side}" for side in (256, 240, 384)),
    *(f"vit_{size}_gap_224" for size in ("base_patch16", "huge_patch14", "giant_patch16")),
    "vit_betwixt_patch16_gap_256",
    "vit_huge_patch16_gap_448",
    "vit_large_patch14_clip_224",
    "vit_large_patch14_clip_336",
    *(f"vit_base_patch32_clip_{side}" for side in (224, 256, 384, 448)),
    *(f"vit_base_patch16_clip_{side}" for side in (224, 384)),
    *(f"vit_{size}_patch14_clip_224" for size in ("huge", "giant", "gigantic")),
    *(f"vit_{size}_patch14_clip_378" for size in ("huge", "gigantic")),
    *(f"vit_{size}_clip_224" for size in ("xsmall_patch16", "medium_patch16", "medium_patch32", "betwixt_patch32")),
    "vit_huge_patch14_clip_336",
    "vit_base_patch16_plus_clip_240",
    "vit_base_patch16_plus_240",
    "vit_base_patch32_plus_256",
    *(f"vit_{size}_clip_quickgelu_224" for size in ("base_patch32", "base_patch16", "large_patch14", "huge_patch14")),
    "vit_large_patch14_clip_quickgelu_336",
    "vit_huge_patch14_clip_quickgelu_378",
    "vit_gigantic_patch14_clip_quickgelu_224",
    *(f"deit3_{size}_patch16_{side}" for size in ("small", "base", "large") for side in (224, 384)),
    "deit3_medium_patch16_224",
    "deit3_huge_patch14_224",
    _MCI,
)


def row(name) -> dict | None:
    """The tower of this name."""
    if name == _MCI:
        stem = {"patch_size": 16, "stem": "convolutions", "position_prefix": False, "patch_bias": False}
        return _row("base", 224) | stem
    match = _NAME.fullmatch(name)
    if match is None or (match["maker"] != "vit" and match["form"]):
        return None
    size, form = match["size"], match["form"]
    tower = _row(size, int(match["image"])) | {"patch_size": int(match["patch"])}
    return tower | _MAKERS[match["maker"]] | _FORMS[form] | _OWN.get((size, form), {})


def _row(size, image_size):
    sizes = dict(zip(("width", "depth", "num_heads", "mlp_dim"), _SIZES[size]))
    return PLAIN | {"image_size": image_size} | sizes


def name(tower) -> tuple | None:
    """timm's name of a tower, and what differs from the tower of that name."""
    return None if _is_of_open_clip(tower) else vision_transformer.name(tower, _NAMES, row)


def _is_of_open_clip(tower):
    """Whether open_clip has this tower itself: its own is written so."""
    own = {"pre_norm": True, "patch_bias": False, "position_prefix": True, "projection_bias": False, "hidden_dim": None}
    normed = tower["pool"] == "class_token" and tower["norm_tokens"]
    return tower["stem"] is None and not normed and all(tower.get(key, value) == value for key, value in own.items())


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    return vision_transformer.arguments(row, given, without=("patch_size",) if row["stem"] else ())


def entries(row) -> list:
    """The lines of the tower."""
    stem, layer = f"{TRUNK}.patch_embed.backbone", f"{TOWER}.embedding.stem"
    lines = []
    for number in range(2) if row["stem"] else ():
        ours = f"{layer}.convolutions.{number}"
        lines += [
            Entry(f"{stem}.{number}.conv.weight", f"{ours}.convolution.kernel", CONVOLUTION),
            *batch_norm(f"{stem}.{number}.bn", f"{ours}.norm"),
        ]
    return [*lines, *convolution(f"{stem}.2.conv", f"{layer}.projection"), *vision_transformer.entries(row)]


VIT = Trunk(
    "vit",
    f"{{{', '.join(_MAKERS)}}}_{{{', '.join(_SIZES)}}}_patchN_N ("
    f"vit also with {', '.join(form[1:] for form in _FORMS if form)}), {_MCI}",
    row,
    entries,
    arguments,
    name,
    pools={"token": {"pool": "class_token"}, "avg": {"pool": "average"}, "": {}},
    pooled=pooled,
)
