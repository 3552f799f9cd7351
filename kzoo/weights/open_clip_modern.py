"""The text tower that open_clip 4 calls modern: `text_arch="modern"`.

Read from open_clip 4.2.
"""

from kzoo.weights.mapping import (
    HALVES,
    HALVES_TRANSPOSE,
    TRANSPOSE,
    UNBATCHED,
    Entry,
    dense,
    fused_attention,
    norm,
)

KIND, ARCH = "modern_text", "modern"
FIELDS = (  # that no other tower of open_clip's own has
    "attention_bias",
    "attention_mode",
    "attn_gated",
    "gate_bias",
    "mlp_bias",
    "mlp_type",
    "norm_eps",
    "norm_placement",
    "norm_type",
    "pos_embed",
    "pre_norm",
    "qk_norm",
    "reg_tokens",
    "rope_temperature",
    "value_residual",
)
_POOLS = {"argmax": "end_of_text", "eos": "end_of_text", "mean": "mean", "map": "attention"}
_NORMS = {"rmsnorm": "rms", "layernorm": "layer", None: "rms"}
_MLPS = {"swiglu": ("swiglu", "gelu"), "mlp": ("plain", "gelu"), "relu2": ("plain", "squared_relu")}
_TOWER = "text_encoder"


def is_modern(text) -> bool:
    """Whether `text_cfg` describes such a tower."""
    return text.choice("text_arch", {"clip": False, ARCH: True}, "clip")


def read(text, embed_dim) -> dict:
    """The tower that `text_cfg` describes, as in a table of presets."""
    text.ignore("act_kwargs", "norm_kwargs", "no_causal_mask", "embed_cls", "hf_proj_type", "hf_pooler_type")
    text.refuse(reg_tokens=0, value_residual=False)
    width = text.get("width", 512)
    mlp, activation = text.choice("mlp_type", _MLPS, "swiglu")
    biased = bool(text.optional("attention_bias"))
    gate_biased = text.optional("gate_bias")
    gate_biased = biased if gate_biased is None else gate_biased
    rotary = text.choice("pos_embed", {"rope": True, "none": False, "": False}, "rope")
    norm_type = text.choice("norm_type", _NORMS, None)
    projected = text.choice("proj_type", {"linear": True, "none": False}, "linear")
    row = {
        "kind": KIND,
        "vocab_size": text.get("vocab_size", 49408),
        "context_length": text.get("context_length", 77),
        "width": width,
        "depth": text.get("layers", 12),
        "num_heads": text.get("heads", 8),
        "mlp_dim": int(width * text.get("mlp_ratio", 4.0)),
        "embed_dim": embed_dim if projected else None,
        "projection_bias": text.get("proj_bias", False),
        "causal": text.choice("attention_mode", {"causal": True, "bidirectional": False}, "causal"),
        "pool": text.choice("pool_type", _POOLS, "argmax"),
        "pad_id": text.get("pad_id", 0),
        "rotary_base": float(text.get("rope_temperature", 10000.0)) if rotary else None,
        "pre_norm": text.get("pre_norm", False),
        "norm": norm_type,
        "mlp": mlp,
        "activation": activation,
        "mlp_bias": bool(text.optional("mlp_bias")),
        "attention_bias": "all" if biased else "none",
        "head_norm": norm_type if text.get("qk_norm", False) else None,
        "gate": ("bias" if gate_biased else "plain") if text.get("attn_gated", False) else None,
        "sandwich": text.choice("norm_placement", {"pre": False, "sandwich": True}, "pre"),
        "layer_scale": text.optional("ls_init_value"),
        "epsilon": text.get("norm_eps", 1e-6),
    }
    if row["pool"] == "end_of_text":
        row["eot_id"] = text.get("eos_id")
    return row


