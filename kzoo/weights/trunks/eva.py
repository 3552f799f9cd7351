"""EVA's towers, and what they share with the others of timm's class `Eva`.

EVA-01 has a bias for queries and values alone; EVA-02 adds rotary positions, gated MLPs and norms within the branches;
its largest has the norms behind the branches.
"""

from functools import partial

from kzoo.weights.mapping import (
    CONVOLUTION,
    HALVES,
    HALVES_TRANSPOSE,
    SPLIT_TRANSPOSE,
    UNBATCHED,
    Entry,
    dense,
    fused_attention,
    norm,
    query_key_value,
)
from kzoo.weights.trunks.siglip import probe
from kzoo.weights.trunks.trunk import OWN, TOWER, TRUNK, Trunk
from kzoo.weights.trunks.vision_transformer import pooled as normed

_CLASS = {  # what timm's class has of itself
    "patch_size": 16,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qkv_fused": True,
    "swiglu_mlp": False,
    "swiglu_align_to": 0,
    "scale_mlp": False,
    "scale_attn_inner": False,
    "attn_type": "eva",
    "init_values": None,
    "class_token": True,
    "use_abs_pos_emb": True,
    "no_embed_class": False,
    "use_rot_pos_emb": False,
    "rope_grid_offset": 0.0,
    "rope_grid_indexing": "ij",
    "ref_feat_shape": None,
    "use_post_norm": False,
    "use_pre_transformer_norm": False,
    "attn_pool_num_heads": None,
    "attn_pool_mlp_ratio": None,
}
_NULLABLE = ("init_values", "ref_feat_shape", "attn_pool_num_heads", "attn_pool_mlp_ratio")
# of training, and of pictures of another size, which a tower here takes where it is asked to
_WITHOUT_NUMBERS = (
    *(f"{name}_rate" for name in ("drop", "pos_drop", "patch_drop", "proj_drop", "attn_drop", "drop_path")),
    "head_init_scale",
    "dynamic_img_size",
)
_PLAIN = {  # what is built in one way only
    "in_chans": 3,
    "num_reg_tokens": 0,
    "rope_type": "cat",
    "rope_temperature": 10000.0,
    "rope_rotate_half": False,
    "use_post_transformer_norm": None,
    "use_fc_norm": None,
    "dynamic_img_pad": False,
}
_INDEXING = {"ij": "rows", "xy": "columns"}
_POOLS = {
    "token": {"pool": "class_token"},
    "avg": {"pool": "average"},
    "map": {"pool": "attention"},
}

