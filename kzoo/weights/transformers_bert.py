"""BERT and its kin (RoBERTa, XLM-R, BLIP's) as transformers stores them inside of larger models."""

from kzoo.weights import transformers_layout as layout
from kzoo.weights.mapping import Entry, dense, norm

DROP = ("*.pooler.dense.weight", "*.pooler.dense.bias")  # stored, and read by none of these models


def body(tensor, tower) -> list:
    """The lines of a BERT: `tensor` and `tower` are what stands before `embeddings` and `blocks`."""
    block, layer = f"{tensor}.encoder.layer.{{n}}", f"{tower}.blocks.{{n}}"
    tables = {"word": "token", "position": "position", "token_type": "type"}
    return [
        *(
            Entry(f"{tensor}.embeddings.{theirs}_embeddings.weight", f"{tower}.{ours}_embedding")
            for theirs, ours in tables.items()
        ),
        *norm(f"{tensor}.embeddings.LayerNorm", f"{tower}.embedding_norm"),
        *_attention(f"{block}.attention", f"{layer}.attention", f"{layer}.attention_norm"),
        *_attention(f"{block}.crossattention", f"{layer}.cross_attention", f"{layer}.cross_norm"),
        *dense(f"{block}.intermediate.dense", f"{layer}.mlp_up"),
        *dense(f"{block}.output.dense", f"{layer}.mlp_down"),
        *norm(f"{block}.output.LayerNorm", f"{layer}.mlp_norm"),
    ]


def _attention(tensor, attention, after):
    return [
        *dense(f"{tensor}.self.query", f"{attention}.query"),
        *dense(f"{tensor}.self.key", f"{attention}.key"),
        *dense(f"{tensor}.self.value", f"{attention}.value"),
        *dense(f"{tensor}.output.dense", f"{attention}.out"),
        *norm(f"{tensor}.output.LayerNorm", after),
    ]


def tower(text, tokens, **defaults) -> dict:
    """A `BertEncoder` without its projection.

    Args:
        text: `Fields` of the text config.
        tokens: ids per text that the family's processor gives; a shorter position table gives fewer.
        defaults: of the family's config class.
    """
    defaults = {"width": 768, "num_heads": 12, "mlp_dim": 3072, "activation": "gelu", "epsilon": 1e-12} | defaults
    pad_id = text.get("pad_token_id", defaults.get("pad_id", 0))
    num_positions = text.get("max_position_embeddings", defaults.get("num_positions", 512))
    from_padding = defaults.get("positions_from_padding", False)
    return {
        "kind": "bert",
        "vocab_size": text.get("vocab_size", defaults.get("vocab_size", 30522)),
        "context_length": min(tokens, num_positions - (pad_id + 1 if from_padding else 0)),
        "num_positions": num_positions,
        **({"positions_from_padding": True} if from_padding else {}),
        "token_types": text.get("type_vocab_size", defaults["token_types"]) if defaults["token_types"] else 0,
        **layout.tower(text, **defaults),
        "dropout": text.get("hidden_dropout_prob", 0.1),
        "pad_id": pad_id,
    }


def write_tower(row) -> dict:
    """The inverse of `tower`."""
    config = {
        **layout.write_tower(row),
        "vocab_size": row["vocab_size"],
        "max_position_embeddings": row["num_positions"],
        "pad_token_id": row["pad_id"],
        "hidden_dropout_prob": row["dropout"],
        "attention_probs_dropout_prob": 0.0,
    }
    return config | ({"type_vocab_size": row["token_types"]} if row["token_types"] else {})
