"""Which heads, neurons and blocks of a teacher a student takes over, learned (TinyCLIP's automatic inheritance)."""

import keras

from kzoo.adaptation.distillation.inheritance import check_sizes
from kzoo.adaptation.distillation.masked import Masked
from kzoo.adaptation.weight_space.named import MODEL
from kzoo.arguments import AMOUNT, COUNT, POSITIVE, takes


@takes(student=MODEL, teacher=MODEL, epochs=COUNT, learning_rate=POSITIVE, seed=AMOUNT)
def learn_masks(student, teacher, data, epochs=1, learning_rate=0.02, seed=0) -> dict:
    """Learn which heads, neurons and blocks of a teacher a smaller student shall begin with.

    Each has a gate, drawn from the hard concrete distribution. The gates are trained so that the affinities of pictures
    and texts stay what the teacher says of them, `KL`, while as many are shut as the student has fewer:
    `L = mimicking + sum m1 (p - q) + m2 (p - q)^2`, for the heads, the neurons and the blocks of each tower, with the
    share p that is shut, the share q that the student lacks, which rises over the first half of the steps, and
    multipliers that rise against the loss. Weights of the teacher stay as they are; the student is trained afterwards.

    Args:
        student: a model of transformer towers, of which the sizes are read.
        teacher: as large or larger, with heads of the same width; nothing of it changes.
        data: what `fit` of the teacher reads: of `kzoo.data.pairs`, or another `keras.utils.PyDataset` of dicts.
        epochs: passes over it.
        learning_rate: of Adam, of gates and multipliers.
        seed: of the gates that are drawn.

    Returns:
        dict: for each tower a dict of how likely each is open, `heads` `(blocks, heads)`, `neurons` `(blocks, neurons)`
        and `layers` `(blocks,)`, of those in which the student is smaller. `inherit_weights` takes it as `masks`.

    Raises:
        NotImplementedError, ValueError: as `inherit_weights`; towers whose blocks norm what their branches give, which
            no gate on a weight can shut.

    In the paper the weights are trained together with the gates, channels of the residual stream have some, too, and
    one penalty of all parameters leaves blocks of different sizes; here the sizes are the student's, channels are
    chosen by `inherit_weights`, and what is trained are the gates alone.

    Example:
        >>> masks = learn_masks(student, teacher, kzoo.data.pairs("photos.csv", teacher.preprocessor, batch_size=256))
        >>> inherit_weights(student, teacher, masks=masks)

    Reference:
        Wu et al., TinyCLIP, 2023, arXiv 2309.12314; the gates: Louizos et al., 2017, arXiv 1712.01312; the multipliers:
        Wang et al., Structured Pruning of Large Language Models, 2019, arXiv 1910.04732.
    """
    check_sizes(student, teacher)
    kept = {}
    for modality, tower in student.modalities().items():
        own, its = tower.blocks[0], teacher.modalities()[modality].blocks[0]
        normed = getattr(its, "res_post_norm", False) or getattr(its, "norm_1_after", None) is not None
        if normed and len(tower.blocks) < len(teacher.modalities()[modality].blocks):
            raise NotImplementedError(
                f"blocks of the {modality} tower norm what their branches give, so no gate on a weight shuts them; "
                "inherit by layers='uniform' or 'magnitude'."
            )
        kept[modality] = {"heads": own.attention.num_heads, "layers": len(tower.blocks)}
        kept[modality]["neurons"] = 0 if own.mlp_up is None else own.mlp_up.units
    masked = Masked(teacher, kept, epochs * len(data), seed)
    masked.compile(keras.optimizers.Adam(learning_rate))
    masked.fit(data, epochs=epochs, verbose=0)
    return {modality: gates.scores() for modality, gates in masked.gates.items()}