_SIZES = {
    "tiny": {"embed_dim": 192, "num_heads": 3},
    "small": {"embed_dim": 384, "num_heads": 6},
    "base": {},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "giant": {"embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 6144 / 1408},
    "enormous": {"embed_dim": 1792, "depth": 64, "num_heads": 16, "mlp_ratio": 15360 / 1792},
}
_ROTARY = {"mlp_ratio": 8 / 3, "swiglu_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": (16, 16)}
_NORMED = _ROTARY | {"qkv_fused": False, "scale_mlp": True}
_CLIP = _NORMED | {"scale_attn_inner": True}
_MEAN = {"global_pool": "avg"}
_TOWERS = {  # those of open_clip, then those of pictures alone
    "eva02_base_patch16_clip_224": _CLIP,
    "eva02_large_patch14_clip_224": _CLIP,
    "eva02_large_patch14_clip_336": _CLIP,
    "eva02_enormous_patch14_clip_224": {"use_post_norm": True},
    "eva_giant_patch14_224": _MEAN,
    "eva_giant_patch14_clip_224": {},
    **{f"eva_giant_patch14_{side}": _MEAN for side in (336, 560)},
    **{f"eva02_{size}_patch14_{side}": _ROTARY | _MEAN for size in ("tiny", "small") for side in (224, 336)},
    **{f"eva02_{size}_patch14_{side}": _NORMED | _MEAN for size in ("base", "large") for side in (224, 448)},
}


def _named(name):
    """The arguments that a name says."""
    _, size, patch, *_, side = name.split("_")
    return _SIZES[size] | {"patch_size": int(patch.removeprefix("patch")), "img_size": int(side)} | _TOWERS[name]


def of_class(towers, names, epsilon, pool, **more) -> Trunk:
    """The trunk of towers of timm's class `Eva`.

    Args:
        towers: timm's name -> its arguments where they are not those of the class.
        names: as in `Trunk`.
        epsilon: of all layer norms.
        pool: what timm calls the pool of a tower that says none.
        **more: as in `Trunk`.
    """

    def row(name):
        if name not in towers:
            return None
        own = _CLASS | {"global_pool": pool} | towers[name]
        usual = {"kind": "vit", "activation": "gelu", "epsilon": epsilon, "image_size": own["img_size"]}
        return usual | _POOLS[own.pop("global_pool")] | {"norm_tokens": None, OWN: own}  # as the pool wants it

    rows = {name: row(name) for name in towers}
    pools = _POOLS | {"": {}}
    return Trunk("vit", names, row, entries, arguments, partial(_name, rows), pools, pooled=pooled, **more)


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    given.only("img_size", *_CLASS, *_PLAIN, *_WITHOUT_NUMBERS)
    given.refuse(**_PLAIN)
    given.choice("attn_type", {"eva": None, "rope": None}, "eva")
    given.choice("rope_grid_indexing", _INDEXING, "ij")
    own = dict(row[OWN])
    for name in own.keys() & given.values.keys():
        own[name] = given.optional(name) if name in _NULLABLE else given.get(name)
    return row | {OWN: own, "image_size": own["img_size"]} | _tower(own)


def pooled(row, changes, own_head) -> dict:
    """The tower with the pool that open_clip's config says, and with what is of that pool alone."""
    row = normed(row, changes, own_head)
    if row["pool"] != "attention":
        return row | {"pool_heads": None, "pool_mlp_dim": None}
    own = row[OWN]
    ratio = own["attn_pool_mlp_ratio"] or own["mlp_ratio"]
    heads = own["attn_pool_num_heads"] or own["num_heads"]
    return row | {"pool_heads": heads, "pool_mlp_dim": int(own["embed_dim"] * ratio)}


def _tower(own):
    """What timm's arguments make of the blocks."""
    width, hidden = own["embed_dim"], int(own["embed_dim"] * own["mlp_ratio"])  # cut, as timm does
    align = own["swiglu_align_to"] if own["swiglu_mlp"] else 0
    reference = own["ref_feat_shape"]
    biases = "out" if not own["qkv_bias"] else "all" if own["attn_type"] == "rope" else "query_value"
    turned = {}
    if own["use_rot_pos_emb"]:
        turned = {
            "rotary": _INDEXING[own["rope_grid_indexing"]],
            "rotary_grid": [reference] * 2 if isinstance(reference, int) else _plain(reference),
            "rotary_offset": float(own["rope_grid_offset"]),
        }
    return turned | {
        "patch_size": own["patch_size"],
        "width": width,
        "depth": own["depth"],
        "num_heads": own["num_heads"],
        "mlp_dim": hidden + (-hidden % align if align else 0),
        "class_token": own["class_token"],
        "positions": "learned" if own["use_abs_pos_emb"] else None,
        "position_prefix": not own["no_embed_class"],
        "pre_norm": own["use_pre_transformer_norm"],
        "patch_bias": not own["use_pre_transformer_norm"],
        "layer_scale": None if own["use_post_norm"] else own["init_values"],  # timm ignores it behind such norms
        "attention_bias": biases,
        "inner_norm": own["scale_attn_inner"],
        "mlp": "swiglu" if own["swiglu_mlp"] else "plain",
        "mlp_norm": own["scale_mlp"],
        "res_post_norm": own["use_post_norm"],
    }


def _name(rows, row):
    """The name that says most of a tower, and the arguments for the rest; None where it is no tower of the class."""
    if row["attention_bias"] != "query_value" and row["rotary"] is None:
        return None
    own = _arguments_of(row)
    own_head = row["embed_dim"] is None or (row["projection_bias"] and not row.get("hidden_dim"))
    differences = {
        name: _difference(own, usual[OWN])
        for name, usual in rows.items()
        if usual["epsilon"] == row["epsilon"]
        and row["norm_tokens"] == normed(usual, {"pool": row["pool"]}, own_head)["norm_tokens"]
    }
    return min(differences.items(), key=lambda each: len(each[1]), default=None)


def _difference(own, usual):
    """The `model_args` that make one tower of another."""
    changes = {name: value for name, value in own.items() if value != _plain(usual[name])}
    for ratio in ("mlp_ratio", "attn_pool_mlp_ratio"):
        hidden = {int(own["embed_dim"] * each) for each in (changes.get(ratio), usual[ratio]) if each is not None}
        if ratio in changes and usual[ratio] is not None and len(hidden) == 1:
            del changes[ratio]  # the usual one makes the same of this width
    return changes


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def _arguments_of(row):
    """The inverse of `_tower`."""
    gated, biases = row["mlp"] == "swiglu", row["attention_bias"]
    own = {
        "img_size": row["image_size"][0] if row["image_size"][0] == row["image_size"][1] else list(row["image_size"]),
        "patch_size": row["patch_size"],
        "embed_dim": row["width"],
        "depth": row["depth"],
        "num_heads": row["num_heads"],
        "mlp_ratio": ratio_of(row["mlp_dim"], row["width"]),
        "qkv_bias": biases != "out",
        "qkv_fused": not (row["inner_norm"] and biases != "all"),
        "swiglu_mlp": gated,
        "scale_mlp": row["mlp_norm"],
        "scale_attn_inner": row["inner_norm"],
        "attn_type": "rope" if biases == "all" else "eva",
        "init_values": row["layer_scale"],
        "class_token": row["class_token"],
        "use_abs_pos_emb": row["positions"] is not None,
        "no_embed_class": not row["position_prefix"],
        "use_rot_pos_emb": row["rotary"] is not None,
        "use_post_norm": row["res_post_norm"],
        "use_pre_transformer_norm": row["pre_norm"],
    }
    if row["rotary"] is not None:
        own |= {
            "rope_grid_offset": row["rotary_offset"],
            "rope_grid_indexing": next(theirs for theirs, ours in _INDEXING.items() if ours == row["rotary"]),
            "ref_feat_shape": None if row["rotary_grid"] is None else list(row["rotary_grid"]),
        }
    if row["pool"] == "attention":
        own |= {
            "attn_pool_num_heads": row["pool_heads"] or row["num_heads"],
            "attn_pool_mlp_ratio": ratio_of(row["pool_mlp_dim"] or row["mlp_dim"], row["width"]),
        }
    return own


def ratio_of(hidden, width) -> float:
    """The ratio of which `int(width * ratio)` is `hidden`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width  # rounded down where floats are coarse


def entries(row) -> list:
    """The lines of the tower."""
    own, block, layer = row[OWN], f"{TRUNK}.blocks.{{n}}", f"{TOWER}.blocks.{{n}}"
    last = "norm" if row["norm_tokens"] else "fc_norm"
    return [
        Entry(f"{TRUNK}.patch_embed.proj.weight", f"{TOWER}.embedding.kernel", CONVOLUTION),
        Entry(f"{TRUNK}.patch_embed.proj.bias", f"{TOWER}.embedding.projection_bias"),
        Entry(f"{TRUNK}.cls_token", f"{TOWER}.embedding.class_embedding", UNBATCHED),
        Entry(f"{TRUNK}.pos_embed", f"{TOWER}.embedding.position_embedding", UNBATCHED),
        *norm(f"{TRUNK}.norm_pre", f"{TOWER}.pre_norm"),
        *norm(f"{block}.norm1", f"{layer}.norm_1"),
        *attention_entries(own, f"{block}.attn", f"{layer}.attention"),
        Entry(f"{block}.gamma_1", f"{layer}.scale_1.gain"),
        *norm(f"{block}.norm2", f"{layer}.norm_2"),
        *mlp_entries(own, f"{block}.mlp", layer),
        Entry(f"{block}.gamma_2", f"{layer}.scale_2.gain"),
        *norm(f"{TRUNK}.{last}", f"{TOWER}.post_norm"),
        *probe(f"{TRUNK}.attn_pool", f"{TOWER}.attention_pool"),
    ]


def attention_entries(own, tensor, layer) -> list:
    """The lines of the attention of timm's class `EvaBlock`, of its arguments `own`."""
    query, key, value = query_key_value(layer)
    if not own["qkv_fused"]:
        apart = [*dense(f"{tensor}.q_proj", query), *dense(f"{tensor}.k_proj", key), *dense(f"{tensor}.v_proj", value)]
    elif own["attn_type"] == "rope":
        apart = fused_attention(f"{tensor}.qkv.weight", f"{tensor}.qkv.bias", layer)
    else:
        apart = [
            Entry(f"{tensor}.qkv.weight", tuple(f"{each}.kernel" for each in (query, key, value)), SPLIT_TRANSPOSE),
            Entry(f"{tensor}.q_bias", f"{query}.bias"),
            Entry(f"{tensor}.v_bias", f"{value}.bias"),
        ]
    return [*apart, *norm(f"{tensor}.norm", f"{layer}.inner_norm"), *dense(f"{tensor}.proj", f"{layer}.out")]


def mlp_entries(own, tensor, layer) -> list:
    """The lines of the MLP of that class."""
    gate_up = [f"{layer}.{name}" for name in ("mlp_gate", "mlp_up")]
    if not own["swiglu_mlp"]:
        up = dense(f"{tensor}.fc1", gate_up[1])
    elif own["scale_mlp"] or own["swiglu_align_to"]:
        up = [*dense(f"{tensor}.fc1_g", gate_up[0]), *dense(f"{tensor}.fc1_x", gate_up[1])]
    else:
        up = [
            Entry(f"{tensor}.fc1.weight", tuple(f"{each}.kernel" for each in gate_up), HALVES_TRANSPOSE),
            Entry(f"{tensor}.fc1.bias", tuple(f"{each}.bias" for each in gate_up), HALVES),
        ]
    return [*up, *norm(f"{tensor}.norm", f"{layer}.mlp_norm"), *dense(f"{tensor}.fc2", f"{layer}.mlp_down")]


EVA = of_class(
    {name: _named(name) for name in _TOWERS},
    "eva_giant_patch14_[clip_]N, eva02_{tiny, small, base, large, enormous}_patchN_[clip_]N",
    epsilon=1e-6,
    pool="token",
)
