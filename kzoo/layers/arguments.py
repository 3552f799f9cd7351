"""What the arguments of constructors may be by their names, which mean the same in all layers, heads and towers."""

import keras

from kzoo.arguments import (
    AMOUNT,
    COUNT,
    FINITE,
    FLAG,
    GRID,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    SHARE,
    SIDE,
    SIZE,
    instance,
    one_of,
    sequence,
    whole,
)
from kzoo.layers.numerics import ACTIVATIONS

DEEPEST = 10_000  # blocks of a tower; each is made one by one

COUNTS = sequence(COUNT, "whole numbers of at least 1")
SEED = whole(0) | instance(keras.random.SeedGenerator, "a keras.random.SeedGenerator")
BY_CHANNEL = sequence(FINITE, "three numbers, one for each channel", 3, 3)
SPREAD = sequence(POSITIVE, "three positive numbers, one for each channel", 3, 3)
SIZES = sequence(COUNT, "the width of each layer, such as (512, 128)", 1)
ACTIVATION = one_of(*sorted(ACTIVATIONS))

WHOLE_NUMBERS = """
    batch_size context_length context_width cross_width dim embed_dim embedding_tokens filters filters_in filters_out
    head_width hidden_dim label_dim max_patches mlp_dim num_classes num_groups num_heads num_parameters num_positions
    num_queries num_tokens old_dim out_width output_dim pool_heads pool_mlp_dim query_heads relative_dim state_dim
    stem_width student_dim token_dim vocab_size width prototypes divisor
"""
FROM_ZERO = "eot_id pad_id prefix_tokens register_tokens skip start_id token_types"
FLAGS = """
    antialias any_size batch_norm causal class_token cross depthwise fused inner_norm mask_padding mask_token mlp_bias
    mlp_input_norm mlp_norm norm_tokens output_norm padded patch_bias patch_tokens position_prefix
    positions_from_padding pre_norm projected projection_bias query_projection res_post_norm residual sandwich
    scale_embedding shortcut square
"""

BY_NAME = (
    dict.fromkeys(WHOLE_NUMBERS.split(), COUNT)
    | dict.fromkeys(FROM_ZERO.split(), AMOUNT)
    | dict.fromkeys(FLAGS.split(), FLAG)
    | {
        "activation": ACTIVATION,
        "bias": FLAG,
        "depth": whole(1, DEEPEST),
        "dropout": RATE,
        "epsilon": POSITIVE,
        "hidden_activation": ACTIVATION,
        "hidden_dims": COUNTS,
        "hyper_dims": COUNTS,
        "image_size": SIZE,
        "initial": FINITE,
        "layer_scale": FINITE,
        "max_scale": POSITIVE,
        "mean": BY_CHANNEL,
        "modality": NAME,
        "momentum": SHARE,
        "noise": NOT_NEGATIVE,
        "out_stddev": NOT_NEGATIVE,
        "patch_size": SIDE,
        "positions": one_of("learned", "sin_cos") | None,
        "rotary_base": POSITIVE | None,
        "rotary_grid": GRID,
        "rotary_offset": FINITE,
        "scale": POSITIVE,
        "seed": SEED,
        "sizes": SIZES,
        "std": SPREAD,
        "stem_stages": sequence(sequence(COUNT, "channels and blocks", 2, 2), "the channels and blocks of each stage"),
        "stddev": NOT_NEGATIVE,
        "strength": NOT_NEGATIVE,
        "table_size": SIZE,
        "temperature": POSITIVE,
        "widths": COUNTS,
    }
)
