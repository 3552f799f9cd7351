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
from kzoo.files.words import on_one_line

FACTOR = number(0.0, 100.0, beyond=True)
OF_STAGES = several(whole(1, "WIDTH"), 1, 64)
FLAGS = several(FLAG, 1, 16)
FIELDS = {  # of transformers and open_clip, whose names mean one thing wherever they stand
    "act_kwargs": OBJECT,
    "act_layer": TEXT,
    "approximate": TEXT,
    "architectures": LIST | NULL,
    "attention_bias": FLAG,
    "attention_mode": TEXT,
    "attentional_pool": FLAG | TEXT,
    "attn_gated": FLAG,
    "attn_pool_mlp_ratio": number(0.0, 1000.0, beyond=True),
    "attn_pool_num_heads": WIDTH,
    "attn_pooler_heads": WIDTH,
    "attn_pooler_queries": LENGTH,
    "attn_type": TEXT,
    "batch_norm_eps": EPSILON,
    "batch_norm_momentum": number(0.0, 1.0),
    "bos_token_id": ID,
    "causal_masking": FLAG,
    "class_token": FLAG,
    "cls_ratio": FACTOR,
    "context_length": LENGTH,
    "correct_cls_mask": FLAG,
    "crop_size": SIDE | OBJECT,
    "cross_attn_ratio": WIDTH,
    "custom_text": FLAG,
    "d_ff": WIDTH,
    "d_kv": WIDTH,
    "d_model": WIDTH,
    "depth": BLOCKS,
    "default_to_square": FLAG,
    "depth_coefficient": FACTOR,
    "depth_divisor": WIDTH,
    "depths": OF_STAGES,
    "depthwise_padding": several(BLOCKS, 0, 1000),
    "dim": WIDTH,
    "dims": OF_STAGES,
    "do_center_crop": FLAG,
    "does_full_decoding": FLAG,
    "down_patch_size": SIDE,
    "down_stride": SIDE,
    "downsamples": FLAGS,
    "drop_path_rate": RATE,
    "drop_rate": RATE,
    "dropout": RATE,
    "dropout_rate": RATE,
    "embed_cfg": Object({"embed_dim": OF_STAGES, "depths": OF_STAGES, "stem_width": WIDTH}, closed=True),
    "embed_cls": FLAG,
    "embed_dim": WIDTH,
    "embed_dims": OF_STAGES,
    "encoder_attention_heads": WIDTH,
    "encoder_ffn_dim": WIDTH,
    "encoder_hidden_size": WIDTH,
    "encoder_layers": BLOCKS,
    "eos_id": ID,
    "eos_token_id": ID,
    "eps": EPSILON,
    "eva_model_name": TEXT,
    "expand_ratios": OF_STAGES,
    "fc_norm": FLAG,
    "feature_extractor_type": TEXT,
    "ffn_multiplier_per_layer": FACTOR | several(FACTOR, 1, 64),
    "final_ln_after_pool": FLAG,
    "fork_feat": FLAG,
    "gate_bias": FLAG,
    "global_average_pool": FLAG,
    "global_pool": TEXT,
    "has_mlp": FLAG,
    "head_dim": WIDTH,
    "head_width": WIDTH,
    "heads": WIDTH,
    "hf_config": OBJECT,
    "hf_model_name": TEXT,
    "hf_pooler_type": TEXT,
    "hf_proj_type": TEXT,
    "hf_tokenizer_name": TEXT,
    "hidden_dim": WIDTH,
    "hidden_dropout_prob": RATE,
    "hidden_size": WIDTH,
    "image_mean": MEANS,
    "image_processor_type": TEXT,
    "image_seq_len": LENGTH,
    "image_size": SIZE,
    "image_std": DEVIATIONS,
    "image_text_hidden_size": WIDTH,
    "img_size": SIZE,
    "in_channels": OF_STAGES,
    "in_chans": WIDTH,
    "inference_mode": FLAG,
    "init_logit_bias": number(-1e30, 1e30),
    "init_values": number(-1e6, 1e6),
    "intermediate_size": WIDTH,
    "interpolation": TEXT,
    "intp_freq": FLAG,
    "kernel_sizes": WIDTH | OF_STAGES,
    "label_smoothing": RATE,
    "language": TEXT,
    "layer_norm_eps": EPSILON,
    "layer_norm_epsilon": EPSILON,
    "layer_scale_init_value": number(-1e6, 1e6) | NULL,
    "layers": Rule(
        lambda: f"{BLOCKS} or a list of them",
        lambda value: BLOCKS.accepts(value) or several(BLOCKS, 1, 16).accepts(value),
    ),
    "lkc_use_act": FLAG,
    "ls_init_value": number(-1e6, 1e6),
    "max_num_patches": LENGTH,
    "max_position_embeddings": LENGTH,
    "mean": MEANS,
    "mlp_bias": FLAG,
    "mlp_ratio": number(0.0, 1000.0, beyond=True),
    "mlp_ratios": several(number(0.0, 1000.0, beyond=True), 1, 16),
    "mlp_type": TEXT,
    "model_name": TEXT,
    "model_type": TEXT,
    "n_heads_per_layer": WIDTH | OF_STAGES,
    "n_queries": LENGTH,
    "n_transformer_layers": BLOCKS,
    "naiveswiglu": FLAG,
    "no_causal_mask": FLAG,
    "no_embed_class": FLAG,
    "no_ln_pre": FLAG,
    "nonscalar_logit_scale": FLAG,
    "norm_eps": EPSILON,
    "norm_kwargs": OBJECT,
    "norm_placement": TEXT,
    "norm_type": TEXT,
    "num_attention_heads": WIDTH,
    "num_block_repeats": OF_STAGES,
    "num_classes": whole(0, "WIDTH"),
    "num_heads": WIDTH | OF_STAGES,
    "num_hidden_layers": BLOCKS,
    "num_layers": BLOCKS,
    "num_patches": LENGTH,
    "out_channels": OF_STAGES,
    "pad_id": ID,
    "pad_token_id": ID,
    "patch_size": SIDE,
    "pool_type": TEXT,
    "pooler_type": TEXT,
    "pos_embed": TEXT,
    "pos_embed_ar_preserving": FLAG,
    "pos_embed_grid_size": SIZE,
    "pos_embed_interp_mode": TEXT,
    "pos_embs": several(NULL, 1, 16),
    "postnorm": FLAG,
    "pre_norm": FLAG,
    "proj": TEXT,
    "proj_bias": FLAG,
    "proj_drop_rate": RATE,
    "proj_type": TEXT,
    "project_dim": WIDTH,
    "projection_dim": WIDTH,
    "projection_size": WIDTH,
    "pt_hw_seq_len": SIDE,
    "qk_norm": FLAG,
    "qkv_bias": FLAG,
    "qkv_fused": FLAG,
    "quick_gelu": FLAG,
    "reg_tokens": whole(0, "WIDTH"),
    "relative_attention_max_distance": LENGTH,
    "relative_attention_num_buckets": LENGTH,
    "ref_feat_shape": SIZE,
    "rel_pos_dim": WIDTH,
    "repmixer_kernel_size": SIDE,
    "resample": whole(0, "WIDTH"),
    "rescale_factor": FACTOR,
    "rescale_offset": FLAG,
    "resize_mode": TEXT,
    "rope_temperature": number(0.0, 1e9, beyond=True),
    "scale_attn_inner_norm": FLAG,
    "scale_embedding": FLAG,
    "rope": FLAG,
    "rope_grid_indexing": TEXT,
    "rope_grid_offset": number(-1e6, 1e6),
    "scale_attn_inner": FLAG,
    "scale_mlp": FLAG,
    "scale_mlp_norm": FLAG,
    "se_downsamples": FLAGS,
    "size": Rule("a side or an object of sides", lambda value: SIDE.accepts(value) or _are_sides(value)),
    "squeeze_expansion_ratio": number(0.0, 1.0),
    "std": DEVIATIONS,
    "stem_use_scale_branch": FLAG,
    "strides": OF_STAGES,
    "strip_sep_token": FLAG,
    "subln": FLAG,
    "swiglu_align_to": whole(0, "WIDTH"),
    "swiglu_mlp": FLAG,
    "text_arch": TEXT,
    "tiktoken_name": TEXT,
    "timm_model_args": OBJECT,
    "timm_model_kwargs": OBJECT,
    "timm_model_name": TEXT,
    "timm_pool": TEXT,
    "timm_proj": TEXT,
    "timm_proj_bias": FLAG,
    "token_mixers": several(TEXT, 1, 16),
    "tokenizer_kwargs": OBJECT,
    "tokenizer_type": TEXT,
    "type_vocab_size": whole(0, "WIDTH"),
    "use_abs_pos_emb": FLAG,
    "use_pad_mask": FLAG,
    "use_post_norm": FLAG,
    "use_pre_transformer_norm": FLAG,
    "use_rot_pos_emb": FLAG,
    "use_square_size": FLAG,
    "variable_text": FLAG,
    "vocab_size": TOKENS,
    "width": WIDTH,
    "width_coefficient": FACTOR,
    "window_size": SIDE | OF_STAGES,
}


