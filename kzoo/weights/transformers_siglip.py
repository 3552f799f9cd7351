"""SigLIP as transformers stores it: `config.json` with model_type "siglip", `model.safetensors`."""

from kzoo.weights import transformers_layout as layout
from kzoo.weights.fields import Fields
from kzoo.weights.mapping import SINGLE, SPLIT, SPLIT_TRANSPOSE, Entry, Transform, dense, norm

STEM, DROP = layout.STEM, layout.DROP

_HEAD = "image_encoder.attention_pool"
_QUERY_KEY_VALUE = [f"{_HEAD}.attention.{name}" for name in ("query", "key", "value")]
_PROBE = Transform(lambda x: [x[0]], lambda parts: parts[0][None])  # (1, 1, d) <-> (1, d)

ENTRIES = [
    *layout.ENTRIES,
    Entry("vision_model.embeddings.patch_embedding.bias", "image_encoder.embedding.projection_bias"),
    *norm("vision_model.post_layernorm", "image_encoder.post_norm"),
    Entry("vision_model.head.probe", f"{_HEAD}.probe", _PROBE),
    Entry(
        "vision_model.head.attention.in_proj_weight",
        tuple(f"{each}.kernel" for each in _QUERY_KEY_VALUE),
        SPLIT_TRANSPOSE,
    ),
    Entry("vision_model.head.attention.in_proj_bias", tuple(f"{each}.bias" for each in _QUERY_KEY_VALUE), SPLIT),
    *dense("vision_model.head.attention.out_proj", f"{_HEAD}.attention.out"),
    *norm("vision_model.head.layernorm", f"{_HEAD}.norm"),
    *dense("vision_model.head.mlp.fc1", f"{_HEAD}.mlp_up"),
    *dense("vision_model.head.mlp.fc2", f"{_HEAD}.mlp_down"),
    *dense("text_model.head", "text_encoder.projection"),
    Entry("logit_scale", "similarity.log_scale", SINGLE),
    Entry("logit_bias", "similarity.bias", SINGLE),
]


def entries(config):
    """The map of one checkpoint."""
    return ENTRIES


def read_row(config, preprocessing):
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: content of `config.json`.
        preprocessing: content of `preprocessor_config.json`, or {}.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    config = Fields(config, "config.json")
    vision, text = config.part("vision_config"), config.part("text_config")
    vision.refuse(vision_use_head=True)
    common = {"activation": "gelu_pytorch_tanh", "epsilon": 1e-6}
    steps, statistics = layout.image_steps(preprocessing, "squash")
    text_tower = layout.tower(text, width=768, num_heads=12, mlp_dim=3072, **common)
    return {
        "image_encoder": {
            "kind": "vit",
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
            **layout.tower(vision, width=768, num_heads=12, mlp_dim=3072, **common),
            "class_token": False,
            "pool": "attention",
            "pre_norm": False,
            "patch_bias": True,
            **({"mean": [0.5] * 3, "std": [0.5] * 3} | statistics),
        },
        "text_encoder": {
            "kind": "text_transformer",
            "vocab_size": text.get("vocab_size", 32000),
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
        "tokenizer": {"kind": "sentencepiece"},
    }


def write_config(row):
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    vision = {"model_type": "siglip_vision_model", **layout.write_tower(image), **layout.write_images(image)}
    config = {
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "vision_config": vision,
        "text_config": {
            "model_type": "siglip_text_model",
            **layout.write_tower(text),
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "projection_size": text["embed_dim"],
        },
    }
    return {"config.json": config, "preprocessor_config.json": layout.write_steps(row, "SiglipImageProcessor")}
