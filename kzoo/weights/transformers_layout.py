"""What the models of transformers share: names of the towers' tensors, fields of their configs.

Read from transformers 5.24 (CLIP and its kin, BERT and its kin, their image processors).
"""

import math

from kzoo.weights.fields import Fields
from kzoo.weights.mapping import CONVOLUTION, ROW, SCALAR, TRANSPOSE, Entry, dense, norm

CONFIG_FILE, STEPS_FILE = "config.json", "preprocessor_config.json"
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
NAMES = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu", "silu": "silu"}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


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


def image_steps(preprocessing, default_resize, image_size, of_a_number=None, crops=True) -> tuple:
    """Image steps of `preprocessor_config.json`, and the mean and std that belong into the tower.

    Args:
        preprocessing: content of the file, or {}.
        default_resize: what a file that says no size means: `"shortest"` or `"squash"`.
        image_size: side of the tower's pictures; None where they keep their shape.
        of_a_number: what one number for a size means to the family's own processor; default `default_resize`.
        crops: whether that processor crops the centre where it resizes the shortest edge and is told nothing else.

    Raises:
        ValueError: steps that give other pixels than any of kzoo.
    """
    steps = Fields(preprocessing, STEPS_FILE)
    steps.refuse(do_resize=True, do_rescale=True, do_normalize=True)
    if not math.isclose(steps.optional("rescale_factor") or 1 / 255, 1 / 255, rel_tol=1e-5):
        steps.refuse(rescale_factor=1 / 255)
    statistics = {ours: steps.get(f"image_{ours}") for ours in ("mean", "std") if f"image_{ours}" in steps}
    interpolation = steps.choice("resample", _RESAMPLE, 3)
    if image_size is None:  # pictures keep their shape
        return {"interpolation": interpolation if "resample" in steps else "bilinear"}, statistics
    size = steps.get("size", {})
    resize, target = default_resize, image_size
    if isinstance(size, int):
        resize, target = of_a_number or default_resize, size
    elif "shortest_edge" in size:
        resize, target = "shortest", size["shortest_edge"]
    elif {"height", "width"} <= set(size):
        resize, target = "squash", [size["height"], size["width"]]
    if resize == "shortest" and steps.get("use_square_size", False):
        resize = "squash"
    cropped = steps.get("do_center_crop", crops and (resize == "shortest" or "crop_size" in steps))
    if resize == "shortest" and not cropped:
        raise ValueError(
            f"{STEPS_FILE} resizes the shortest edge and crops no centre, which gives pictures of every shape, "
            f"but the tower takes {' x '.join(map(str, sides(image_size)))}; it cannot be built from this."
        )
    crop = steps.get("crop_size", image_size)
    if cropped and sides(crop) != sides(image_size):
        raise ValueError(
            f"{STEPS_FILE} crops pictures to crop_size={crop!r}, but the tower takes "
            f"{' x '.join(map(str, sides(image_size)))}; it cannot be built from this."
        )
    row = {"resize": resize, "interpolation": interpolation}
    if sides(target) != sides(image_size) and cropped:
        row["resize_size"] = target  # larger than the tower's, whose size is cropped out of the centre
    return row, statistics


def sides(size) -> list:
    """`[height, width]` of a side, a pair, or a dict of both."""
    if isinstance(size, dict):
        return [size.get("height"), size.get("width")]
    return [size, size] if isinstance(size, int) else list(size)


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


def write_steps(row, processor) -> dict:
    """The inverse of `image_steps`: the content of `preprocessor_config.json`.

    Raises:
        ValueError: a resize that the library has not.
    """
    image, steps = row["image_encoder"], row["images"]
    common = {
        "image_processor_type": processor,
        "do_resize": True,
        "resample": {name: code for code, name in _RESAMPLE.items()}[steps["interpolation"]],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(image["mean"]),
        "image_std": list(image["std"]),
        "do_convert_rgb": True,
    }
    if image["kind"] == "naflex_vit":
        return common | {"patch_size": image["patch_size"], "max_num_patches": image["max_patches"]}
    height, width = image["image_size"]
    target = sides(steps["resize_size"] or image["image_size"])
    if steps["resize"] == "longest":
        raise ValueError("transformers has no image step that fits the longest side")
    squash = steps["resize"] == "squash"
    return common | {
        "size": dict(zip(("height", "width"), target)) if squash else {"shortest_edge": target[0]},
        "do_center_crop": not squash or steps["resize_size"] is not None,
        "crop_size": {"height": height, "width": width},
    }
