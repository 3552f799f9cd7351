"""What the hyper-parameters of losses may be by their names, which mean the same in all of them."""

from kzoo.arguments import (
    AMOUNT,
    COUNT,
    FINITE,
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    TABLE,
    names,
    number,
    one_of,
    sequence,
    span,
)
from kzoo.layers.arguments import SEED
from kzoo.losses.parts.blocks import AUTO
from kzoo.losses.parts.temperature import TEMPERATURE

BLOCK = (COUNT | one_of(AUTO) | None).said("a positive number of rows, or None for all at once, or 'auto'")
INPUTS = names("the names of the tensors to read, such as ('image_embeddings', 'text_embeddings')")
GOES_WITH = {"inputs": INPUTS, "constants": TABLE.said("a dict of the name of a tensor to an array")}

WHOLE_NUMBERS = """
    dataset_size dim groups hidden iterations k label_dim num_classes num_clusters num_groups num_negatives
    num_prototypes num_words student_dim vocab_size
"""
FROM_ZERO = "n_hard pad_id queue_size s s_prime transform_layers warmup_epochs"
POSITIVES = """
    base_temperature epsilon eta gamma inv_delta kappa kl_temperature label_temperature maximum minimum neg_alpha
    pos_alpha power radius_km rho scale sigma smoothing_km steepness t tau
"""
FROM_NAUGHT = "coefficient eps equivariant_factor lambd mix_scale mu pos_ratio ssl_weight tau_neg tau_pos text_scale"
NUMBERS = """
    agreement_weight alignment_weight alpha background_weight beta bias caption_weight contrastive_weight cov_weight
    cross_uniformity_weight distill_weight hard_negative_weight image_weight influence_weight kl_weight m margin
    mi_weight mix_weight new_weight old_weight salient_weight sim_weight std_weight target_temperature text_weight
    uniformity_weight
"""
SHARES = "center_momentum lam momentum probability"
FLAGS = """
    detach_targets detach_weights distance_weighting intra_view learnable normalize_targets positive_in_denominator
    renormalize stop_gradient stop_gradient_key symmetric
"""
TEMPERATURES = "local_temperature ssl_temperature student_temperature teacher_temperature temperature"

LOSS_BY_NAME = (
    dict.fromkeys(WHOLE_NUMBERS.split(), COUNT)
    | dict.fromkeys(FROM_ZERO.split(), AMOUNT)
    | dict.fromkeys(POSITIVES.split(), POSITIVE)
    | dict.fromkeys(FROM_NAUGHT.split(), NOT_NEGATIVE)
    | dict.fromkeys(NUMBERS.split(), FINITE)
    | dict.fromkeys(SHARES.split(), SHARE)
    | dict.fromkeys(FLAGS.split(), FLAG)
    | dict.fromkeys(TEMPERATURES.split(), TEMPERATURE)
    | {
        "block_size": BLOCK,
        "bounds": span(POSITIVE, "two temperatures above 0, the lower one first"),
        "dims": sequence(COUNT, "at least one positive whole number", 1),
        "initial": POSITIVE,
        "label_smoothing": number(least=0, below=1),
        "max_scale": POSITIVE,
        "seed": SEED,
        "threshold": number(least=0, below=1),
        "weights": sequence(FINITE, "numbers, one for each of dims"),
        "window": NOT_NEGATIVE,
    }
)
