"""Tokenizers as open_clip names them: its own of CLIP's vocabulary, and those of transformers by their repository.

Read from open_clip 3.3.0.
"""

from kzoo.weights.hf_texts import KINDS, tokenizer_of_tower

_KINDS = (  # what stands in the name of a tokenizer, the first that does decides; its kind and the id of its padding
    ("siglip2", ("gemma", 0)),
    ("siglip", ("sentencepiece", 1)),
    ("nllb", ("nllb", 1)),
    ("mt5", ("sentencepiece", 0)),
    ("xlm", ("xlm_roberta", 1)),
    ("roberta", ("roberta_bpe", 1)),
    ("bert", ("wordpiece", 0)),
)
_NAMES = {  # of a repository that has one, for towers of open_clip's own
    "sentencepiece": "timm/ViT-B-16-SigLIP",
    "gemma": "timm/ViT-B-16-SigLIP2",
    "wordpiece": "bert-base-uncased",
    "xlm_roberta": "facebook/xlm-v-base",
    "roberta_bpe": "roberta-base",
}
_CLEAN = {"canonicalize": "canonicalize", "lower": "openai", "whitespace": "whitespace"}


def read_tokenizer(text) -> dict:
    """Rules of the tokenizer that `text_cfg` names."""
    name, arguments = text.optional("hf_tokenizer_name") or "", text.part("tokenizer_kwargs", {})
    text.refuse(tokenizer_mode="")
    if text.choice("tokenizer_type", {"": False, "tiktoken": True}, ""):
        text.ignore("hf_tokenizer_name")
        clean = arguments.choice("clean", _CLEAN | {None: "none"}, None)
        name = text.get("tiktoken_name", "cl100k_base")
        return {"kind": f"tiktoken {name}", "clean": clean, "pad_id": text.get("pad_id", 0)}
    text.ignore("tiktoken_name")
    if not name:
        clean = arguments.choice("clean", _CLEAN, "lower")
        return {"kind": "clip_bpe", "pad_id": text.get("pad_id", 0), "clean": clean}
    found = next((found for part, found in _KINDS if part in name.lower()), None) or tokenizer_of_tower(text)
    if found is None:
        arguments.ignore("clean", "language", "strip_sep_token")
        return {"kind": name, "clean": "none", "pad_id": 0}
    kind, pad_id = found
    rules = {"kind": kind, "clean": arguments.choice("clean", _CLEAN, "whitespace"), "pad_id": pad_id}
    if arguments.optional("strip_sep_token"):
        rules["eot_id"] = 0
    if kind == "wordpiece" and "cased" in name.lower() and "uncased" not in name.lower():
        rules["lowercase"] = False
    language = arguments.optional("language")  # which other tokenizers warn of, and pass over
    return rules | ({"language": language} if language and kind == "nllb" else {})


def write_tokenizer(row) -> dict:
    """The inverse of `read_tokenizer`: fields of `text_cfg`, beside those that name a tower of transformers."""
    rules, own = row["tokenizer"], row["text_encoder"]["kind"] in KINDS
    kind = rules["kind"]
    if kind.startswith("tiktoken "):
        clean = {ours: theirs for theirs, ours in _CLEAN.items()}.get(rules.get("clean"))
        words = {"tokenizer_type": "tiktoken", "tiktoken_name": kind.removeprefix("tiktoken ")}
        return words | ({"tokenizer_kwargs": {"clean": clean}} if clean else {})
    if not own and kind not in _NAMES:
        return {}
    clean = {ours: theirs for theirs, ours in _CLEAN.items()}.get(rules.get("clean"))
    arguments = {"clean": clean} if clean not in (None, "whitespace") else {}
    if kind == "wordpiece" and rules.get("eot_id") == 0:
        arguments["strip_sep_token"] = True
    if rules.get("language"):
        arguments["language"] = rules["language"]
    words = {} if own else {"hf_tokenizer_name": _NAMES[kind]}
    return words | ({"tokenizer_kwargs": arguments} if arguments else {})
