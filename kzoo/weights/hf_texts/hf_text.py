"""What a file of this room says of one kind of text towers of transformers."""

from collections.abc import Callable
from dataclasses import dataclass

TENSORS, TOWER = "text.transformer", "text_encoder"  # where open_clip has the tensors, and the model their tower


@dataclass(frozen=True)
class HfText:
    """One kind of text towers: which configs are its, what they build, and how its tensors are called.

    Args:
        kind: of the tower that it becomes, as in a table of presets.
        model_types: of the configs.
        configs: name of a released tower on the hub -> its config, which open_clip asks the hub for.
        read: function of the `Fields` of a config and the ids per text; gives the tower as in a table of presets,
            without its pool and projection.
        write: the inverse: function of a row; gives the config.
        entries: function of a row; gives the map, from `text.transformer` to `text_encoder`.
        pools: what the config calls `hf_pooler_type` -> the pool of the tower.
        tokenizers: `model_type` -> kind of the vocabulary and id of its padding.
        default_pool: function of the `model_type`; gives the name of the pool where the config says null.
    """

    kind: str
    model_types: tuple
    configs: dict
    read: Callable
    write: Callable
    entries: Callable
    pools: dict
    tokenizers: dict
    default_pool: Callable
