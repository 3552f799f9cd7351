"""What the models of transformers share: names of the towers' tensors, fields of their configs.

Read from transformers 5.24 (CLIP and its kin, BERT and its kin, their image processors).
"""

from kzoo.weights.fields import FIELDS
from kzoo.weights.mapping import CONVOLUTION, ROW, SCALAR, TRANSPOSE, Entry, dense, norm

CONFIG_FILE = "config.json"
DROP = ("*.position_ids", "*.token_type_ids")  # 0, 1, 2, ... and 0: files of older versions hold them

ACTIVATIONS = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
PARTS = ("vision_config", "text_config")
_OF_A_TOWER = {*FIELDS, "hidden_act"} - {"architectures", "model_type"}
NAMES = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu", "silu": "silu"}


def blocks(tensor, tower) -> list:
    """The pre-norm blocks of CLIP and SigLIP."""
    block, layer = f"{tensor}.encoder.layers.{{n}}", f"{tower}.blocks.{{n}}"
    return [
        *norm(f"{block}.layer_norm1", f"{layer}.norm_1"),
        *norm(f"{block}.layer_norm2", f"{layer}.norm_2"),
        *dense(f"{block}.self_attn.q_proj", f"{layer}.attention.query"),
        *dense(f"{block}.self_attn.k_proj", f"{layer}.attention.key"),
        *dense(f"{block}.self_attn.v_proj", f"{layer}.attention.value"),
        *dense(f"{block}.self_attn.out_proj", f"{layer}.attention.out"),
        *dense(f"{block}.mlp.fc1", f"{layer}.mlp_up"),
        *dense(f"{block}.mlp.fc2", f"{layer}.mlp_down"),
    ]


TEXT = [  # of CLIP and SigLIP, without the projection
    Entry("text_model.embeddings.token_embedding.weight", "text_encoder.token_embedding"),
    Entry("text_model.embeddings.position_embedding.weight", "text_encoder.position_embedding"),
    *blocks("text_model", "text_encoder"),
    *norm("text_model.final_layer_norm", "text_encoder.final_norm"),
]
VISION = [  # of CLIP, SigLIP and their kin, without what follows the blocks
    Entry("vision_model.embeddings.patch_embedding.weight", "image_encoder.embedding.kernel", CONVOLUTION),
    Entry("vision_model.embeddings.position_embedding.weight", "image_encoder.embedding.position_embedding"),
    *blocks("vision_model", "image_encoder"),
    *norm("vision_model.post_layernorm", "image_encoder.post_norm"),
]
CLIP_VISION = [  # of CLIP, Chinese-CLIP and AltCLIP, whole
    *VISION,
    Entry("vision_model.embeddings.class_embedding", "image_encoder.embedding.class_embedding", ROW),
    *norm("vision_model.pre_layrnorm", "image_encoder.pre_norm"),  # their spelling
    Entry("visual_projection.weight", "image_encoder.projection.kernel", TRANSPOSE),
]
LOGIT_SCALE = Entry("logit_scale", "similarity.log_scale", SCALAR)


def parts(config) -> tuple:
    """The `Fields` of the image tower and of the text tower; one that lacks has the defaults of its class."""
    return tuple(config.part(name, {}) for name in PARTS)


def complete(config, own) -> dict:
    """A config in which `text_config_dict` and `vision_config_dict`, of older versions, are what the library makes of
    them: each stands above the part that it is called after, with the defaults of the class for what it leaves out.

    Args:
        config: content of `config.json`.
        own: not used.
    """
    config = dict(config)
    for name in PARTS:
        above = config.pop(f"{name}_dict", None)
        if isinstance(above, dict):
            below = config.get(name) if isinstance(config.get(name), dict) else {}
            config[name] = {key: value for key, value in below.items() if key not in _OF_A_TOWER} | above
    return config


def tower(config, **defaults) -> dict:
    """Width, depth, heads, MLP, activation and epsilon of one tower's config; the library leaves out defaults."""
    return {
        "width": config.get("hidden_size", defaults["width"]),
        "depth": config.get("num_hidden_layers", defaults.get("depth", 12)),
        "num_heads": config.get("num_attention_heads", defaults["num_heads"]),
        "mlp_dim": config.get("intermediate_size", defaults["mlp_dim"]),
        "activation": config.choice("hidden_act", ACTIVATIONS, defaults["activation"]),
        "epsilon": config.get("layer_norm_eps", defaults["epsilon"]),
    }


def clip_vision(vision, embed_dim, statistics) -> dict:
    """The image tower of CLIP, Chinese-CLIP and AltCLIP."""
    vision.refuse(num_channels=3)
    return {
        "kind": "vit",
        "image_size": vision.get("image_size", 224),
        "patch_size": vision.get("patch_size", 32),
        **tower(vision, width=768, num_heads=12, mlp_dim=3072, activation="quick_gelu", epsilon=1e-5),
        "embed_dim": embed_dim,
        **statistics,
    }


def write_tower(row) -> dict:
    """The inverse of `tower`."""
    return {
        "hidden_size": row["width"],
        "num_hidden_layers": row["depth"],
        "num_attention_heads": row["num_heads"],
        "intermediate_size": row["mlp_dim"],
        "hidden_act": NAMES[row["activation"]],
        "layer_norm_eps": row["epsilon"],
    }


def write_images(row) -> dict:
    """The fields of a vision config that describe the picture.

    Raises:
        ValueError: pictures that are not square, which the library cannot describe.
    """
    height, width = row["image_size"]
    if height != width:
        raise ValueError(f"transformers describes square images only, but this model takes {height} x {width} pixels.")
    return {"image_size": height, "patch_size": row["patch_size"]}


def write_clip_vision(image, model_type) -> dict:
    """The inverse of `clip_vision`."""
    return {
        "model_type": model_type,
        "projection_dim": image["embed_dim"],
        **write_tower(image),
        **write_images(image),
    }
