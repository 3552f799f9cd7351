"""CLIP and MetaCLIP 2 as transformers stores them: `config.json` with model_type "clip" or "metaclip_2"."""

from dataclasses import replace

from kzoo.weights import transformers_layout as layout
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import TRANSPOSE, Entry
from kzoo.weights.transformers_steps import image_steps, write_steps

DROP = layout.DROP
HOLDS = frozenset({("vit", "text_transformer")})
METACLIP = "metaclip_2"
CLIP_IDS = 49408  # of CLIP's own vocabulary, which ends with the end of text
LEGACY_EOS = 2  # in every CLIP config before 2023; the library then pools at the largest id of a text instead

ENTRIES = [
    *layout.TEXT,
    *layout.CLIP_VISION,
    Entry("text_projection.weight", "text_encoder.projection.kernel", TRANSPOSE),
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
    metaclip = config.get("model_type") == METACLIP
    vision, text = layout.parts(config)
    embed_dim = config.get("projection_dim", 512)
    steps, statistics = image_steps(preprocessing, "CLIP", vision.get("image_size", 224))
    vocab_size, eot_id = text.get("vocab_size", CLIP_IDS), text.get("eos_token_id", CLIP_IDS - 1)
    if eot_id == LEGACY_EOS and not metaclip:  # MetaCLIP 2 means what it says
        eot_id = _largest_id(text, vocab_size)
    common = {"activation": "quick_gelu", "epsilon": 1e-5}
    return {
        "image_encoder": layout.clip_vision(vision, embed_dim, statistics),
        "text_encoder": {
            "kind": "text_transformer",
            "vocab_size": vocab_size,
            "context_length": text.get("max_position_embeddings", 77),
            **layout.tower(text, width=512, num_heads=8, mlp_dim=2048, **common),
            "embed_dim": embed_dim,
            "eot_id": eot_id,
        },
        "similarity": {},
        "loss": [{"loss": "InfoNCE"}],
        "images": steps,
        "tokenizer": {
            "kind": "xlm_roberta" if metaclip else "clip_bpe",
            "clean": "none",
            "pad_id": text.get("pad_token_id", 1),
        },
    }


def _largest_id(text, vocab_size):
    """The id that ends texts, where the library pools at their largest: the last, while none was added behind it."""
    if vocab_size > CLIP_IDS:
        raise ValueError(
            f"{text.place} says eos_token_id={LEGACY_EOS} and vocab_size={vocab_size}: with that id transformers pools "
            f"each text at its largest id, which is its end (id {CLIP_IDS - 1} of CLIP's vocabulary) only where no id "
            "behind that is in it. Write the id that texts are to be pooled at as eos_token_id."
        )
    return vocab_size - 1


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image, text = row["image_encoder"], row["text_encoder"]
    model_type = METACLIP if row["tokenizer"]["kind"] == "xlm_roberta" else "clip"
    config = {
        "architectures": ["MetaClip2Model" if model_type == METACLIP else "CLIPModel"],
        "model_type": model_type,
        "projection_dim": image["embed_dim"],
        "vision_config": layout.write_clip_vision(image, f"{model_type}_vision_model"),
        "text_config": {
            "model_type": f"{model_type}_text_model",
            "projection_dim": text["embed_dim"],
            **layout.write_tower(text),
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "eos_token_id": text["eot_id"],
            "pad_token_id": row["tokenizer"]["pad_id"],
        },
    }
    return {"config.json": config, "preprocessor_config.json": write_steps(row, "CLIPImageProcessor")}


FORMAT = of_transformers(
    "clip", read_row, entries, DROP, HOLDS, write_config, complete=layout.complete, classes=("CLIPModel",)
)
METACLIP_FORMAT = replace(FORMAT, value=METACLIP, classes=("MetaClip2Model",))
