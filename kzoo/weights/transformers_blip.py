"""BLIP as transformers stores it: `config.json` with model_type "blip".

Its "architectures" say which of two models it is: the one for retrieval, with an image-text matching head, or the one
for captions.
"""

from kzoo.weights import harmless
from kzoo.weights import transformers_bert as bert
from kzoo.weights import transformers_layout as layout
from kzoo.weights.fields import Fields
from kzoo.weights.format import of_transformers
from kzoo.weights.mapping import UNBATCHED, Entry, dense, fused_attention, norm
from kzoo.weights.transformers_steps import image_steps, write_steps

# the output matrix of the captioning head is the token table, and its bias stands there twice
DROP = (*layout.DROP, *bert.DROP, "*.cls.predictions.decoder.*")
RETRIEVAL, CAPTIONS = "BlipForImageTextRetrieval", "BlipForConditionalGeneration"
HOLDS = frozenset({("vit", "bert"), ("vit", "bert_decoder")})
TOKENS = 35  # that its texts were cut to
DECODER_ID = 30522  # [DEC], added to BERT's vocabulary; every caption starts with it

_BLOCK, _LAYER = "vision_model.encoder.layers.{n}", "image_encoder.blocks.{n}"
_VISION = [
    Entry("vision_model.embeddings.class_embedding", "image_encoder.embedding.class_embedding", UNBATCHED),
    Entry("vision_model.embeddings.position_embedding", "image_encoder.embedding.position_embedding", UNBATCHED),
    layout.VISION[0],
    Entry("vision_model.embeddings.patch_embedding.bias", "image_encoder.embedding.projection_bias"),
    *norm(f"{_BLOCK}.layer_norm1", f"{_LAYER}.norm_1"),
    *norm(f"{_BLOCK}.layer_norm2", f"{_LAYER}.norm_2"),
    *fused_attention(f"{_BLOCK}.self_attn.qkv.weight", f"{_BLOCK}.self_attn.qkv.bias", f"{_LAYER}.attention"),
    *dense(f"{_BLOCK}.self_attn.projection", f"{_LAYER}.attention.out"),
    *dense(f"{_BLOCK}.mlp.fc1", f"{_LAYER}.mlp_up"),
    *dense(f"{_BLOCK}.mlp.fc2", f"{_LAYER}.mlp_down"),
    *norm("vision_model.post_layernorm", "image_encoder.post_norm"),
]
ENTRIES = {
    RETRIEVAL: [
        *_VISION,
        *bert.body("text_encoder", "text_encoder"),
        *dense("vision_proj", "image_encoder.projection"),
        *dense("text_proj", "text_encoder.projection.final"),
        *dense("itm_head", "matching_head"),
    ],
    CAPTIONS: [
        *_VISION,
        *bert.body("text_decoder.bert", "text_decoder"),
        *dense("text_decoder.cls.predictions.transform.dense", "text_decoder.head_dense"),
        *norm("text_decoder.cls.predictions.transform.LayerNorm", "text_decoder.head_norm"),
        Entry("text_decoder.cls.predictions.bias", "text_decoder.head_bias"),
    ],
}


def entries(config, names) -> list:
    """The map of one checkpoint."""
    return ENTRIES[_architecture(Fields(config, "config.json"))]


def _architecture(config):
    (first, *_) = config.optional("architectures") or [None]
    if first not in list(ENTRIES):  # which may be anything
        raise ValueError(
            f"config.json says architectures={config.optional('architectures')!r}; this version reads BLIP as "
            f"{' and '.join(ENTRIES)}."
        )
    return first


def read_row(config, preprocessing) -> dict:
    """A complete row, as in a table of presets, from the library's own config.

    Args:
        config: `Fields` of `config.json`.
        preprocessing: those of `preprocessor_config.json`, or of {}.

    Raises:
        ValueError: a field is missing, or says what this version cannot build.
    """
    architecture = _architecture(config)
    vision, text = layout.parts(config)
    steps, statistics = image_steps(preprocessing, "Blip", vision.get("image_size", 384))
    image = {
        "kind": "vit",
        "image_size": vision.get("image_size", 384),
        "patch_size": vision.get("patch_size", 16),
        **layout.tower(vision, width=768, num_heads=12, mlp_dim=3072, activation="gelu", epsilon=1e-5),
        "pre_norm": False,
        "patch_bias": True,
        "norm_tokens": True,
        **statistics,
    }
    # the class's default of 8 heads is not BERT's 12: a config without the field means the class
    words = bert.tower(text, TOKENS, token_types=0, vocab_size=30524, num_heads=8)
    words["dropout"] = text.get("hidden_dropout_prob", 0.0)
    words["cross_width"] = image["width"]  # whatever encoder_hidden_size says
    row = {"images": steps, "image_encoder": image}
    rules = {"kind": "wordpiece", "clean": "none", "pad_id": words["pad_id"], "added_tokens": ["[DEC]", "[ENC]"]}
    if architecture == RETRIEVAL:
        embed_dim = config.get("image_text_hidden_size", 256)
        head = {"embed_dim": embed_dim, "projection_bias": True}
        return row | {
            "model": "matching_encoder",
            "image_encoder": image | head,
            "text_encoder": words | head,
            "similarity": {"scale": 1.0, "form": "fixed"},
            "loss": [{"loss": "InfoNCE", "temperature": 0.07}],
            "tokenizer": rules,
        }
    return row | {
        "model": "captioner",
        "text_decoder": words | {"kind": "bert_decoder"},
        "similarity": None,
        "loss": [{"loss": "Captioning", "label_smoothing": text.get("label_smoothing", 0.0)}],
        "tokenizer": {**rules, "start_id": text.get("bos_token_id", DECODER_ID)},
    }


def write_config(row) -> dict:
    """The inverse of `read_row`: file name -> content."""
    image = row["image_encoder"]
    captions = row["model"] == "captioner"
    text = row["text_decoder"] if captions else row["text_encoder"]
    vision = {"model_type": "blip_vision_model", **layout.write_tower(image), **layout.write_images(image)}
    words = {
        "model_type": "blip_text_model",
        **bert.write_tower(text),
        "encoder_hidden_size": text["cross_width"],
        "sep_token_id": row["tokenizer"].get("eot_id", 102),
        "bos_token_id": row["tokenizer"]["start_id"] if captions else DECODER_ID,
        "is_decoder": True,
    }
    config = {
        "architectures": [CAPTIONS if captions else RETRIEVAL],
        "model_type": "blip",
        "vision_config": vision,
        "text_config": words,
        **({} if captions else {"image_text_hidden_size": image["embed_dim"]}),
    }
    return {"config.json": config, "preprocessor_config.json": write_steps(row, "BlipImageProcessor")}


FORMAT = of_transformers("blip", read_row, entries, DROP, HOLDS, write_config, harmless=harmless.BLIP)
