"""What the config.json of a kzoo folder may say, and every row of a table that names its towers in full."""

import re
from collections.abc import Iterator

from kzoo.arguments import is_whole
from kzoo.files.schema import (
    BLOCKS,
    DEVIATIONS,
    EPSILON,
    FLAG,
    ID,
    LENGTH,
    MEANS,
    NULL,
    OBJECT,
    RATE,
    SIDE,
    SIZE,
    TEXT,
    TOKENS,
    WIDTH,
    Each,
    Items,
    Object,
    Rule,
    choice,
    is_number,
    number,
    several,
    whole,
)
from kzoo.preprocessing.schema import PREPROCESSOR, RULES, STEPS
from kzoo.presets.kept import H5_FILE, WEIGHTS_FILE

COUNT = Rule("a whole number from 0", lambda value: is_whole(value) and 0 <= value < 2**63)
FACTOR = number(0.0, 100.0, beyond=True)
FLAGS = several(FLAG, 1, 16)
OF_STAGES = several(WIDTH, 1, 16)
SCALE = number(0.0, 1e30, beyond=True)  # float32 has its powers, squares and inverse

TOWER = {  # of all towers and decoders of kzoo, whose constructors say which of them they take
    "activation": TEXT,
    "antialias": FLAG,
    "attention_bias": TEXT,
    "bare_every": WIDTH | NULL,
    "causal": FLAG,
    "class_mask": TEXT,
    "class_token": FLAG,
    "context_length": LENGTH,
    "context_width": WIDTH,
    "cross_every": WIDTH,
    "cross_width": WIDTH | NULL,
    "depth": BLOCKS,
    "depth_coefficient": FACTOR,
    "depths": several(BLOCKS, 1, 16),
    "divisor": WIDTH,
    "down_activation": FLAG,
    "down_kernel": SIDE,
    "down_strides": SIDE,
    "downsamples": FLAGS,
    "dropout": RATE,
    "embed_dim": WIDTH | NULL,
    "embedding_tokens": LENGTH | NULL,
    "eot_id": ID | NULL,
    "epsilon": EPSILON,
    "expansion": FACTOR,
    "fused": FLAG,
    "gate": TEXT | NULL,
    "gated": FLAG,
    "head_norm": TEXT | NULL,
    "head_width": WIDTH | NULL,
    "hidden_activation": TEXT,
    "hidden_dim": WIDTH | NULL,
    "image_size": SIZE,
    "inner_norm": FLAG,
    "kernel_sizes": WIDTH | OF_STAGES,
    "layer_scale": number(-1e6, 1e6) | NULL,
    "mask_padding": FLAG,
    "mask_token": FLAG,
    "max_patches": LENGTH,
    "max_distance": LENGTH,
    "mean": MEANS,
    "merged": FLAG,
    "mixer_kernel": SIDE,
    "mixers": several(TEXT, 1, 16),
    "mlp": TEXT,
    "mlp_bias": FLAG,
    "mlp_dim": WIDTH | NULL,
    "mlp_input_norm": FLAG,
    "mlp_norm": FLAG,
    "mlp_ratio": number(0.0, 1000.0, beyond=True),
    "mlp_ratios": several(number(0.0, 1000.0, beyond=True), 1, 16),
    "momentum": number(0.0, 1.0),
    "noise": number(0.0, 1e6),
    "norm": TEXT,
    "norm_tokens": FLAG,
    "num_buckets": LENGTH,
    "num_heads": WIDTH | OF_STAGES,
    "num_positions": LENGTH | NULL,
    "num_queries": LENGTH,
    "pad_id": ID,
    "patch_bias": FLAG,
    "patch_size": SIDE,
    "patch_tokens": FLAG,
    "pool": TEXT,
    "position_prefix": FLAG,
    "positions": choice("learned", "sin_cos") | NULL,
    "pool_heads": WIDTH | NULL,
    "pool_mlp_dim": WIDTH | NULL,
    "positions_before": FLAGS,
    "positions_from_padding": FLAG,
    "pre_norm": FLAG,
    "projection_bias": FLAG,
    "query_heads": WIDTH,
    "query_layout": TEXT,
    "query_projection": FLAG,
    "register_tokens": whole(0, "WIDTH"),
    "relative_dim": WIDTH | NULL,
    "res_post_norm": FLAG,
    "resampling": TEXT,
    "rotary": TEXT | NULL,
    "rotary_base": number(0.0, 1e9) | NULL,
    "rotary_grid": several(LENGTH, 2) | NULL,
    "rotary_offset": number(-1e6, 1e6),
    "sandwich": FLAG,
    "scale_embedding": FLAG,
    "se_ratio": number(0.0, 1.0),
    "squeezes": FLAGS,
    "square": FLAG,
    "stages": several(several(whole(1, "WIDTH"), 6), 1, 64),
    "start_id": ID | NULL,
    "std": DEVIATIONS,
    "stem": TEXT | NULL,
    "stem_stages": several(several(whole(1, "WIDTH"), 2), 0, 2),
    "stem_width": WIDTH | NULL,
    "stem_branches": FLAG,
    "symmetric_padding": several(BLOCKS, 0, 1000),
    "table_size": SIDE | several(SIDE, 2),
    "token_dim": WIDTH | NULL,
    "token_types": whole(0, "WIDTH"),
    "trainable": FLAG,
    "vocab_size": TOKENS,
    "width": WIDTH,
    "width_coefficient": FACTOR,
    "widths": OF_STAGES,
    "window_size": WIDTH | OF_STAGES,
}
NO_KEY = Rule("no such key", lambda value: False)
NOT_GIVEN = {"name": NO_KEY, "dtype": NO_KEY}  # which a tower gets from its place, and from who opens it
ELSEWHERE = {"layer", "keras_hub", "prompted"}  # kinds of towers around another layer, whose config is its own


