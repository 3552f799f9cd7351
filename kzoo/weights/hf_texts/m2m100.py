"""The encoder of M2M-100 and NLLB."""

from kzoo.weights.hf_texts.hf_text import TENSORS, TOWER, HfText
from kzoo.weights.mapping import Entry, dense, norm
from kzoo.weights.transformers_layout import ACTIVATIONS, NAMES

_SIZES = {  # width, depth, heads, MLP
    "nllb-200-distilled-600M": (1024, 12, 16, 4096),
    "nllb-200-distilled-1.3B": (1024, 24, 16, 8192),
    "nllb-200-1.3B": (1024, 24, 16, 8192),
    "nllb-200-3.3B": (2048, 24, 16, 8192),
}
_SIZE_FIELDS = ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim")
_UNREAD = (  # of the decoder, of training, and of fairseq's models, whose fields older files hold
    *("decoder_attention_heads", "decoder_ffn_dim", "decoder_layerdrop", "decoder_layers", "is_encoder_decoder"),
    *("activation_dropout", "classif_dropout", "encoder_layerdrop", "init_std"),
    *("add_bias_logits", "add_final_layer_norm", "extra_pos_embeddings", "force_bos_token_to_be_generated"),
    *("max_position_embeddings", "normalize_before", "normalize_embedding", "num_hidden_layers"),
    "static_position_embeddings",
)


def read(config, tokens) -> dict:
    """The tower of a config."""
    config.ignore(*_UNREAD)
    width, depth, num_heads, mlp_dim = map(config.get, _SIZE_FIELDS, _SIZES["nllb-200-distilled-600M"])
    return {
        "kind": "m2m100",
        "vocab_size": config.get("vocab_size", 128112),
        "context_length": tokens,  # positions are computed, for texts of any length
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
        "mlp_dim": mlp_dim,
        "scale_embedding": config.get("scale_embedding", True),
        "pad_id": config.get("pad_token_id", 1),
        "activation": config.choice("activation_function", ACTIVATIONS, "relu"),
        "dropout": config.get("dropout", 0.1),
        "epsilon": 1e-5,
    }


def write(row) -> dict:
    """The config of a tower."""
    return {
        "model_type": "m2m_100",
        **dict(zip(_SIZE_FIELDS, (row[field] for field in ("width", "depth", "num_heads", "mlp_dim")))),
        "vocab_size": row["vocab_size"],
        "scale_embedding": row["scale_embedding"],
        "pad_token_id": row["pad_id"],
        "activation_function": NAMES[row["activation"]],
        "dropout": row["dropout"],
    }


def entries(row) -> list:
    """The lines of the tower."""
    block, layer = f"{TENSORS}.layers.{{n}}", f"{TOWER}.blocks.{{n}}"
    return [
        Entry(f"{TENSORS}.embed_tokens.weight", f"{TOWER}.token_embedding"),
        *norm(f"{block}.self_attn_layer_norm", f"{layer}.norm_1"),
        *dense(f"{block}.self_attn.q_proj", f"{layer}.attention.query"),
        *dense(f"{block}.self_attn.k_proj", f"{layer}.attention.key"),
        *dense(f"{block}.self_attn.v_proj", f"{layer}.attention.value"),
        *dense(f"{block}.self_attn.out_proj", f"{layer}.attention.out"),
        *norm(f"{block}.final_layer_norm", f"{layer}.norm_2"),
        *dense(f"{block}.fc1", f"{layer}.mlp_up"),
        *dense(f"{block}.fc2", f"{layer}.mlp_down"),
        *norm(f"{TENSORS}.layer_norm", f"{TOWER}.final_norm"),
    ]


M2M100 = HfText(
    "m2m100",
    ("m2m_100",),
    {
        f"facebook/{name}": {"model_type": "m2m_100", "vocab_size": 256206, **dict(zip(_SIZE_FIELDS, sizes))}
        for name, sizes in _SIZES.items()
    },
    read,
    write,
    entries,
    # it has no pooler, whose output "cls_pooler" would take
    pools={"mean_pooler": "mean", "cls_pooler": "first", "cls_last_hidden_state_pooler": "first"},
    tokenizers={"m2m_100": ("nllb", 1)},
    default_pool=lambda model_type: "cls_pooler",
)
