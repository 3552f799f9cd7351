"""Learning rates that fall from the output of a tower to its input."""


def rates_by_depth(model, decay) -> dict:
    """What the learning rate of each weight is multiplied by: 1 at the output, `decay` once more for each block below.

    A tower of N blocks has N + 2 depths, as its `depths` says: embeddings, each block, and what follows. What is in no
    tower (heads, a decoder, the similarity head, weights of a loss) has the whole rate.

    Args:
        model: a model of kzoo.
        decay: number in (0, 1]; 1 leaves all rates as they are.

    Returns:
        dict of the id of a variable to a number below 1.

    Example:
        >>> rates = rates_by_depth(model, 0.75)
        >>> rates[id(model.image_encoder.blocks[-1].trainable_variables[0])]
        0.75

    Reference:
        Clark et al., ELECTRA, 2020, arXiv 2003.10555; Dong et al., CLIP Itself is a Strong Fine-tuner, 2022, arXiv
        2212.06138.
    """
    rates = {}
    for tower in {id(each): each for each in model.modalities().values()}.values() if decay < 1.0 else ():
        depths = tower.depths()
        for above, weights in enumerate(reversed(depths)):
            rates |= {id(each): decay**above for each in weights if above}
    return rates
