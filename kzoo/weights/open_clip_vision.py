"""Image towers as open_clip stores them: its own ViT, with CoCa's poolers or without, its ResNet, and towers of timm.

Read from open_clip 3.3.0, towers of pictures of any shape from 4.2.
"""

import math

from kzoo.weights.mapping import (
    CONVOLUTION,
    ROW,
    SPLIT,
    TRANSPOSE,
    Entry,
    batch_norm,
    dense,
    fused_attention,
    norm,
    query_key_value,
)
from kzoo.weights.trunks import eva_own, read_trunk, trunk_entries, write_trunk

OF_A_TRANSFORMER = (  # fields that no other kind of tower is given
    "act_kwargs",
    "heads",
    "layers",
    "ls_init_value",
    "mlp_ratio",
    "norm_kwargs",
    "pool_type",
    "width",
)
_OF_A_VIT = (
    *OF_A_TRANSFORMER,
    "attentional_pool",
    "attn_pooler_heads",
    "attn_pooler_queries",
    "final_ln_after_pool",
    "head_width",
    "n_queries",
    "no_ln_pre",
    "patch_size",
    "pos_embed_type",
)
_POOLS = {"tok": "class_token", "avg": "average", "avg_all": "average_all"}  # the last of MaMMUT
AVERAGES = ("average", "average_all")
_LAYOUTS = {True: "single", "parallel": "parallel", "cascade": "cascade"}


def blocks(tensor, tower, name="blocks") -> list:
    """The pre-norm blocks of every tower of open_clip."""
    layer = f"{tower}.{name}.{{n}}"
    return [
        *norm(f"{tensor}.ln_1", f"{layer}.norm_1"),
        *norm(f"{tensor}.ln_1_kv", f"{layer}.norm_context"),
        *norm(f"{tensor}.ln_2", f"{layer}.norm_2"),
        *fused_attention(f"{tensor}.attn.in_proj_weight", f"{tensor}.attn.in_proj_bias", f"{layer}.attention"),
        *dense(f"{tensor}.attn.out_proj", f"{layer}.attention.out"),
        *dense(f"{tensor}.mlp.c_fc", f"{layer}.mlp_up"),
        *dense(f"{tensor}.mlp.c_proj", f"{layer}.mlp_down"),
        Entry(f"{tensor}.ls_1.gamma", f"{layer}.scale_1.gain"),
        Entry(f"{tensor}.ls_2.gamma", f"{layer}.scale_2.gain"),
    ]


def vision_entries(model, names=()) -> list:
    """The lines of the image tower that `model_cfg` describes; `names` are those of the stored tensors."""
    vision = model.part("vision_cfg")
    if is_of_timm(vision):
        return trunk_entries(vision, model.get("embed_dim"), names)
    if isinstance(vision.get("layers", 12), list):
        return _resnet(len(vision.get("layers")))
    entries = [
        Entry("visual.class_embedding", "image_encoder.embedding.class_embedding", ROW),
        Entry("visual.positional_embedding", "image_encoder.embedding.position_embedding"),
        Entry("visual.conv1.weight", "image_encoder.embedding.kernel", CONVOLUTION),
        *norm("visual.ln_pre", "image_encoder.pre_norm"),
        *blocks("visual.transformer.resblocks.{n}", "image_encoder"),
        *norm("visual.ln_post", "image_encoder.post_norm"),
        Entry("visual.proj", "image_encoder.projection.kernel"),  # a parameter, used as x @ proj
    ]
    if vision.get("attentional_pool", False):
        fused = vision.get("width", 768) == model.get("embed_dim")  # torch stores them so where the widths agree
        entries += _pooler("visual.attn_pool", "image_encoder.query_pool", fused)
        fused = fused or (vision.get("attentional_pool") == "cascade" and _is_later(model))
        entries += _pooler("visual.attn_pool_contrastive", "image_encoder.contrastive_pool", fused)
    return entries


def _is_later(model):
    """Whether a CoCa is of open_clip 4, whose queries of their own are not projected; its configs alone say this."""
    return "correct_cls_mask" in model.part("text_cfg")


def is_of_timm(vision) -> bool:
    """Whether `vision_cfg` names a tower of timm."""
    return bool(vision.optional("timm_model_name"))


