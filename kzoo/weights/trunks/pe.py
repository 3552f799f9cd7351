"""Perception Encoder's towers: EVA's class in timm, with biases everywhere and a pool by a learned probe."""

from kzoo.weights.trunks.eva import of_class

_PE = {
    "attn_type": "rope",
    "use_pre_transformer_norm": True,
    "use_rot_pos_emb": True,
    "rope_grid_offset": 1.0,
    "rope_grid_indexing": "xy",
    "attn_pool_num_heads": 8,
    "attn_pool_mlp_ratio": 4.0,
}
_GIGANTIC = {
    "class_token": False,
    "rope_grid_offset": 0.0,
    "mlp_ratio": 8960 / 1536,
}
# by the name of the size: image size, patch size, width, depth, heads, grid of reference, what differs
_SIZES = {
    "tiny": (384, 16, 192, 12, 3, 24, {}),
    "small": (384, 16, 384, 12, 6, 24, {}),
    "base": (224, 16, 768, 12, 12, 14, {}),
    "large": (336, 14, 1024, 24, 16, 24, {}),
    "gigantic": (448, 14, 1536, 50, 16, 32, _GIGANTIC),
}
_TOWERS = {
    f"vit_pe_core_{size}_patch{patch}_{image}": _PE
    | {
        "img_size": image,
        "patch_size": patch,
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "ref_feat_shape": (grid, grid),
    }
    | more
    for size, (image, patch, width, depth, heads, grid, more) in _SIZES.items()
}

PE = of_class(
    _TOWERS,
    f"vit_pe_core_{{{', '.join(_SIZES)}}}_patchN_N",
    epsilon=1e-5,
    pool="map",
    others={
        "visual.conv1.weight": "it is in the layout of Meta's own files; take one of open_clip's, as timm/PE-Core-B-16"
    },
)
