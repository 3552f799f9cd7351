"""AltCLIP as transformers stores it: `config.json` with model_type "altclip", `model.safetensors`."""

from kzoo.weights import harmless
from kzoo.weights import transformers_bert as bert
from kzoo.weights import transformers_layout as layout
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import TRANSPOSE, Entry, dense, norm
from kzoo.weights.transformers_steps import image_steps, write_steps

DROP = (*layout.DROP, *bert.DROP)
RENAMES = [(r"^vision_model\.encoder\.layer\.", "vision_model.encoder.layers.")]  # newer versions write the singular
HOLDS = frozenset({("vit", "bert")})
TOKENS = 77

ENTRIES = [
    *layout.CLIP_VISION,
    *bert.body("text_model.roberta", "text_encoder"),
    *norm("text_model.pre_LN", "text_encoder.token_norm"),
    *dense("text_model.transformation", "text_encoder.token_projection"),
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
    embed_dim = config.get("projection_dim", 768)
    steps, statistics = image_steps(preprocessing, "CLIP", vision.get("image_size", 224))
    large = {"vocab_size": 250002, "width": 1024, "depth": 24, "num_heads": 16, "mlp_dim": 4096, "num_positions": 514}
    return {
        "image_encoder": layout.clip_vision(vision, embed_dim, statistics),
        "text_encoder": {
            **bert.tower(text, TOKENS, token_types=1, positions_from_padding=True, pad_id=1, epsilon=1e-5, **large),
            "token_dim": text.get("project_dim", 768),
            "embed_dim": embed_dim,
        },
        "similarity": {},
        "loss": [{"loss": "InfoNCE"}],
        "images": steps,
        "tokenizer": {"kind": "xlm_roberta", "clean": "none", "pad_id": text.get("pad_token_id", 1)},
    }


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    config = {
        "architectures": ["AltCLIPModel"],
        "model_type": "altclip",
        "projection_dim": image["embed_dim"],
        "vision_config": layout.write_clip_vision(image, "altclip_vision_model"),
        "text_config": {
            "model_type": "altclip_text_model",
            "project_dim": text["token_dim"],
            **bert.write_tower(text),
        },
    }
    return {"config.json": config, "preprocessor_config.json": write_steps(row, "CLIPImageProcessor")}


FORMAT = of_transformers(
    "altclip",
    read_row,
    entries,
    DROP,
    HOLDS,
    write_config,
    renames=lambda config: RENAMES,
    complete=layout.complete,
    harmless=harmless.ALTCLIP,
    classes=("AltCLIPModel",),
)
