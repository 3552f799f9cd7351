"""Another library's config, read field by field with a sentence where one is not understood."""

from collections.abc import Iterator
from typing import Any

from kzoo.files.schema import (
    BLOCKS,
    DEVIATIONS,
    EPSILON,
    FLAG,
    ID,
    LENGTH,
    LIST,
    MEANS,
    NULL,
    OBJECT,
    RATE,
    SIDE,
    SIZE,
    TEXT,
    TOKENS,
    WIDTH,
    Object,
    Rule,
    number,
    several,
    shown,
    whole,
    written,
)

FACTOR = number(0.0, 100.0, beyond=True)
OF_STAGES = several(whole(1, "WIDTH"), 1, 64)
FIELDS = {  # of transformers and open_clip, whose names mean one thing wherever they stand
    "act_kwargs": Object({"approximate": TEXT | NULL}),
    "architectures": LIST | NULL,
    "attentional_pool": FLAG | TEXT,
    "attn_pooler_heads": WIDTH,
    "attn_pooler_queries": LENGTH,
    "batch_norm_eps": EPSILON,
    "batch_norm_momentum": number(0.0, 1.0),
    "bos_token_id": ID,
    "context_length": LENGTH,
    "crop_size": SIDE | OBJECT,
    "custom_text": FLAG,
    "d_ff": WIDTH,
    "d_kv": WIDTH,
    "d_model": WIDTH,
    "depth_coefficient": FACTOR,
    "depth_divisor": WIDTH,
    "depthwise_padding": several(BLOCKS, 0, 1000),
    "do_center_crop": FLAG,
    "dropout": RATE,
    "dropout_rate": RATE,
    "embed_cls": FLAG,
    "embed_dim": WIDTH,
    "encoder_attention_heads": WIDTH,
    "encoder_ffn_dim": WIDTH,
    "encoder_hidden_size": WIDTH,
    "encoder_layers": BLOCKS,
    "eos_id": ID,
    "eos_token_id": ID,
    "expand_ratios": OF_STAGES,
    "final_ln_after_pool": FLAG,
    "head_width": WIDTH,
    "heads": WIDTH,
    "hf_config": OBJECT,
    "hf_model_name": TEXT,
    "hf_pooler_type": TEXT,
    "hf_proj_type": TEXT,
    "hf_tokenizer_name": TEXT,
    "hidden_dropout_prob": RATE,
    "hidden_size": WIDTH,
    "image_mean": MEANS,
    "image_size": SIZE,
    "image_std": DEVIATIONS,
    "image_text_hidden_size": WIDTH,
    "in_channels": OF_STAGES,
    "init_logit_bias": number(-1e30, 1e30),
    "intermediate_size": WIDTH,
    "interpolation": TEXT,
    "kernel_sizes": OF_STAGES,
    "label_smoothing": RATE,
    "layer_norm_eps": EPSILON,
    "layer_norm_epsilon": EPSILON,
    "layers": Rule(
        lambda: f"{BLOCKS} or a list of them",
        lambda value: BLOCKS.accepts(value) or several(BLOCKS, 1, 16).accepts(value),
    ),
    "ls_init_value": number(-1e6, 1e6),
    "max_num_patches": LENGTH,
    "max_position_embeddings": LENGTH,
    "mean": MEANS,
    "mlp_ratio": number(0.0, 1000.0, beyond=True),
    "model_type": TEXT,
    "no_causal_mask": FLAG,
    "no_ln_pre": FLAG,
    "nonscalar_logit_scale": FLAG,
    "norm_kwargs": Object({"eps": EPSILON}),
    "num_attention_heads": WIDTH,
    "num_block_repeats": OF_STAGES,
    "num_heads": WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_layers": BLOCKS,
    "num_patches": LENGTH,
    "out_channels": OF_STAGES,
    "pad_id": ID,
    "pad_token_id": ID,
    "patch_size": SIDE,
    "pool_type": TEXT,
    "proj_bias": FLAG,
    "proj_type": TEXT,
    "project_dim": WIDTH,
    "projection_dim": WIDTH,
    "projection_size": WIDTH,
    "quick_gelu": FLAG,
    "relative_attention_max_distance": LENGTH,
    "relative_attention_num_buckets": LENGTH,
    "rescale_factor": FACTOR,
    "resize_mode": TEXT,
    "scale_embedding": FLAG,
    "size": Rule("a side or an object of sides", lambda value: SIDE.accepts(value) or _are_sides(value)),
    "squeeze_expansion_ratio": number(0.0, 1.0),
    "std": DEVIATIONS,
    "strides": OF_STAGES,
    "timm_model_args": OBJECT,
    "timm_model_name": TEXT,
    "timm_pool": TEXT,
    "timm_proj": TEXT,
    "timm_proj_bias": FLAG,
    "tokenizer_kwargs": Object({"clean": TEXT, "strip_sep_token": FLAG | NULL, "language": TEXT | NULL}),
    "type_vocab_size": whole(0, "WIDTH"),
    "use_square_size": FLAG,
    "vocab_size": TOKENS,
    "width": WIDTH,
    "width_coefficient": FACTOR,
}


