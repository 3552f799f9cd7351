"""CLIP as transformers stores it: `config.json` with model_type "clip", `model.safetensors`."""

from kzoo.weights import transformers_layout as layout
from kzoo.weights.fields import Fields
from kzoo.weights.mapping import ROW, SCALAR, TRANSPOSE, Entry, norm

STEM, DROP = layout.STEM, layout.DROP
LEGACY_EOS = 2  # in every config before 2023; the library then pools at the largest id instead

ENTRIES = [
    *layout.ENTRIES,
    Entry("vision_model.embeddings.class_embedding", "image_encoder.embedding.class_embedding", ROW),
    *norm("vision_model.pre_layrnorm", "image_encoder.pre_norm"),  # their spelling
    *norm("vision_model.post_layernorm", "image_encoder.post_norm"),
    Entry("visual_projection.weight", "image_encoder.projection.kernel", TRANSPOSE),
    Entry("text_projection.weight", "text_encoder.projection.kernel", TRANSPOSE),
    Entry("logit_scale", "similarity.log_scale", SCALAR),
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
    embed_dim = config.get("projection_dim", 512)
    common = {"activation": "quick_gelu", "epsilon": 1e-5}
    steps, statistics = layout.image_steps(preprocessing, "shortest")
    vocab_size, eos = text.get("vocab_size", 49408), text.get("eos_token_id", 49407)
    return {
        "image_encoder": {
            "kind": "vit",
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 32),
            **layout.tower(vision, width=768, num_heads=12, mlp_dim=3072, **common),
            "embed_dim": embed_dim,
            **statistics,
        },
        "text_encoder": {
            "kind": "text_transformer",
            "vocab_size": vocab_size,
            "context_length": text.get("max_position_embeddings", 77),
            **layout.tower(text, width=512, num_heads=8, mlp_dim=2048, **common),
            "embed_dim": embed_dim,
            # CLIP's vocabulary ends with its end of text, so the largest id is the last
            "eot_id": vocab_size - 1 if eos == LEGACY_EOS else eos,
        },
        "similarity": {},
        "loss": [{"loss": "InfoNCE"}],
        "images": steps,
        "tokenizer": {"kind": "clip_bpe", "pad_id": text.get("pad_token_id", 1), "clean": "none"},
    }


def write_config(row):
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": image["embed_dim"],
        "vision_config": {"model_type": "clip_vision_model", **layout.write_tower(image), **layout.write_images(image)},
        "text_config": {
            "model_type": "clip_text_model",
            **layout.write_tower(text),
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "eos_token_id": text["eot_id"],
            "pad_token_id": row["tokenizer"]["pad_id"],
        },
    }
    return {"config.json": config, "preprocessor_config.json": layout.write_steps(row, "CLIPImageProcessor")}
