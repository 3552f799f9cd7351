"""BERT, RoBERTa and XLM-R."""

from kzoo.weights import transformers_bert as bert
from kzoo.weights.hf_texts.hf_text import TENSORS, TOWER, HfText
from kzoo.weights.mapping import dense

_ROBERTA = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_XLM = _ROBERTA | {"model_type": "xlm-roberta", "vocab_size": 250002}
_BERT = _ROBERTA | {
    "model_type": "bert",
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
_BIOMEDICAL = ("BiomedBERT-base-uncased-abstract", "PubMedBERT-base-uncased-abstract")  # one tower, renamed
_FROM_PADDING = {"roberta": True, "xlm-roberta": True, "bert": False}


def read(config, tokens) -> dict:
    """The tower of a config."""
    roberta = config.choice("model_type", _FROM_PADDING, None)
    return bert.tower(config, tokens, token_types=2, positions_from_padding=roberta, pad_id=1 if roberta else 0)


def write(row) -> dict:
    """The config of a tower.

    Raises:
        ValueError: parts that these have not.
    """
    if row["token_dim"] or row["cross_width"]:
        raise ValueError("open_clip has no BERT tower with token_dim or cross-attention")
    return {"model_type": "xlm-roberta" if row["positions_from_padding"] else "bert", **bert.write_tower(row)}


def entries(row) -> list:
    """The lines of the tower."""
    return [*bert.body(TENSORS, TOWER), *dense(f"{TENSORS}.pooler.dense", f"{TOWER}.pooler")]


BERT = HfText(
    "bert",
    tuple(_FROM_PADDING),
    {
        "roberta-base": _ROBERTA,
        "roberta-large": _ROBERTA | _LARGE,
        "xlm-roberta-base": _XLM,
        "xlm-roberta-large": _XLM | _LARGE,
        "bert-base-uncased": _BERT,
        **{f"microsoft/BiomedNLP-{name}{of}": _BERT for name in _BIOMEDICAL for of in ("", "-fulltext")},
    },
    read,
    write,
    entries,
    pools={"mean_pooler": "mean", "cls_pooler": "pooler", "cls_last_hidden_state_pooler": "first"},
    tokenizers={"bert": ("wordpiece", 0), "roberta": ("roberta_bpe", 1), "xlm-roberta": ("xlm_roberta", 1)},
    default_pool=lambda model_type: "cls_pooler" if model_type == "bert" else "mean_pooler",
)