def _pooler(tensor, layer, fused):
    attention = query_key_value(f"{layer}.attention")
    if fused:
        weights = fused_attention(f"{tensor}.attn.in_proj_weight", f"{tensor}.attn.in_proj_bias", f"{layer}.attention")
    else:
        weights = [
            *(
                Entry(f"{tensor}.attn.{name}_proj_weight", f"{part}.kernel", TRANSPOSE)
                for name, part in zip("qkv", attention)
            ),
            Entry(f"{tensor}.attn.in_proj_bias", tuple(f"{part}.bias" for part in attention), SPLIT),
        ]
    return [
        Entry(f"{tensor}.query", f"{layer}.query"),
        *norm(f"{tensor}.ln_q", f"{layer}.query_norm"),
        *norm(f"{tensor}.ln_k", f"{layer}.token_norm"),
        *weights,
        *dense(f"{tensor}.attn.out_proj", f"{layer}.attention.out"),
    ]


def conv_norm(convolution, norm, layer) -> list:
    """The five lines of a convolution with a batch norm in torch's names."""
    return [
        Entry(f"{convolution}.weight", f"{layer}.convolution.kernel", CONVOLUTION),
        *batch_norm(norm, f"{layer}.norm"),
    ]


def _resnet(stages):
    entries = []
    for number in (1, 2, 3):
        entries += conv_norm(f"visual.conv{number}", f"visual.bn{number}", f"image_encoder.stem.{number - 1}")
    for stage in range(stages):
        block, layer = f"visual.layer{stage + 1}.{{n}}", f"image_encoder.stages.{stage}.{{n}}"
        for number in (1, 2, 3):
            entries += conv_norm(f"{block}.conv{number}", f"{block}.bn{number}", f"{layer}.conv_{number}")
        entries += conv_norm(f"{block}.downsample.0", f"{block}.downsample.1", f"{layer}.shortcut")
    pool, layer = "visual.attnpool", "image_encoder.attention_pool"
    entries.append(Entry(f"{pool}.positional_embedding", f"{layer}.position_embedding"))
    for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("c", "out")):
        entries += dense(f"{pool}.{theirs}_proj", f"{layer}.attention.{ours}")
    return entries


def activation(config, quick) -> str:
    """`quick_gelu` of the model, else the GELU that the tower's `act_kwargs` choose."""
    gelu = config.part("act_kwargs", {}).choice("approximate", {"tanh": "gelu_tanh", "none": "gelu"}, "none")
    return "quick_gelu" if quick else gelu


def epsilon(config) -> float:
    """Of the tower's layer norms."""
    return config.part("norm_kwargs", {}).get("eps", 1e-5)


