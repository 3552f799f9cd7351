"""Which seeds of a model differ between devices: those of what draws for each row, but for its loss."""

STRIDE = 0x3504F333  # between the seeds of two devices


def drawing(model) -> list:
    """The seeds of a model's own layers, such as dropout, a list of variables.

    What its loss and its gradient policy draw is of the whole batch, and the same wherever that is computed.
    """
    kept = {id(each) for each in [*model.objective.variables, *model.gradients.variables]}
    return [each for each in model.variables if each.name == "seed_generator_state" and id(each) not in kept]
