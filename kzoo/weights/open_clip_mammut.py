"""MaMMUT as open_clip 4 and LAION's fork of open_clip store it: one decoder, which embeds texts and writes captions.

Read from LAION's fork (commit ed2d1f6) and from `mammut_model.py` of open_clip 4.2 with its tests. The fork says it in
`text_cfg` and averages over padding, as its released weights were trained; open_clip 4 says it in `multimodal_cfg`, and
hides padding unless it is told not to.
"""

from kzoo.weights import open_clip_modern as modern
from kzoo.weights.fields import Fields
from kzoo.weights.mapping import Entry, norm
from kzoo.weights.open_clip_vision import blocks, is_of_timm

KIND = "tower_decoder"
_NOT_GIVEN = (  # fields of a text tower that its decoder is not given
    *("act_kwargs", "norm_kwargs", "embed_cls", "no_causal_mask", "correct_cls_mask", "final_ln_after_pool"),
    *("hf_proj_type", "hf_pooler_type", "attn_pooler_heads", "n_queries"),
)
_OF_OPEN_CLIP_4 = ("pool_type", "proj_type", "proj_bias", "use_pad_mask", "mlp_ratio", "pad_id")
_POOLS = {None: True, "avg_all": False}  # whether padding is left out


def part_of(model) -> Fields | None:
    """The part of `model_cfg` that describes such a decoder, as `Fields`; None where there is none."""
    if "text_cfg" not in model and "multimodal_cfg" in model:
        return model.part("multimodal_cfg")
    text = model.part("text_cfg")
    return text if "does_full_decoding" in text or "cross_attn_ratio" in text else None


def _is_of_the_fork(model):
    return "text_cfg" in model


def entries(model, names) -> list:
    """The lines of the text tower and its decoder; `names` are those of the stored tensors, if there are any yet."""
    # open_clip 4 opens weights of the fork, too, and tells them by the name of the last layer
    ours = "text.lm_head" in names or not (names or _is_of_the_fork(model))
    head = "text.lm_head" if ours else "text.text_projection"
    projection = [Entry("text.text_projection", "text_encoder.projection.kernel")] if ours else []
    return [
        Entry("text.token_embedding.weight", "text_encoder.token_embedding"),
        Entry("text.positional_embedding", "text_encoder.position_embedding"),
        *blocks("text.resblocks.{n}", "text_encoder"),
        *blocks("text.cross_attn.{n}", "text_decoder", "cross_blocks"),
        *norm("text.ln_final", "text_encoder.final_norm"),
        *projection,
        Entry(head, "text_decoder.head.kernel"),  # a parameter, used as x @ head
        Entry("map_viz2txt_kv", "text_decoder.context_projection.kernel"),  # likewise
    ]


def read(model, image) -> tuple:
    """Text tower and decoder that `model_cfg` describes, as in a table of presets.

    Raises:
        ValueError: modern blocks, an image tower that gives no tokens, or widths that do not fit.
    """
    words, embed_dim, fork = part_of(model), model.get("embed_dim"), _is_of_the_fork(model)
    words.ignore(*_NOT_GIVEN, *(_OF_OPEN_CLIP_4 if fork else ()))
    words.refuse(hf_model_name=None)
    if modern.is_modern(words):
        raise ValueError(f"{words.place} is of MaMMUT with modern blocks, which this version cannot build.")
    vision = model.part("vision_cfg")
    if is_of_timm(vision) or image["kind"] != "vit" or image["pool"] == "queries":
        raise ValueError(
            f"{words.place} is of MaMMUT, whose decoder reads the tokens of an image tower, of which this version "
            "gives it those of open_clip's ViT without attentional_pool."
        )
    width, depth, ratio = words.get("width", 512), words.get("layers", 12), words.get("cross_attn_ratio", 1)
    crossed = depth // ratio
    if not crossed or depth % crossed:
        raise ValueError(
            f"{words.place} says layers={depth} and cross_attn_ratio={ratio}, which leaves no equal number of blocks "
            "for each of its blocks with cross-attention."
        )
    projected, masked, bare = _of_the_fork(words) if fork else _of_open_clip_4(words)
    if not projected and width != embed_dim:
        raise ValueError(
            f"{words.place} says width={width}, which is that of the text embedding, but embed_dim={embed_dim}."
        )
    shared = {
        "vocab_size": words.get("vocab_size", 49408),
        "width": width,
        "depth": depth,
        "num_heads": words.get("heads", 8),
        "mlp_dim": 4 * width if fork else int(width * words.get("mlp_ratio", 4.0)),
        "activation": "quick_gelu" if model.get("quick_gelu", False) else "gelu",
        "layer_scale": words.optional("ls_init_value"),
        "epsilon": 1e-5,
    }
    every = depth // crossed
    text = shared | {
        "kind": "text_transformer",
        "context_length": words.get("context_length", 77),
        "embed_dim": embed_dim if projected else None,
        "causal": False,
        "pool": "average",
        "mask_padding": masked,
        "pad_id": 0 if fork else words.get("pad_id", 0),
        "bare_every": every if bare else None,
    }
    return text, shared | {"kind": KIND, "context_width": image["width"], "cross_every": every}


def _of_the_fork(words):
    """Whether texts are projected, padding is hidden, and blocks before cross-attention have no MLP."""
    words.choice("does_full_decoding", {True: None}, False)
    return False, False, not words.get("has_mlp", True)


def _of_open_clip_4(words):
    masked = words.choice("pool_type", _POOLS, None)
    words.refuse(has_mlp=True, proj_bias=False)
    words.choice("use_pad_mask", {masked: None}, True)  # the mean is of what the attention sees
    return words.choice("proj_type", {"linear": True, "none": False}, "none"), masked, False


def write(text, decoder) -> dict:
    """The inverse of `read`: `text_cfg` or `multimodal_cfg`, by its name.

    What the fork can say is said as it does, which open_clip 4 reads, too.

    Raises:
        ValueError: a decoder that neither has.
    """
    words = {
        "context_length": text["context_length"],
        "vocab_size": text["vocab_size"],
        "width": text["width"],
        "heads": text["num_heads"],
        "layers": text["depth"],
        "cross_attn_ratio": decoder["cross_every"],
        "output_tokens": True,
    }
    if text["layer_scale"] is not None:
        words["ls_init_value"] = text["layer_scale"]
    plain = text["embed_dim"] is None and text["mlp_dim"] == 4 * text["width"] and text["pad_id"] == 0
    if not text["mask_padding"] and plain:
        return {"text_cfg": words | {"does_full_decoding": True, "has_mlp": text["bare_every"] is None}}
    if text["bare_every"] is not None:
        raise ValueError("open_clip has blocks without an MLP in LAION's fork alone, which projects and masks nothing")
    words |= {
        "mlp_ratio": text["mlp_dim"] / text["width"],
        "pad_id": text["pad_id"],
        "proj_type": "none" if text["embed_dim"] is None else "linear",
    }
    if not text["mask_padding"]:
        words |= {"pool_type": "avg_all", "use_pad_mask": False}
    return {"multimodal_cfg": words}
