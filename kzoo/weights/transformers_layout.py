"""What the CLIP-like models of transformers share: names of the tower's tensors, fields of their configs.

Read from transformers 5.23 (CLIP, SigLIP and their image processors).
"""

from kzoo.weights.fields import Fields
from kzoo.weights.mapping import CONVOLUTION, Entry, dense, norm

STEM = "model"
DROP = ("*.position_ids",)  # 0, 1, 2, ...: files of older versions hold them

_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_NAMES = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


def _blocks(tensor, tower):
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


ENTRIES = [
    Entry("vision_model.embeddings.patch_embedding.weight", "image_encoder.embedding.kernel", CONVOLUTION),
    Entry("vision_model.embeddings.position_embedding.weight", "image_encoder.embedding.position_embedding"),
    *_blocks("vision_model", "image_encoder"),
    Entry("text_model.embeddings.token_embedding.weight", "text_encoder.token_embedding"),
    Entry("text_model.embeddings.position_embedding.weight", "text_encoder.position_embedding"),
    *_blocks("text_model", "text_encoder"),
    *norm("text_model.final_layer_norm", "text_encoder.final_norm"),
]


def tower(config, **defaults):
    """Width, depth, heads, MLP, activation and epsilon of one tower's config; the library leaves out defaults."""
    return {
        "width": config.get("hidden_size", defaults["width"]),
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": config.get("num_attention_heads", defaults["num_heads"]),
        "mlp_dim": config.get("intermediate_size", defaults["mlp_dim"]),
        "activation": config.choice("hidden_act", _ACTIVATIONS, defaults["activation"]),
        "epsilon": config.get("layer_norm_eps", defaults["epsilon"]),
    }


def image_steps(preprocessing, default_resize):
    """Image steps of `preprocessor_config.json`, and the mean and std that belong into the tower."""
    steps = Fields(preprocessing, "preprocessor_config.json")
    size = steps.get("size", {})
    resize = default_resize
    if isinstance(size, int) or "shortest_edge" in size:
        resize = "shortest"
    elif {"height", "width"} <= set(size):
        resize = "squash"
    statistics = {ours: steps.get(f"image_{ours}") for ours in ("mean", "std") if f"image_{ours}" in steps}
    return {"resize": resize, "interpolation": steps.choice("resample", _RESAMPLE, 3)}, statistics


def write_tower(row):
    """The inverse of `tower`."""
    return {
        "hidden_size": row["width"],
        "num_hidden_layers": row["depth"],
        "num_attention_heads": row["num_heads"],
        "intermediate_size": row["mlp_dim"],
        "hidden_act": _NAMES[row["activation"]],
        "layer_norm_eps": row["epsilon"],
    }


def write_images(row):
    """The fields of a vision config that describe the picture.

    Raises:
        ValueError: pictures that are not square, which the library cannot describe.
    """
    height, width = row["image_size"]
    if height != width:
        raise ValueError(f"transformers describes square images only, but this model takes {height} x {width} pixels.")
    return {"image_size": height, "patch_size": row["patch_size"]}


def write_steps(row, processor):
    """The inverse of `image_steps`: the content of `preprocessor_config.json`."""
    image, steps = row["image_encoder"], row["images"]
    side = image["image_size"][0]
    squash = steps["resize"] == "squash"
    return {
        "image_processor_type": processor,
        "do_resize": True,
        "size": {"height": side, "width": side} if squash else {"shortest_edge": side},
        "resample": {name: code for code, name in _RESAMPLE.items()}[steps["interpolation"]],
        "do_center_crop": not squash,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(image["mean"]),
        "image_std": list(image["std"]),
        "do_convert_rgb": True,
    }
