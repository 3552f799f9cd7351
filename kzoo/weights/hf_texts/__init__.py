"""Text towers of transformers, as open_clip wraps them: a file for each kind, joined to the config by `joined`."""

from kzoo.weights.hf_texts.joined import (
    KINDS,
    OWN_CONFIG,
    TOKENS,
    hf_text_entries,
    is_known,
    read_hf_text,
    tokenizer_of_tower,
    write_hf_text,
)

__all__ = [
    "KINDS",
    "OWN_CONFIG",
    "TOKENS",
    "hf_text_entries",
    "is_known",
    "read_hf_text",
    "tokenizer_of_tower",
    "write_hf_text",
]
