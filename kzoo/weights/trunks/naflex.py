"""timm's `NaFlexVit`, whose pictures keep their shape: SigLIP 2's towers, and those that open_clip 4 trains.

Read from timm 1.0.31 and open_clip 4.2.
"""

from kzoo.weights.mapping import UNBATCHED, Entry, Transform, flat_patches, norm
from kzoo.weights.trunks.eva import attention_entries, mlp_entries, ratio_of
from kzoo.weights.trunks.siglip import probe
from kzoo.weights.trunks.trunk import KWARGS, OWN, TOWER, TRUNK, Trunk
from kzoo.weights.trunks.vision_transformer import pooled as normed

_CLASS = {  # what timm's class has of itself
    "patch_size": 16,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "scale_mlp_norm": False,
    "qkv_bias": True,
    "scale_attn_inner_norm": False,
    "init_values": None,
    "class_token": False,
    "reg_tokens": 0,
    "pos_embed_grid_size": [16, 16],
    "pos_embed_interp_mode": "bicubic",
    "pos_embed_ar_preserving": False,
    "pre_norm": False,
    "fc_norm": None,
    "global_pool": "map",
    "attn_pool_num_heads": None,
    "attn_pool_mlp_ratio": None,
    "act_layer": None,
    "attn_type": "standard",
    "swiglu_mlp": False,
    "swiglu_align_to": 0,
    "qkv_fused": True,
}
# of training, or of how the same numbers are computed, or of patches of another size
_WITHOUT_NUMBERS = (
    *(f"{name}_rate" for name in ("drop", "pos_drop", "patch_drop", "proj_drop", "attn_drop", "drop_path")),
    "weight_init",
    "fix_init",
    "use_key_only_attn_mask",
    "enable_patch_interpolator",
    "num_classes",
)
_PLAIN = {  # what is built in one way only
    "in_chans": 3,
    "num_kv_heads": None,
    "qk_norm": False,
    "proj_bias": True,
    "pos_embed": "learned",
    "pos_embed_antialias": True,
    "pos_embed_align_corners": False,
    "pos_embed_use_grid_sample": False,
    "rope_type": "",
    "dynamic_img_pad": False,
    "patchify_channels_last": True,
    "final_norm": True,
    "pool_include_prefix": False,
    "embed_proj_type": "linear",
    "input_norm_layer": None,
    "embed_norm_layer": None,
    "norm_layer": None,
    "block_fn": None,
    "mlp_layer": None,
    "attn_layer": None,
    "attn_gated": False,
    "attn_only_layer_scale": False,
}
_POOLS = {"map": {"pool": "attention"}, "avg": {"pool": "average"}, "token": {"pool": "class_token"}}
_FILTERS = {"bicubic": "bicubic", "bilinear": "bilinear"}
_ACTIVATIONS = {name: name for name in ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu")} | {None: "gelu"}
_TYPES = {name: None for name in ("standard", "eva", "rope")}

_GAP = {"init_values": 1e-5, "global_pool": "avg", "reg_tokens": 4, "fc_norm": True}
_SO150M = {
    "embed_dim": 832,
    "depth": 21,
    "num_heads": 13,
    "mlp_ratio": 34 / 13,
    "init_values": 1e-5,
    "qkv_bias": False,
    "reg_tokens": 1,
}
_SIGLIP = {"act_layer": "gelu_tanh", "pos_embed_interp_mode": "bilinear"}
_TOWERS = {
    "naflexvit_base_patch16_gap": _GAP,
    "naflexvit_base_patch16_par_gap": _GAP | {"pos_embed_ar_preserving": True},
    "naflexvit_base_patch16_map": {"init_values": 1e-5, "reg_tokens": 1},
    "naflexvit_so150m2_patch16_reg1_gap": _SO150M | {"global_pool": "avg", "fc_norm": True},
    "naflexvit_so150m2_patch16_reg1_map": _SO150M,
    "naflexvit_base_patch16_siglip": _SIGLIP,
    "naflexvit_so400m_patch16_siglip": _SIGLIP | {"embed_dim": 1152, "depth": 27, "num_heads": 16, "mlp_ratio": 3.7362},
}


def row(name) -> dict | None:
    """The tower of this name."""
    return _tower(_CLASS | _TOWERS[name]) if name in _TOWERS else None


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    given.only(*_CLASS, *_PLAIN, *_WITHOUT_NUMBERS)
    given.refuse(**_PLAIN)
    given.choice("attn_type", _TYPES, "standard")
    given.choice("pos_embed_interp_mode", _FILTERS, "bicubic")
    given.choice("act_layer", _ACTIVATIONS, None)
    given.choice("global_pool", _POOLS, "map")
    said = {name: given.optional(name) for name in _CLASS}
    own = row[OWN] | {name: value for name, value in said.items() if value is not None}  # timm leaves out what is null
    return {"image_size": row["image_size"]} | _tower(own)


def _tower(own):
    """What timm's arguments make."""
    width, hidden = own["embed_dim"], int(own["embed_dim"] * own["mlp_ratio"])  # cut, as timm does
    align = own["swiglu_align_to"] if own["swiglu_mlp"] else 0
    biases = "out" if not own["qkv_bias"] else "query_value" if _is_of_eva(own) else "all"
    grid = own["pos_embed_grid_size"]
    return {
        "kind": "naflex_vit",
        "patch_size": own["patch_size"],
        "table_size": grid if isinstance(grid, int) else grid[0] if grid[0] == grid[1] else list(grid),
        "width": width,
        "depth": own["depth"],
        "num_heads": own["num_heads"],
        "mlp_dim": hidden + (-hidden % align if align else 0),
        "activation": _ACTIVATIONS[own["act_layer"]],
        "epsilon": 1e-6,
        **_POOLS[own["global_pool"]],
        "norm_tokens": None if own["fc_norm"] is None else not own["fc_norm"],  # None: as the pool wants it
        "class_token": own["class_token"],
        "register_tokens": own["reg_tokens"],
        "pre_norm": own["pre_norm"],
        "resampling": own["pos_embed_interp_mode"],
        "square": own["pos_embed_ar_preserving"],
        "layer_scale": own["init_values"] or None,
        "attention_bias": biases,
        "inner_norm": own["scale_attn_inner_norm"],
        "mlp": "swiglu" if own["swiglu_mlp"] else "plain",
        "mlp_norm": own["scale_mlp_norm"],
        OWN: own,
    }


def _is_of_eva(own):
    """Whether timm takes EVA's attention, without a bias of keys, for such a tower."""
    return own["attn_type"] == "eva" or (own["attn_type"] == "standard" and own["swiglu_mlp"])


def pooled(row, changes, own_head) -> dict:
    """The tower with the pool that open_clip's config says, and with what is of that pool alone.

    Raises:
        ValueError: a pool that timm cannot put on afterwards, or that would read tokens before their norm.
    """
    tower, own = normed(row, changes, own_head), row[OWN]
    if tower["pool"] != "attention":
        return tower
    if not own_head and row["pool"] != "attention":
        raise ValueError(
            f"timm_pool='map' asks for a pool that timm does not put on a tower made for global_pool="
            f"{own['global_pool']!r}; give global_pool='map' in {KWARGS}, or take a tower whose name ends in _map."
        )
    if not tower["norm_tokens"]:
        raise ValueError("fc_norm=True with the pool 'map' norms behind it alone, which this version cannot build.")
    heads, hidden = own["attn_pool_num_heads"], int(own["embed_dim"] * (own["attn_pool_mlp_ratio"] or own["mlp_ratio"]))
    return tower | {
        "pool_heads": None if heads == own["num_heads"] else heads,  # None: as of the blocks
        "pool_mlp_dim": None if hidden == tower["mlp_dim"] else hidden,
    }


def sized(row, vision) -> dict:
    """The tower with as many patches as the config has room for: `image_seq_len`, or those of a square picture."""
    row, patch = dict(row), row["patch_size"]
    size = row.pop("image_size")
    height, width = (size, size) if isinstance(size, int) else size
    patches = (height // patch) * (width // patch)
    return row | {"max_patches": vision.get("image_seq_len", max(1, patches))}


def name(row) -> tuple:
    """timm's name of a tower, and the arguments that are not those of the name."""
    own = _arguments_of(row)
    differences = {each: _difference(own, _CLASS | towers) for each, towers in _TOWERS.items()}
    said = {each: changes for each, changes in differences.items() if None not in changes.values()}
    return min(said.items(), key=lambda each: len(each[1]))


def _difference(own, usual):
    """The arguments that make one tower of another, whose null ones follow others."""
    follows = {"fc_norm": own["global_pool"] == "avg", "act_layer": "gelu"}
    follows |= {"attn_pool_num_heads": own["num_heads"], "attn_pool_mlp_ratio": own["mlp_ratio"]}
    usual = usual | {key: value for key, value in follows.items() if usual[key] is None}
    changes = {key: value for key, value in own.items() if value != usual[key]}
    if "mlp_ratio" in changes and int(own["embed_dim"] * own["mlp_ratio"]) == int(
        own["embed_dim"] * usual["mlp_ratio"]
    ):
        del changes["mlp_ratio"]  # the usual one makes the same of this width
    return changes


def _arguments_of(row):
    """The inverse of `_tower` and `pooled`."""
    gated, biases, grid = row["mlp"] == "swiglu", row["attention_bias"], row["table_size"]
    own = {
        "patch_size": row["patch_size"],
        "embed_dim": row["width"],
        "depth": row["depth"],
        "num_heads": row["num_heads"],
        "mlp_ratio": ratio_of(row["mlp_dim"], row["width"]),
        "scale_mlp_norm": row["mlp_norm"],
        "qkv_bias": biases != "out",
        "scale_attn_inner_norm": row["inner_norm"],
        "init_values": row["layer_scale"],
        "class_token": row["class_token"],
        "reg_tokens": row["register_tokens"],
        "pos_embed_grid_size": [grid] * 2 if isinstance(grid, int) else list(grid),
        "pos_embed_interp_mode": row["resampling"],
        "pos_embed_ar_preserving": row["square"],
        "pre_norm": row["pre_norm"],
        "fc_norm": not row["norm_tokens"],
        "global_pool": next(theirs for theirs, ours in _POOLS.items() if ours["pool"] == row["pool"]),
        "act_layer": row["activation"],
        "swiglu_mlp": gated,
    }
    if biases != "out":
        own["attn_type"] = {(True, "all"): "rope", (False, "query_value"): "eva"}.get((gated, biases), "standard")
    if row["pool"] == "attention":
        own["attn_pool_num_heads"] = row["pool_heads"] or row["num_heads"]
        own["attn_pool_mlp_ratio"] = ratio_of(row["pool_mlp_dim"] or row["mlp_dim"], row["width"])
    return own


def entries(row) -> list:
    """The lines of the tower."""
    own, embeds = row[OWN], f"{TRUNK}.embeds"
    block, layer = f"{TRUNK}.blocks.{{n}}", f"{TOWER}.blocks.{{n}}"
    of_eva = own["attn_type"] != "standard" or own["swiglu_mlp"]
    words = {
        "qkv_fused": own["qkv_fused"] or not of_eva,
        "attn_type": "eva" if _is_of_eva(own) else "rope",
        "swiglu_mlp": own["swiglu_mlp"],
        "swiglu_align_to": own["swiglu_align_to"],
        "scale_mlp": own["scale_mlp_norm"],
    }
    gains = ("gamma_1", "gamma_2") if of_eva else ("ls1.gamma", "ls2.gamma")
    return [
        Entry(f"{embeds}.proj.weight", f"{TOWER}.embedding.kernel", flat_patches(row["patch_size"])),
        Entry(f"{embeds}.proj.bias", f"{TOWER}.embedding.projection_bias"),
        Entry(f"{embeds}.pos_embed", f"{TOWER}.embedding.position_embedding", _table(row["table_size"])),
        Entry(f"{embeds}.cls_token", f"{TOWER}.class_embedding", UNBATCHED),
        Entry(f"{embeds}.reg_token", f"{TOWER}.register_embedding", UNBATCHED),
        *norm(f"{TRUNK}.norm_pre", f"{TOWER}.pre_norm"),
        *norm(f"{block}.norm1", f"{layer}.norm_1"),
        *attention_entries(words, f"{block}.attn", f"{layer}.attention"),
        Entry(f"{block}.{gains[0]}", f"{layer}.scale_1.gain"),
        *norm(f"{block}.norm2", f"{layer}.norm_2"),
        *mlp_entries(words, f"{block}.mlp", layer),
        Entry(f"{block}.{gains[1]}", f"{layer}.scale_2.gain"),
        *norm(f"{TRUNK}.{'norm' if row['norm_tokens'] else 'fc_norm'}", f"{TOWER}.post_norm"),
        *probe(f"{TRUNK}.attn_pool", f"{TOWER}.attention_pool"),
    ]


def _table(size):
    """(1, rows, columns, width) <-> (rows * columns, width)"""
    rows, columns = (size, size) if isinstance(size, int) else size
    return Transform(
        lambda x: [x.reshape(rows * columns, x.shape[-1])], lambda parts: parts[0].reshape(1, rows, columns, -1)
    )


NAFLEX = Trunk(
    "naflex_vit",
    ", ".join(_TOWERS),
    row,
    entries,
    arguments,
    name,
    pools=_POOLS | {"": {}},
    pooled=pooled,
    sized=sized,
    written_in=KWARGS,
)
