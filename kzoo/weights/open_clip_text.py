"""Text towers as open_clip stores them: its own transformer, with CoCa's class embedding or without, and those of
transformers; and CoCa's decoder.

Read from open_clip 3.3.0.
"""

from kzoo.weights import open_clip_modern as modern
from kzoo.weights.hf_texts import KINDS, TOKENS, hf_text_entries, read_hf_text, write_hf_text
from kzoo.weights.mapping import ROW, Entry, dense, norm
from kzoo.weights.open_clip_vision import OF_A_TRANSFORMER, activation, blocks, epsilon, written_numerics

VOCABULARY = 49408  # ids, where the config says nothing
POOLS = {"argmax": "end_of_text", "eos": "end_of_text", "last": "last"}

_OF_ITS_OWN = (  # fields that a tower of transformers is not given
    *OF_A_TRANSFORMER,
    "embed_cls",
    "no_causal_mask",
    "proj_bias",
    "proj_type",
    "vocab_size",
)


def text_entries(model, prefix) -> list:
    """The lines of the text tower that `model_cfg` describes; `prefix` is `"text."` or nothing."""
    text = model.part("text_cfg")
    if text.optional("hf_model_name"):
        return hf_text_entries(text)
    if modern.is_modern(text):
        return modern.entries(text)
    if text.get("proj_bias", False):
        projection = dense(f"{prefix}text_projection", "text_encoder.projection")
    else:
        projection = [Entry(f"{prefix}text_projection", "text_encoder.projection.kernel")]  # used as x @ projection
    return [
        Entry(f"{prefix}token_embedding.weight", "text_encoder.token_embedding"),
        Entry(f"{prefix}positional_embedding", "text_encoder.position_embedding"),
        Entry(f"{prefix}cls_emb", "text_encoder.class_embedding", ROW),
        *blocks(f"{prefix}transformer.resblocks.{{n}}", "text_encoder"),
        *norm(f"{prefix}ln_final", "text_encoder.final_norm"),
        *projection,
    ]


DECODER = [
    *blocks("text_decoder.resblocks.{n}", "text_decoder"),
    *blocks("text_decoder.cross_attn.{n}", "text_decoder", "cross_blocks"),
    *norm("text_decoder.ln_final", "text_decoder.final_norm"),
    Entry("text_decoder.text_projection", "text_decoder.head.kernel"),
]


def read_text(model) -> dict:
    """The text tower that `model_cfg` describes, as in a table of presets."""
    text, embed_dim = model.part("text_cfg"), model.get("embed_dim")
    if text.optional("hf_model_name"):
        text.ignore(*_OF_ITS_OWN)
        text.refuse(text_arch="clip")
        return read_hf_text(text, embed_dim)
    if modern.is_modern(text):
        return modern.read(text, embed_dim)
    text.ignore("hf_proj_type", "hf_pooler_type")
    width, vocab_size = text.get("width", 512), text.get("vocab_size", VOCABULARY)
    row = {
        "kind": "text_transformer",
        "vocab_size": vocab_size,
        "context_length": text.get("context_length", TOKENS),
        "width": width,
        "depth": text.get("layers", 12),
        "num_heads": text.get("heads", 8),
        "mlp_dim": int(width * text.get("mlp_ratio", 4.0)),
        "activation": activation(text, model.get("quick_gelu", False)),
        "epsilon": epsilon(text),
        "layer_scale": text.optional("ls_init_value"),
        "causal": not text.get("no_causal_mask", False),
        "embed_dim": embed_dim,
        "pool": text.choice("pool_type", POOLS, "argmax"),
        # argmax finds the largest id, which is the last of the vocabulary
        "eot_id": text.get("eos_id", 2) if text.get("pool_type", "argmax") == "eos" else vocab_size - 1,
        "projection_bias": text.get("proj_bias", False),
    }
    if text.choice("proj_type", {"linear": False, None: False, "none": True}, "linear"):
        row["embed_dim"] = None
    if text.get("embed_cls", False):
        exact = text.get("correct_cls_mask", False)
        row |= {
            "pool": "class_embedding",
            "pad_id": text.get("pad_id", 0),
            "class_mask": "exact" if exact else "shifted",
        }
    return row


def read_decoder(model, image, text) -> dict:
    """CoCa's decoder between two towers, as in a table of presets.

    Raises:
        ValueError: a tower that gives no tokens in open_clip, or none that the decoder could read.
    """
    config = model.part("multimodal_cfg")
    if modern.is_modern(config) or modern.is_modern(model.part("text_cfg")):
        raise ValueError(f"{config.place} is of a decoder of modern blocks, which this version cannot build.")
    width = config.get("width", 512)
    if image["kind"] != "vit" or "timm_model_name" in model.part("vision_cfg"):
        raise ValueError(f"{config.place} is of a decoder that reads tokens, but only the ViT of open_clip gives them.")
    if model.part("text_cfg").optional("hf_pooler_type") == "cls_pooler":
        raise ValueError(
            f"{config.place} is of a decoder that reads all tokens, but hf_pooler_type='cls_pooler' takes one away."
        )
    widths = {"vision_cfg": image["embed_dim"] if image["pool"] == "queries" else image["width"]}
    for part, tokens in {**widths, "text_cfg": text["width"]}.items():
        if tokens != width:
            raise ValueError(f"{config.place} says width={width}, but the tokens of {part} have {tokens} channels.")
    return {
        "kind": "multimodal_decoder",
        "vocab_size": model.part("text_cfg").get("vocab_size", VOCABULARY),  # whatever the text tower has
        "width": width,
        "depth": config.get("layers", 12),
        "num_heads": config.get("heads", 8),
        "mlp_dim": 4 * width,
        "activation": "quick_gelu" if model.get("quick_gelu", False) else "gelu",
        "layer_scale": config.optional("ls_init_value"),
        "epsilon": 1e-5,
    }


def write_text(row) -> tuple:
    """The inverse of `read_text`: `text_cfg`, and other files by name.

    Raises:
        ValueError: a tower that open_clip has not.
    """
    text = row["text_encoder"]
    if text["kind"] in KINDS:
        return write_hf_text(text, row.get("layout", {}))
    if text["kind"] == modern.KIND:
        return modern.write(text), {}
    words = {
        "context_length": text["context_length"],
        "vocab_size": text["vocab_size"],
        "width": text["width"],
        "heads": text["num_heads"],
        "layers": text["depth"],
        "mlp_ratio": text["mlp_dim"] / text["width"],
        "proj_bias": text["projection_bias"],
        "no_causal_mask": not text["causal"],
        **written_numerics(text),
    }
    if text["embed_dim"] is None:
        words["proj_type"] = "none"
    if text["pool"] == "class_embedding":
        words |= {"embed_cls": True, "output_tokens": True, "pad_id": text["pad_id"]}
        if text["class_mask"] == "exact" or row["image_encoder"].get("query_projection") is False:  # of open_clip 4
            words["correct_cls_mask"] = text["class_mask"] == "exact"
    elif text["pool"] == "last":
        words["pool_type"] = "last"
    elif text["eot_id"] != text["vocab_size"] - 1:
        words |= {"pool_type": "eos", "eos_id": text["eot_id"]}
    return words, {}


def write_decoder(decoder, text) -> dict:
    """The inverse of `read_decoder`: `multimodal_cfg`."""
    return {
        "context_length": text["context_length"],
        "vocab_size": decoder["vocab_size"],
        "width": decoder["width"],
        "heads": decoder["num_heads"],
        "layers": decoder["depth"],
        **({"ls_init_value": decoder["layer_scale"]} if decoder["layer_scale"] is not None else {}),
    }
