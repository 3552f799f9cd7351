"""Swin transformers of the first version."""

import re

from kzoo.weights.mapping import CONVOLUTION, TRANSPOSE, Entry, dense, fused_attention, norm
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk

# by the name that timm gives: blocks and heads of the stages, channels of the first
_SIZES = {
    "tiny": ((2, 2, 6, 2), (3, 6, 12, 24), 96),
    "small": ((2, 2, 18, 2), (3, 6, 12, 24), 96),
    "base": ((2, 2, 18, 2), (4, 8, 16, 32), 128),
    "large": ((2, 2, 18, 2), (6, 12, 24, 48), 192),
}
_NAME = re.compile(rf"swin_(?P<size>{'|'.join(_SIZES)})_patch4_window(?P<window>7|12)_(?P<image>224|384)")
_NAMES = [
    *(f"swin_{size}_patch4_window7_224" for size in _SIZES),
    *(f"swin_{size}_patch4_window12_384" for size in ("base", "large")),
]
_PLAIN = {"in_chans": 3, "always_partition": False, "strict_img_size": True, "norm_layer": None, "weight_init": ""}
_OF_TRAINING = ("drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")  # which change no trained tower
_OURS = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depths": "depths",
    "num_heads": "num_heads",
    "window_size": "window_size",
    "mlp_ratio": "mlp_ratio",
    "head_dim": "head_width",
    "qkv_bias": "attention_bias",
}


def row(name) -> dict | None:
    """The tower of this name."""
    if name not in _NAMES:
        return None
    match = _NAME.fullmatch(name)
    depths, num_heads, width = _SIZES[match["size"]]
    return {
        "kind": "swin",
        "image_size": int(match["image"]),
        "patch_size": 4,
        "width": width,
        "depths": list(depths),
        "num_heads": list(num_heads),
        "window_size": int(match["window"]),
        "mlp_ratio": 4.0,
        "head_width": None,
        "attention_bias": True,
        "epsilon": 1e-5,
    }