def write(row) -> dict:
    """The inverse of `read`: fields of `text_cfg`.

    Raises:
        ValueError: an MLP that open_clip has not.
    """
    wanted = ("swiglu", "gelu") if row["mlp"] == "swiglu" else (row["mlp"], row["activation"])
    if wanted not in _MLPS.values():
        raise ValueError(f"open_clip's modern text tower has no {wanted[0]} MLP with activation {wanted[1]!r}")
    words = {
        "text_arch": ARCH,
        "variable_text": True,
        "context_length": row["context_length"],
        "vocab_size": row["vocab_size"],
        "width": row["width"],
        "heads": row["num_heads"],
        "layers": row["depth"],
        "mlp_ratio": row["mlp_dim"] / row["width"],
        "pad_id": row["pad_id"],
        "pool_type": next(theirs for theirs, ours in _POOLS.items() if theirs != "argmax" and ours == row["pool"]),
        "proj_type": "linear" if row["embed_dim"] is not None else "none",
        "proj_bias": row["projection_bias"],
        "attention_mode": "causal" if row["causal"] else "bidirectional",
        "pos_embed": "none" if row["rotary_base"] is None else "rope",
        "mlp_type": next(name for name, each in _MLPS.items() if each == wanted),
        "norm_type": next(theirs for theirs, ours in _NORMS.items() if ours == row["norm"]),
        "norm_eps": row["epsilon"],
        "norm_placement": "sandwich" if row["sandwich"] else "pre",
        "pre_norm": row["pre_norm"],
        "qk_norm": row["head_norm"] is not None,
        "attn_gated": row["gate"] is not None,
        "attention_bias": row["attention_bias"] == "all",
        "mlp_bias": row["mlp_bias"],
    }
    if row["rotary_base"] is not None:
        words["rope_temperature"] = row["rotary_base"]
    if row["gate"] is not None:
        words["gate_bias"] = row["gate"] == "bias"
    if row["layer_scale"] is not None:
        words["ls_init_value"] = row["layer_scale"]
    if row["pool"] == "end_of_text":
        words["eos_id"] = row["eot_id"]
    return words


def entries(text) -> list:
    """The lines of the tower that `text_cfg` describes."""
    block, layer = "text.blocks.{n}", f"{_TOWER}.blocks.{{n}}"
    attention, pool = f"{layer}.attention", f"{_TOWER}.attention_pool"
    plain = text.get("mlp_type", "swiglu") != "swiglu"

    def norms(tensor, name):
        if text.choice("norm_type", _NORMS, None) == "layer":
            return norm(tensor, name)
        return [Entry(f"{tensor}.weight", f"{name}.scale")]

    if plain:
        up = dense(f"{block}.mlp.c_fc", f"{layer}.mlp_up")
    else:
        parts = [f"{layer}.{name}" for name in ("mlp_up", "mlp_gate")]
        up = [
            Entry(f"{block}.mlp.w12.weight", tuple(f"{each}.kernel" for each in parts), HALVES_TRANSPOSE),
            Entry(f"{block}.mlp.w12.bias", tuple(f"{each}.bias" for each in parts), HALVES),
        ]
    key_value = [f"{pool}.attention.{name}" for name in ("key", "value")]
    return [
        Entry("text.token_embedding.weight", f"{_TOWER}.token_embedding"),
        *norms("text.norm_pre", f"{_TOWER}.pre_norm"),
        *norms(f"{block}.norm1", f"{layer}.norm_1"),
        *fused_attention(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", attention),
        *norms(f"{block}.attn.q_norm", f"{attention}.query_norm"),
        *norms(f"{block}.attn.k_norm", f"{attention}.key_norm"),
        *dense(f"{block}.attn.gate", f"{attention}.gate"),
        *dense(f"{block}.attn.proj", f"{attention}.out"),
        *norms(f"{block}.norm1_post", f"{layer}.norm_1_after"),
        Entry(f"{block}.ls1.gamma", f"{layer}.scale_1.gain"),
        *norms(f"{block}.norm2", f"{layer}.norm_2"),
        *up,
        *dense(f"{block}.mlp.{'c_proj' if plain else 'w3'}", f"{layer}.mlp_down"),
        *norms(f"{block}.norm2_post", f"{layer}.norm_2_after"),
        Entry(f"{block}.ls2.gamma", f"{layer}.scale_2.gain"),
        *norms("text.ln_final", f"{_TOWER}.final_norm"),
        Entry("text.pool.query", f"{pool}.probe", UNBATCHED),
        *dense("text.pool.q", f"{pool}.attention.query"),
        Entry("text.pool.kv.weight", tuple(f"{each}.kernel" for each in key_value), HALVES_TRANSPOSE),
        Entry("text.pool.kv.bias", tuple(f"{each}.bias" for each in key_value), HALVES),
        *norms("text.pool.q_norm", f"{pool}.attention.query_norm"),
        *norms("text.pool.k_norm", f"{pool}.attention.key_norm"),
        Entry("text.text_projection.weight", f"{_TOWER}.projection.final.kernel", TRANSPOSE),
        Entry("text.text_projection.bias", f"{_TOWER}.projection.final.bias"),
    ]
