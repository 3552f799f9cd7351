"""How open_clip joins a text tower of transformers to its config: which tower, which pool, and whose projection."""

from pathlib import PurePosixPath

from kzoo.weights.fields import Fields
from kzoo.weights.hf_texts.bert import BERT
from kzoo.weights.hf_texts.hf_text import TOWER
from kzoo.weights.hf_texts.m2m100 import M2M100
from kzoo.weights.hf_texts.t5 import T5
from kzoo.weights.mapping import TRANSPOSE, Entry

TEXTS = (BERT, T5, M2M100)
KINDS = {text.kind for text in TEXTS}
TOKENS = 77  # to which open_clip pads where the config says nothing
OWN_CONFIG = "text_tower/config.json"  # where the config of a tower lies, beside the weights
CONFIGS = {name: config for text in TEXTS for name, config in text.configs.items()}
_BY_LAST = {PurePosixPath(name).name: config for name, config in CONFIGS.items()}  # whoever has a copy of it
_BY_TYPE = {model_type: text for text in TEXTS for model_type in text.model_types}


def read_hf_text(text, embed_dim) -> dict:
    """The tower that `text_cfg` names, as in a table of presets.

    Raises:
        ValueError: a tower, pool or projection that is not known.
    """
    kind, config = _found(text)
    row = kind.read(config, text.get("context_length", TOKENS))
    pooler = _pooler(text) or kind.default_pool(config.get("model_type"))
    if pooler not in kind.pools:
        raise ValueError(
            f"{text.place} says hf_pooler_type={pooler!r}; this version knows {', '.join(map(repr, kind.pools))}."
        )
    row["pool"] = kind.pools[pooler]
    projection = _projection(text)
    if projection == "mlp":
        row["hidden_dim"] = (row["width"] + embed_dim) // 2
    elif projection not in ("linear", None):
        raise ValueError(f"{text.place} says hf_proj_type={projection!r}; this version knows 'mlp' and 'linear'.")
    return row if projection is None and row["width"] == embed_dim else row | {"embed_dim": embed_dim}


def hf_text_entries(text) -> list:
    """The lines of the tower that `text_cfg` names."""
    final = "text.proj.2.weight" if _projection(text) == "mlp" else "text.proj.weight"
    kind, config = _found(text)
    return [
        *kind.entries(kind.read(config, TOKENS)),
        Entry("text.proj.0.weight", f"{TOWER}.projection.hidden.kernel", TRANSPOSE),
        Entry(final, f"{TOWER}.projection.final.kernel", TRANSPOSE),
    ]


def _found(text):
    """The kind of the tower that `text_cfg` names, and the fields of its config."""
    name = text.get("hf_model_name")
    known = _BY_LAST.get(PurePosixPath(name).name)
    if not text.optional("hf_config") and known is None:
        raise ValueError(
            f"{text.place} says hf_model_name={name!r}; this version knows {', '.join(CONFIGS)}, or reads the tower's "
            f"own config from {OWN_CONFIG} in the folder."
        )
    config = text.part("hf_config", known, OWN_CONFIG)
    return config.choice("model_type", _BY_TYPE, None), config


def tokenizer_of_tower(text) -> tuple | None:
    """Kind of the vocabulary and id of its padding of the tower that `text_cfg` names; None where it names none."""
    if not text.optional("hf_model_name"):
        return None
    kind, config = _found(text)
    return kind.tokenizers[config.get("model_type")]


def _pooler(text):
    """What `hf_pooler_type` says; None for that of the kind. `pooler_type` is what older versions called it."""
    names = [name for name in ("pooler_type", "hf_pooler_type") if name in text]
    if names and all(text.optional(name) is None for name in names):
        return None
    return text.renamed("pooler_type", "hf_pooler_type", "mean_pooler")


def _projection(text):
    """`"mlp"`, `"linear"` or None; `proj` is what older versions called it."""
    names = [name for name in ("hf_proj_type", "proj") if name in text]
    found = {text.optional(name) for name in names} or {"mlp"}
    if len(found) > 1:
        raise ValueError(f"{text.place} says {' and '.join(names)}, which are one field, with two values.")
    return found.pop() or None


def is_known(name, config) -> bool:
    """Whether the hub's tower of this name is that of a config."""
    known = CONFIGS.get(name, {})
    return bool(known) and _plain(known) == _plain(config)


def _plain(config):
    """The tower of a config, whatever the config leaves out."""
    return _BY_TYPE[config["model_type"]].read(Fields(config, OWN_CONFIG), TOKENS)


def write_hf_text(text, layout) -> tuple:
    """The inverse of `read_hf_text`: `text_cfg`, and other files by name.

    Args:
        text: the tower, as in a table of presets.
        layout: of the row: the names that it was read by, if it was.

    Raises:
        ValueError: a pool or projection that open_clip has not.
    """
    kind = next(each for each in TEXTS if each.kind == text["kind"])
    config = kind.write(text)
    names = (layout.get("hf_model_name"), *kind.configs)
    name = next((name for name in names if is_known(name, config)), None)
    own = OWN_CONFIG.partition("/")[0]
    words = {
        "hf_model_name": name or own,
        "hf_tokenizer_name": layout.get("hf_tokenizer_name") or name or own,
        "hf_pooler_type": next((theirs for theirs, ours in kind.pools.items() if ours == text["pool"]), None),
        "hf_proj_type": "mlp" if text["hidden_dim"] else "linear" if text["embed_dim"] else None,
        "context_length": text["context_length"],
    }
    if words["hf_pooler_type"] is None or text["projection_bias"]:
        raise ValueError(f"open_clip has no tower of kind {text['kind']!r} with this pool or projection")
    return words, ({} if name else {OWN_CONFIG: config})
