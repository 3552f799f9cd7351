"""The encoder of mT5."""

from kzoo.weights.hf_texts.hf_text import TENSORS, TOWER, HfText
from kzoo.weights.mapping import TRANSPOSE, Entry

# their name of what the MLPs compute -> activation, and whether it is gated
_FEED_FORWARD = {
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
    "gated-relu": ("relu", True),
    "gated-quick_gelu": ("quick_gelu", True),
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "gelu_new": ("gelu_tanh", False),
    "silu": ("silu", False),
}
_SIZES = {  # width, depth, heads, MLP
    "small": (512, 8, 6, 1024),
    "base": (768, 12, 12, 2048),
    "large": (1024, 24, 16, 2816),
    "xl": (2048, 24, 32, 5120),
    "xxl": (4096, 24, 64, 10240),
}
_SIZE_FIELDS = ("d_model", "num_layers", "num_heads", "d_ff")
# of the decoder, and what its class makes of `feed_forward_proj` itself
_UNREAD = ("dense_act_fn", "is_encoder_decoder", "is_gated_act", "n_positions", "num_decoder_layers")


def read(config, tokens) -> dict:
    """The tower of a config."""
    config.ignore(*_UNREAD)
    activation, gated = config.choice("feed_forward_proj", _FEED_FORWARD, "gated-gelu")
    width, depth, num_heads, mlp_dim = map(config.get, _SIZE_FIELDS, _SIZES["small"])
    return {
        "kind": "t5",
        "vocab_size": config.get("vocab_size", 250112),
        "context_length": tokens,
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
        "head_width": config.get("d_kv", 64),
        "mlp_dim": mlp_dim,
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
        "pad_id": config.get("pad_token_id", 0),
        "activation": activation,
        "gated": gated,
        "dropout": config.get("dropout_rate", 0.1),
        "epsilon": config.get("layer_norm_epsilon", 1e-6),
    }


def write(row) -> dict:
    """The config of a tower.

    Raises:
        ValueError: an MLP that mT5 has no name for.
    """
    wanted = (row["activation"], row["gated"])
    name = next((name for name, each in _FEED_FORWARD.items() if each == wanted), None)
    if name is None:
        raise ValueError(f"mt5 has no MLP with activation {wanted[0]!r} and gated={wanted[1]}")
    return {
        "model_type": "mt5",
        **dict(zip(_SIZE_FIELDS, (row[field] for field in ("width", "depth", "num_heads", "mlp_dim")))),
        "d_kv": row["head_width"],
        "vocab_size": row["vocab_size"],
        "feed_forward_proj": name,
        "relative_attention_num_buckets": row["num_buckets"],
        "relative_attention_max_distance": row["max_distance"],
        "pad_token_id": row["pad_id"],
        "dropout_rate": row["dropout"],
        "layer_norm_epsilon": row["epsilon"],
    }


def entries(row) -> list:
    """The lines of the tower."""
    block, layer = f"{TENSORS}.block.{{n}}.layer", f"{TOWER}.blocks.{{n}}"
    attention, feed_forward = f"{block}.0.SelfAttention", f"{block}.1.DenseReluDense"
    dense = {
        **{f"{attention}.{name[0]}": f"attention.{name}" for name in ("query", "key", "value", "out")},
        f"{feed_forward}.wo": "mlp_down",
    }
    names = {"wi_0": "mlp_gate", "wi_1": "mlp_up"} if row["gated"] else {"wi": "mlp_up"}
    dense |= {f"{feed_forward}.{theirs}": ours for theirs, ours in names.items()}
    return [
        Entry(f"{TENSORS}.embed_tokens.weight", f"{TOWER}.token_embedding"),
        Entry(f"{TENSORS}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", f"{TOWER}.distance_embedding"),
        Entry(f"{block}.0.layer_norm.weight", f"{layer}.norm_1.scale"),
        Entry(f"{block}.1.layer_norm.weight", f"{layer}.norm_2.scale"),
        Entry(f"{TENSORS}.final_layer_norm.weight", f"{TOWER}.final_norm.scale"),
        *(Entry(f"{theirs}.weight", f"{layer}.{ours}.kernel", TRANSPOSE) for theirs, ours in dense.items()),
    ]


T5 = HfText(
    "t5",
    ("mt5",),
    {f"google/mt5-{size}": {"model_type": "mt5", **dict(zip(_SIZE_FIELDS, each))} for size, each in _SIZES.items()},
    read,
    write,
    entries,
    pools={"mean_pooler": "mean", "cls_pooler": "first", "cls_last_hidden_state_pooler": "first"},
    tokenizers={"mt5": ("sentencepiece", 0)},
    default_pool=lambda model_type: "mean_pooler",
)
