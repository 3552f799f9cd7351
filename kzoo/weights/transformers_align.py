"""ALIGN as transformers stores it: `config.json` with model_type "align", `model.safetensors`."""

import math

from kzoo.weights import harmless
from kzoo.weights import transformers_bert as bert
from kzoo.weights import transformers_layout as layout
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import CONVOLUTION, DEPTHWISE, POINTWISE, SCALAR, Entry, batch_norm, dense
from kzoo.weights.transformers_steps import image_steps, write_steps

DROP = (*layout.DROP, *bert.DROP, "*.num_batches_tracked")
HOLDS = frozenset({("efficientnet", "bert")})
TOKENS = 64  # to which its processor pads every text
RESIZE = 346 / 289  # its processor's resize, in units of the crop

_STAGES = {  # the columns of `kzoo.encoders.efficientnet.STAGES`, and the class's defaults
    "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
    "in_channels": [32, 16, 24, 40, 80, 112, 192],
    "out_channels": [16, 24, 40, 80, 112, 192, 320],
    "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
    "strides": [1, 2, 2, 2, 1, 2, 1],
}


def _conv_norm(convolution, norm, layer, transform=CONVOLUTION):
    return [
        Entry(f"{convolution}.weight", f"{layer}.convolution.kernel", transform),
        *batch_norm(norm, f"{layer}.norm"),
    ]


def _gate(tensor, layer):
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", POINTWISE), Entry(f"{tensor}.bias", f"{layer}.bias")]


_STEM, _BLOCK, _LAYER = "vision_model.embeddings", "vision_model.encoder.blocks.{n}", "image_encoder.blocks.{n}"

ENTRIES = [
    *_conv_norm(f"{_STEM}.convolution", f"{_STEM}.batchnorm", "image_encoder.stem"),
    *_conv_norm(f"{_BLOCK}.expansion.expand_conv", f"{_BLOCK}.expansion.expand_bn", f"{_LAYER}.expand"),
    *_conv_norm(
        f"{_BLOCK}.depthwise_conv.depthwise_conv",
        f"{_BLOCK}.depthwise_conv.depthwise_norm",
        f"{_LAYER}.depthwise",
        DEPTHWISE,
    ),
    *_gate(f"{_BLOCK}.squeeze_excite.reduce", f"{_LAYER}.squeeze"),
    *_gate(f"{_BLOCK}.squeeze_excite.expand", f"{_LAYER}.excite"),
    *_conv_norm(f"{_BLOCK}.projection.project_conv", f"{_BLOCK}.projection.project_bn", f"{_LAYER}.project"),
    *bert.body("text_model", "text_encoder"),
    *dense("text_projection", "text_encoder.projection.final"),
    Entry("temperature", "similarity.temperature", SCALAR),
]


def entries(config, names) -> list:
    """The map of one checkpoint."""
    return ENTRIES


def read_row(config, preprocessing) -> dict:
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: `Fields` of `config.json`.
        preprocessing: those of `preprocessor_config.json`, or of {}.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    vision, text = layout.parts(config)
    vision.refuse(pooling_type="mean", num_channels=3)
    image_size = vision.get("image_size", 600)
    steps, statistics = image_steps(_normalised(preprocessing), "EfficientNet", image_size)
    if not preprocessing.values:
        steps = {"resize": "squash", "interpolation": "bilinear", "resize_size": round(image_size * RESIZE)}
    columns = [vision.get(name, default) for name, default in _STAGES.items()]
    if len({len(column) if isinstance(column, list) else None for column in columns}) > 1:
        raise ValueError(f"{vision.place} has lists {', '.join(_STAGES)} of different lengths; each is of the stages.")
    _check_pool(vision, image_size)
    return {
        "image_encoder": {
            "kind": "efficientnet",
            "image_size": image_size,
            "width_coefficient": vision.get("width_coefficient", 2.0),
            "depth_coefficient": vision.get("depth_coefficient", 3.1),
            "stages": [list(stage) for stage in zip(*columns)],
            "divisor": vision.get("depth_divisor", 8),
            "se_ratio": vision.get("squeeze_expansion_ratio", 0.25),
            "symmetric_padding": list(vision.get("depthwise_padding", [])),
            "activation": vision.choice("hidden_act", layout.ACTIVATIONS, "swish"),
            "epsilon": vision.get("batch_norm_eps", 1e-3),
            "momentum": vision.get("batch_norm_momentum", 0.99),
            **statistics,
        },
        "text_encoder": {
            **bert.tower(text, TOKENS, token_types=2),
            "embed_dim": config.get("projection_dim", 640),
            "projection_bias": True,
        },
        # nothing bounded the temperature in training
        "similarity": {"scale": 1.0, "max_scale": 1000.0, "form": "temperature"},
        "loss": [{"loss": "InfoNCE", "label_smoothing": 0.1}],
        "images": steps,
        "tokenizer": {"kind": "wordpiece", "clean": "none", "pad_id": text.get("pad_token_id", 0)},
    }


def _check_pool(vision, image_size):
    """Stops at a pool whose window, of side `hidden_dim`, is not the whole map."""
    side = image_size
    for stride in (2, *vision.get("strides", _STAGES["strides"])):
        side = math.ceil(side / stride)
    if vision.get("hidden_dim", side) < side:
        raise ValueError(
            f"{vision.place} says hidden_dim={vision.get('hidden_dim')}, the side of its pool, but the "
            f"map of {image_size} pixels has a side of {side}; this version pools the whole map."
        )


def _normalised(steps):
    """Image steps as other families have them: `x f - 1`, which ALIGN's processor makes, is `(x / 255 - s) / s`."""
    steps.refuse(include_top=False)  # which divides by std once more
    if not steps.optional("rescale_offset"):
        return steps
    steps.refuse(do_normalize=False)
    s = 1.0 / (255.0 * steps.get("rescale_factor", 1 / 255))
    numbers = {"image_mean": [s] * 3, "image_std": [s] * 3, "rescale_factor": 1 / 255, "do_normalize": True}
    return steps.over(numbers)


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    height, width = image["image_size"]
    if height != width:
        raise ValueError(f"transformers describes square images only, but this model takes {height} x {width} pixels.")
    stages = {name: list(column) for name, column in zip(_STAGES, zip(*image["stages"]))}
    config = {
        "architectures": ["AlignModel"],
        "model_type": "align",
        "projection_dim": text["embed_dim"],
        "temperature_init_value": 1.0 / row["similarity"]["scale"],
        "vision_config": {
            "model_type": "align_vision_model",
            "image_size": height,
            "width_coefficient": image["width_coefficient"],
            "depth_coefficient": image["depth_coefficient"],
            **stages,
            "depth_divisor": image["divisor"],
            "squeeze_expansion_ratio": image["se_ratio"],
            "depthwise_padding": list(image["symmetric_padding"]),
            "hidden_act": "swish" if image["activation"] == "silu" else image["activation"],
            "hidden_dim": max(text["embed_dim"], height),  # the window of its pool
            "batch_norm_eps": image["epsilon"],
            "batch_norm_momentum": image["momentum"],
        },
        "text_config": {"model_type": "align_text_model", **bert.write_tower(text)},
    }
    steps = write_steps(row, "EfficientNetImageProcessor")
    steps["include_top"] = False  # else divided by std twice
    return {"config.json": config, "preprocessor_config.json": steps}


FORMAT = of_transformers(
    "align", read_row, entries, DROP, HOLDS, write_config, harmless=harmless.ALIGN, classes=("AlignModel",)
)
