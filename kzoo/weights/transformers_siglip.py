"""SigLIP as transformers stores it: `config.json` with model_type "siglip" (also SigLIP 2 of a fixed size) or "siglip2"
(SigLIP 2 NaFlex)."""

import math
from dataclasses import replace

from kzoo.weights import transformers_layout as layout
from kzoo.weights.fields import Fields
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import SINGLE, UNBATCHED, Entry, dense, flat_patches, fused_attention, norm
from kzoo.weights.transformers_steps import image_steps, write_steps

DROP = layout.DROP
HOLDS = frozenset({("vit", "text_transformer"), ("naflex_vit", "text_transformer")})
NAFLEX = "siglip2"
GEMMA = 256000  # ids of SigLIP 2's vocabulary

_HEAD, _POOL = "vision_model.head", "image_encoder.attention_pool"
_COMMON = [
    *layout.TEXT,
    Entry("vision_model.embeddings.patch_embedding.bias", "image_encoder.embedding.projection_bias"),
    Entry(f"{_HEAD}.probe", f"{_POOL}.probe", UNBATCHED),
    *fused_attention(f"{_HEAD}.attention.in_proj_weight", f"{_HEAD}.attention.in_proj_bias", f"{_POOL}.attention"),
    *dense(f"{_HEAD}.attention.out_proj", f"{_POOL}.attention.out"),
    *norm(f"{_HEAD}.layernorm", f"{_POOL}.norm"),
    *dense(f"{_HEAD}.mlp.fc1", f"{_POOL}.mlp_up"),
    *dense(f"{_HEAD}.mlp.fc2", f"{_POOL}.mlp_down"),
    *dense("text_model.head", "text_encoder.projection"),
    Entry("logit_scale", "similarity.log_scale", SINGLE),
    Entry("logit_bias", "similarity.bias", SINGLE),
]
ENTRIES = [*layout.VISION, *_COMMON]


def entries(config, names) -> list:
    """The map of one checkpoint."""
    config = Fields(config, "config.json")
    if config.get("model_type") != NAFLEX:
        return ENTRIES
    patch = config.part("vision_config").get("patch_size", 16)
    kernel, *vision = layout.VISION
    return [Entry(kernel.tensor, kernel.parameters, flat_patches(patch)), *vision, *_COMMON]


def read_row(config, preprocessing) -> dict:
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: `Fields` of `config.json`.
        preprocessing: those of `preprocessor_config.json`, or of {}.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    naflex = config.get("model_type") == NAFLEX
    vision, text = layout.parts(config)
    vision.refuse(vision_use_head=True, num_channels=3)
    common = {"num_heads": 12, "mlp_dim": 3072, "activation": "gelu_pytorch_tanh", "epsilon": 1e-6}
    tower = {
        "patch_size": vision.get("patch_size", 16),
        **layout.tower(vision, width=768, **common),
    }
    if naflex:
        image, steps = _naflex(vision, preprocessing, tower)
    else:
        image, steps = _fixed(vision, preprocessing, tower)
    text_tower = layout.tower(text, width=768, **common)
    vocab_size = text.get("vocab_size", 32000)
    gemma = {"kind": "gemma", "clean": "lowercase", "pad_id": 0}
    sentencepiece = {"kind": "sentencepiece", "clean": "siglip", "pad_id": 1}
    return {
        "image_encoder": image,
        "text_encoder": {
            "kind": "text_transformer",
            "vocab_size": vocab_size,
            "context_length": text.get("max_position_embeddings", 64),
            **text_tower,
            "causal": False,
            "pool": "last",
            "eot_id": 1,
            "embed_dim": text.get("projection_size", text_tower["width"]),
            "projection_bias": True,
        },
        # the scale of the released weights is 118; nothing bounded it in training
        "similarity": {"scale": 10.0, "bias": -10.0, "max_scale": 1000.0},
        "loss": [{"loss": "SigmoidContrastive"}],
        "images": steps,
        "tokenizer": gemma if naflex or vocab_size == GEMMA else sentencepiece,
    }


def _fixed(vision, preprocessing, tower):
    image_size = vision.get("image_size", 224)
    steps, statistics = image_steps(preprocessing, "Siglip", image_size)
    image = {"kind": "vit", "image_size": image_size, "class_token": False, "pool": "attention", "pre_norm": False}
    return image | tower | {"patch_bias": True, "mean": [0.5] * 3, "std": [0.5] * 3} | statistics, steps


def _naflex(vision, preprocessing, tower):
    steps, statistics = image_steps(preprocessing, "Siglip2", None)
    patch = preprocessing.get("patch_size", tower["patch_size"])
    if patch != tower["patch_size"]:
        raise ValueError(
            f"{preprocessing.place} cuts pictures into patch_size={patch}, but the tower takes {tower['patch_size']}."
        )
    positions = vision.get("num_patches", 256)
    if math.isqrt(positions) ** 2 != positions:
        raise ValueError(f"{vision.place} says num_patches={positions}, which is no square table of positions.")
    image = {
        "kind": "naflex_vit",
        "max_patches": preprocessing.get("max_num_patches", positions),
        "table_size": math.isqrt(positions),
    }
    return image | tower | statistics, steps


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    naflex = image["kind"] == "naflex_vit"
    kind = NAFLEX if naflex else "siglip"
    vision = {"model_type": f"{kind}_vision_model", **layout.write_tower(image)}
    if naflex:
        vision |= {"patch_size": image["patch_size"], "num_patches": image["table_size"] ** 2}
    else:
        vision |= layout.write_images(image)
    config = {
        "architectures": ["Siglip2Model" if naflex else "SiglipModel"],
        "model_type": kind,
        "vision_config": vision,
        "text_config": {
            "model_type": f"{kind}_text_model",
            **layout.write_tower(text),
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "projection_size": text["embed_dim"],
        },
    }
    steps = write_steps(row, "Siglip2ImageProcessor" if naflex else "SiglipImageProcessor")
    return {"config.json": config, "preprocessor_config.json": steps}


FORMAT = of_transformers("siglip", read_row, entries, DROP, HOLDS, write_config, classes=("SiglipModel",))
NAFLEX_FORMAT = replace(FORMAT, value=NAFLEX, classes=("Siglip2Model",))
