"""Chinese-CLIP as transformers stores it: `config.json` with model_type "chinese_clip", `model.safetensors`."""

from kzoo.weights import harmless
from kzoo.weights import transformers_bert as bert
from kzoo.weights import transformers_layout as layout
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import TRANSPOSE, Entry
from kzoo.weights.transformers_steps import image_steps, write_steps

DROP = (*layout.DROP, *bert.DROP)
HOLDS = frozenset({("vit", "bert")})
TOKENS = 52  # that it was trained on

ENTRIES = [
    *layout.CLIP_VISION,
    *bert.body("text_model", "text_encoder"),
    Entry("text_projection.weight", "text_encoder.projection.final.kernel", TRANSPOSE),
    layout.LOGIT_SCALE,
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
    embed_dim = config.get("projection_dim", 512)
    steps, statistics = image_steps(preprocessing, "ChineseCLIP", vision.get("image_size", 224), untold="squash")
    return {
        "image_encoder": layout.clip_vision(vision, embed_dim, statistics),
        "text_encoder": {**bert.tower(text, TOKENS, token_types=2), "embed_dim": embed_dim},
        "similarity": {},
        "loss": [{"loss": "InfoNCE"}],
        "images": steps,
        "tokenizer": {"kind": "wordpiece", "clean": "none", "pad_id": text.get("pad_token_id", 0)},
    }


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    if row["model"] != "dual_encoder":
        raise ValueError("it has no image-text matching head")
    config = {
        "architectures": ["ChineseCLIPModel"],
        "model_type": "chinese_clip",
        "projection_dim": image["embed_dim"],
        "vision_config": layout.write_clip_vision(image, "chinese_clip_vision_model"),
        "text_config": {"model_type": "chinese_clip_text_model", **bert.write_tower(text)},
    }
    return {
        "config.json": config,
        "preprocessor_config.json": write_steps(row, "ChineseCLIPImageProcessor"),
    }


FORMAT = of_transformers(
    "chinese_clip",
    read_row,
    entries,
    DROP,
    HOLDS,
    write_config,
    complete=layout.complete,
    harmless=harmless.BERT,
    classes=("ChineseCLIPModel",),
)