def read_vision(model, statistics, decoded) -> dict:
    """The image tower that `model_cfg` describes, as in a table of presets.

    Args:
        model: `Fields` of it.
        statistics: `mean` and `std`, as far as the config says them.
        decoded: whether a decoder reads its tokens.
    """
    vision, embed_dim = model.part("vision_cfg"), model.get("embed_dim")
    image_size = vision.get("image_size", 224)
    if is_of_timm(vision):
        vision.ignore(*_OF_A_VIT, eva_own.NAME)  # of the latter timm's name is made
        return read_trunk(vision, embed_dim) | statistics
    vision.ignore("timm_pool", "timm_proj", "timm_proj_bias")
    if isinstance(vision.get("layers", 12), list):
        vision.ignore(*_OF_A_VIT)
        return {
            "kind": "resnet",
            "image_size": image_size,
            "depths": list(vision.get("layers")),
            "width": vision.get("width", 64),
            "embed_dim": embed_dim,
            "head_width": vision.get("head_width", 64),
            **statistics,
        }
    vision.choice("pos_embed_type", {"learnable": None, "sin_cos_2d": None}, "learnable")  # a file brings either table
    vision.ignore("attentional_pool", "attn_pooler_heads", "attn_pooler_queries", "n_queries")  # read if it is true
    width = vision.get("width", 768)
    row = {
        "kind": "vit",
        "image_size": image_size,
        "patch_size": vision.get("patch_size", 16),
        "width": width,
        "depth": vision.get("layers", 12),
        "num_heads": width // vision.get("head_width", 64),
        "mlp_dim": int(width * vision.get("mlp_ratio", 4.0)),  # cut, as open_clip does
        "activation": activation(vision, model.get("quick_gelu", False)),
        "epsilon": epsilon(vision),
        "layer_scale": vision.optional("ls_init_value"),
        "pool": vision.choice("pool_type", _POOLS, "tok"),
        "pre_norm": not vision.get("no_ln_pre", False),
        "embed_dim": embed_dim,
        **statistics,
    }
    if vision.get("global_average_pool", False):  # of versions 2.10 to 2.23: all tokens, and the norm behind
        vision.refuse(pool_type="tok", final_ln_after_pool=True, attentional_pool=False)
        if decoded:
            vision.refuse(global_average_pool=False)
        row |= {"pool": "average_all", "norm_tokens": False}
    elif row["pool"] in AVERAGES:
        row["norm_tokens"] = not vision.get("final_ln_after_pool", False)
    if vision.get("attentional_pool", False):
        vision.ignore("final_ln_after_pool")
        if vision.get("attentional_pool") is True:
            vision.refuse(pool_type="tok")
        row |= {
            "pool": "queries",
            "query_layout": vision.choice("attentional_pool", _LAYOUTS, True),
            "num_queries": vision.renamed("n_queries", "attn_pooler_queries", 256),
            "query_heads": vision.get("attn_pooler_heads", 8),
        }
        if row["query_layout"] != "single" and _is_later(model):
            row["query_projection"] = False
    elif decoded:  # a decoder reads the patches, with the last norm unless that follows the pool
        row |= {
            "patch_tokens": row["pool"] != "average_all",
            "norm_tokens": not vision.get("final_ln_after_pool", False),
        }
    return row


def write_vision(image) -> tuple:
    """The inverse of `read_vision`: `vision_cfg`, and the `model_args` of timm's own config.

    Raises:
        ValueError: a tower that open_clip has not.
    """
    if image["kind"] == "naflex_vit":
        side = math.isqrt(image["max_patches"]) * image["patch_size"]  # of a square picture
        vision = {"image_size": side, "image_seq_len": image["max_patches"]}
    else:
        size = list(image["image_size"])
        vision = {"image_size": size[0] if size[0] == size[1] else size}
    trunk = write_trunk(image)
    if trunk is not None:
        return vision | trunk[0], trunk[1]
    if image["kind"] == "resnet":
        return vision | {
            "layers": list(image["depths"]),
            "width": image["width"],
            "head_width": image["head_width"],
            "patch_size": None,
        }, {}
    if image["kind"] != "vit":
        raise ValueError(f"it has no image tower of kind {image['kind']!r}")
    vision |= {
        "patch_size": image["patch_size"],
        "width": image["width"],
        "layers": image["depth"],
        "head_width": image["width"] // image["num_heads"],
        "mlp_ratio": image["mlp_dim"] / image["width"],
        **written_numerics(image),
    }
    if not image["pre_norm"]:
        vision["no_ln_pre"] = True
    if image["pool"] in AVERAGES:
        pool = {ours: theirs for theirs, ours in _POOLS.items()}[image["pool"]]
        vision |= {"pool_type": pool, "final_ln_after_pool": not image["norm_tokens"]}
    if image["patch_tokens"]:
        vision |= {"output_tokens": True, "final_ln_after_pool": not image["norm_tokens"]}
    if image["pool"] == "queries":
        vision |= {
            "attentional_pool": {ours: theirs for theirs, ours in _LAYOUTS.items()}[image["query_layout"]],
            "attn_pooler_queries": image["num_queries"],
            "attn_pooler_heads": image["query_heads"],
            "output_tokens": True,
        }
    return vision, {}


def written_numerics(tower) -> dict:
    """What stands in a tower's config beside its sizes, where it is not the usual."""
    config = {}
    if tower["layer_scale"] is not None:
        config["ls_init_value"] = tower["layer_scale"]
    if tower["epsilon"] != 1e-5:
        config["norm_kwargs"] = {"eps": tower["epsilon"]}
    if tower["activation"] == "gelu_tanh":
        config["act_kwargs"] = {"approximate": "tanh"}
    return config
