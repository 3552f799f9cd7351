"""SigLIP's towers: a ViT without a class token, pooled by a probe."""

import re

from kzoo.weights.mapping import CONVOLUTION, HALVES, HALVES_TRANSPOSE, UNBATCHED, Entry, dense, fused_attention, norm
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk

# by the name that timm gives: width, depth, heads, MLP; "nano" is for tests
_SIZES = {
    "nano": (48, 2, 3, 120),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giantopt": (1536, 40, 16, 6144),
}
_NAME = re.compile(rf"vit_(?P<size>{'|'.join(_SIZES)})_patch(?P<patch>\d+)_siglip_(?P<image>\d+)")
# towers that timm runs with the tanh form of GELU, as the others were trained, too
_TANH = re.compile(r"vit_(nano_|base_patch32_|large_patch16_siglip_512|so400m_patch16_|giantopt_)")


def row(name) -> dict | None:
    """The tower of this name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    width, depth, num_heads, mlp_dim = _SIZES[match["size"]]
    return {
        "kind": "vit",
        "patch_size": int(match["patch"]),
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
        "mlp_dim": mlp_dim,
        "activation": "gelu_tanh" if _TANH.match(name) else "gelu",
        "epsilon": 1e-6,
        "class_token": False,
        "pool": "attention",
        "pre_norm": False,
        "patch_bias": True,
    }


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own; none is known."""
    given.only()
    return row


def name(row) -> tuple | None:
    """timm's name of a tower, and no arguments."""
    if row["pool"] != "attention" or row["class_token"] or row["rotary"]:
        return None
    sizes = tuple(row[each] for each in ("width", "depth", "num_heads", "mlp_dim"))
    size = next((name for name, numbers in _SIZES.items() if numbers == sizes), None)
    if size is None:
        raise ValueError(f"timm has no SigLIP tower of width, depth, heads and MLP {sizes}")
    return f"vit_{size}_patch{row['patch_size']}_siglip_{row['image_size'][0]}", {}


def entries(row) -> list:
    """The lines of the tower."""
    block, layer = f"{TRUNK}.blocks.{{n}}", f"{TOWER}.blocks.{{n}}"
    return [
        Entry(f"{TRUNK}.patch_embed.proj.weight", f"{TOWER}.embedding.kernel", CONVOLUTION),
        Entry(f"{TRUNK}.patch_embed.proj.bias", f"{TOWER}.embedding.projection_bias"),
        Entry(f"{TRUNK}.pos_embed", f"{TOWER}.embedding.position_embedding", UNBATCHED),
        *norm(f"{block}.norm1", f"{layer}.norm_1"),
        *norm(f"{block}.norm2", f"{layer}.norm_2"),
        *fused_attention(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", f"{layer}.attention"),
        *dense(f"{block}.attn.proj", f"{layer}.attention.out"),
        *dense(f"{block}.mlp.fc1", f"{layer}.mlp_up"),
        *dense(f"{block}.mlp.fc2", f"{layer}.mlp_down"),
        *norm(f"{TRUNK}.norm", f"{TOWER}.post_norm"),
        *probe(f"{TRUNK}.attn_pool", f"{TOWER}.attention_pool"),
    ]


def probe(pool, head) -> list:
    """The lines of timm's pool by a learned probe."""
    key_value = [f"{head}.attention.{name}" for name in ("key", "value")]
    return [
        Entry(f"{pool}.latent", f"{head}.probe", UNBATCHED),
        *dense(f"{pool}.q", f"{head}.attention.query"),
        Entry(f"{pool}.kv.weight", tuple(f"{each}.kernel" for each in key_value), HALVES_TRANSPOSE),
        Entry(f"{pool}.kv.bias", tuple(f"{each}.bias" for each in key_value), HALVES),
        *dense(f"{pool}.proj", f"{head}.attention.out"),
        *norm(f"{pool}.norm", f"{head}.norm"),
        *dense(f"{pool}.mlp.fc1", f"{head}.mlp_up"),
        *dense(f"{pool}.mlp.fc2", f"{head}.mlp_down"),
    ]


SIGLIP = Trunk(
    "vit",
    f"vit_{{{', '.join(_SIZES)}}}_patchN_siglip_N",
    row,
    entries,
    arguments,
    name,
    pools={"map": {}, "": {}},
)