PARTS = (
    "text_config",
    "vision_config",
    "model_cfg",
    "text_cfg",
    "vision_cfg",
    "image_cfg",
    "multimodal_cfg",
    "preprocess_cfg",
    "act_kwargs",
    "norm_kwargs",
    "tokenizer_kwargs",
)


class Fields:
    """A dict of a config file that names itself in its errors, and remembers what of it was read.

    Args:
        values: content.
        place: name of the file and of the part, for messages.
    """

    def __init__(self, values, place):
        if not isinstance(values, dict):
            raise ValueError(f"{place} holds {written(values)}, but an object is expected.")
        self.values, self.place = values, place
        self._read, self._parts = set(), {}

    def __contains__(self, name) -> bool:
        return name in self.values

    def get(self, name, default=None) -> Any:
        """A field, of the kind that `FIELDS` says; without a default it must be there."""
        self._read.add(name)
        value = self.values.get(name, default)
        if value is None:
            raise self._missing(name)
        return self._checked(name)[name] if name in self.values else value

    def optional(self, name) -> Any:
        """A field that may be null or lacking, which is None."""
        self._read.add(name)
        return None if self.values.get(name) is None else self._checked(name)[name]

    def over(self, values, place=None) -> "Fields":
        """The same file with other values in the place of some, which are read as its own.

        Args:
            values: of fields.
            place: what to call it in messages; default as before.
        """
        fields = Fields(self.values | values, place or self.place)
        fields._read, fields._parts = self._read, self._parts
        return fields

    def ignore(self, *names) -> None:
        """Fields that the library itself does not look at, next to what else this config says."""
        self._read |= set(names)

    def renamed(self, old, new, default) -> Any:
        """A field that older versions of the library called otherwise."""
        value = self.get(old, default)
        if {old, new} <= self.values.keys() and value != self.values[new]:
            raise ValueError(
                f"{self.place} says {old}={shown(value)} and {new}={shown(self.values[new])}, which are one field."
            )
        return self.get(new, value)

    def part(self, name, default=None, place=None) -> "Fields":
        """A field that is an object itself, whose fields are read one by one, too.

        Args:
            name: of the field.
            default: what stands in the place of one that lacks or is null; None: it must be there.
            place: what to call it in messages, if not after this object and its field.
        """
        self._read.add(name)
        if name not in self._parts:
            value = self.values.get(name)
            value = default if value is None else value
            if value is None:
                raise self._missing(name)
            self._parts[name] = Fields(value, place or f"{self.place}, {name}")
        return self._parts[name]

    def choice(self, name, known, default) -> Any:
        """A field that stands for one of a few things."""
        self._read.add(name)
        value = self.values.get(name, default)
        if isinstance(value, (dict, list)) or value not in known:
            raise ValueError(
                f"{self.place} says {name}={shown(value)}; this version knows {', '.join(map(repr, known))}."
            )
        return known[value]

    def refuse(self, **plain) -> None:
        """Stops at a field whose value is not the plain one: what it asks for is not built."""
        for name, expected in plain.items():
            self._read.add(name)
            if name in self.values and self.values[name] not in (expected, None):
                says = f"{self.place} says {name}={shown(self.values[name])}"
                raise ValueError(f"{says}, which this version cannot build.")

    def only(self, *known) -> None:
        """Stops at the first field that is none of these: what it asks for is not built."""
        for name, value in self.values.items():
            if name not in known:
                says = f"{self.place} says {name}={shown(value)}"
                raise ValueError(f"{says}; this version knows {', '.join(known) or 'no field'} there.")
        self._read |= set(known)

    def unread(self, harmless, part=None) -> Iterator[str]:
        """`"place says name=value"` of all fields, those of parts too, that nobody read and that may change numbers.

        Args:
            harmless: function of the name of a part (None for the whole), of a field and of its value: whether such
                a field changes nothing there.
            part: which this is.
        """
        for name, value in self.values.items():
            if name in self._parts:
                yield from self._parts[name].unread(harmless, name)
            elif name not in self._read and not harmless(part, name, value):
                yield f"{self.place} says {on_one_line(name)}={shown(value)}"

    def _missing(self, name):
        return ValueError(f"{self.place} has no {name!r}, which the architecture needs.")

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