class TowerRule:
    """The rule of one tower or decoder."""

    def problems(self, value, place, key=None) -> Iterator[str]:
        foreign = isinstance(value, dict) and value.get("kind") in list(ELSEWHERE)  # it may be anything
        fields = {"kind": TEXT, "trainable": FLAG} if foreign else {"kind": TEXT, **TOWER, **NOT_GIVEN}
        yield from Object(fields, ("kind",)).problems(value, place, key)


SIMILARITY = Object(
    {
        "scale": SCALE,
        "max_scale": SCALE,
        "bias": number(-1e30, 1e30) | NULL,
        "form": choice("log_scale", "temperature", "fixed"),
        "trainable": FLAG,
    },
    nullable=True,
)
LOSS = Items(Object({"loss": TEXT, "weight": number(-1e30, 1e30) | OBJECT, "config": OBJECT}, ("loss",)))
RESULTS = Each(Rule("a number", lambda value: is_number(value) or isinstance(value, float)))  # one may be NaN
SOURCE = Rule(
    "hf://owner/name@commit",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"hf://[\w.-]+/[\w.-]+@[\w./-]+", value)),
)


class TrainingRule:
    """The rule of what one `fit` has done: of rows it says two things, or none."""

    def problems(self, value, place, key=None) -> Iterator[str]:
        fields = {"data": TEXT, "epochs": COUNT, "rows": COUNT, "batch_size": COUNT, "results": RESULTS}
        needs = ("data", "epochs", "results", *(("batch_size",) if isinstance(value, dict) and "rows" in value else ()))
        yield from Object(fields, needs).problems(value, place, key)


LAYER = OBJECT | NULL  # as Keras serialises it
FINGERPRINTS = Object({WEIGHTS_FILE: TEXT, H5_FILE: TEXT}, closed=True)
FIELDS = {
    "kzoo": TEXT,
    "preset": Rule("a name", lambda value: isinstance(value, str) and 0 < len(value) < 1000 and value.isprintable()),
    "model": choice("dual_encoder", "captioner", "matching_encoder", "multi_encoder", "self_supervised"),
    "similarity": SIMILARITY,
    "loss": LOSS,
    "layout": OBJECT,
    "source": SOURCE | NULL,
    "trainings": Items(TrainingRule()),
    "quantised": Each(Object({"mode": TEXT, "config": LAYER}, ("mode", "config"))),
    "adapters": Items(
        Object(
            {"name": TEXT, "layers": Items(TEXT), "config": OBJECT, "kind": choice("low_rank", "bottleneck", "prefix")},
            ("name", "layers", "config"),
        )
    ),
    "frozen": Items(TEXT),
    "compile": Object({"epochs_made": COUNT}),
    "heads": Rule("layers", lambda value: True),  # who makes them says what is wrong with them
    "projector": LAYER | Rule("false", lambda value: value is False),
    "teacher": LAYER,
    "fingerprints": FINGERPRINTS,
}
OF_ROW = {"images": Object(STEPS), "tokenizer": RULES}  # what stands in a row before there is a preprocessor


def problems(config, place, whole_row=False) -> Iterator[str]:
    """Sentences on what is wrong with a config, in the form of `kzoo.presets.table.flat`.

    Args:
        config: dict.
        place: name of the file.
        whole_row: whether it is a row, without a preprocessor but with what one is made of.
    """
    more = OF_ROW if whole_row else {"preprocessor": PREPROCESSOR}
    towers = {name: TowerRule() for name in config if name.endswith("_encoder")}
    decoder = {"text_decoder": TowerRule()} if config.get("text_decoder") is not None else {}
    fields = {**FIELDS, **more, **towers, "text_decoder": NULL, **decoder}
    yield from Object(fields, closed=not whole_row).problems(config, place)


def check(config, place, whole_row=False) -> None:
    """Stops with the first of `problems`.

    Raises:
        ValueError: the sentence.
    """
    problem = next(problems(config, place, whole_row), None)
    if problem is not None:
        raise ValueError(problem)