PARTS = ("text_config", "vision_config", "model_cfg", "text_cfg", "vision_cfg", "multimodal_cfg", "preprocess_cfg")


class Fields:
    """A dict of a config file that names itself in its errors.

    Args:
        values: content.
        place: name of the file and of the part, for messages.
    """

    def __init__(self, values, place):
        if not isinstance(values, dict):
            raise ValueError(f"{place} holds {written(values)}, but an object is expected.")
        self.values, self.place = values, place

    def __contains__(self, name) -> bool:
        return name in self.values

    def get(self, name, default=None) -> Any:
        """A field, of the kind that `FIELDS` says; without a default it must be there."""
        value = self.values.get(name, default)
        if value is None:
            raise ValueError(f"{self.place} has no {name!r}, which the architecture needs.")
        return self._checked(name)[name] if name in self.values else value

    def optional(self, name) -> Any:
        """A field that may be null or lacking, which is None."""
        return None if self.values.get(name) is None else self._checked(name)[name]

    def part(self, name) -> "Fields":
        """A field that is an object itself."""
        value = self.values.get(name, {})
        if value is None:
            raise ValueError(f"{self.place} has no {name!r}, which the architecture needs.")
        return Fields(value, f"{self.place}, {name}")

    def choice(self, name, known, default) -> Any:
        """A field that stands for one of a few things."""
        value = self.values.get(name, default)
        if isinstance(value, (dict, list)) or value not in known:
            raise ValueError(
                f"{self.place} says {name}={shown(value)}; this version knows {', '.join(map(repr, known))}."
            )
        return known[value]

    def refuse(self, **plain) -> None:
        """Stops at a field whose value is not the plain one: what it asks for is not built."""
        for name, expected in plain.items():
            if name in self.values and self.values[name] not in (expected, None):
                says = f"{self.place} says {name}={shown(self.values[name])}"
                raise ValueError(f"{says}, which this version cannot build.")

    def only(self, *known) -> None:
        """Stops at the first field that is none of these: what it asks for is not built."""
        for name, value in self.values.items():
            if name not in known:
                says = f"{self.place} says {name}={shown(value)}"
                raise ValueError(f"{says}; this version knows {', '.join(known) or 'no field'} there.")

    def _checked(self, name):
        problem = next(FIELDS[name].problems(self.values[name], self.place, name), None)
        if problem is not None:
            raise ValueError(problem)
        return self.values


def problems_of_config(config, place) -> Iterator[str]:
    """Sentences on all fields of a config and its parts that are not of their kind, whether or not they are read.

    Args:
        config: content of the file.
        place: its name.
    """
    for name, value in config.items():
        if name in PARTS and isinstance(value, dict):
            yield from problems_of_config(value, f"{place}, {name}")
        elif name in FIELDS and value is not None:
            yield from FIELDS[name].problems(value, place, name)


def _are_sides(value):
    return isinstance(value, dict) and all(SIDE.accepts(side) for name, side in value.items() if side is not None)
