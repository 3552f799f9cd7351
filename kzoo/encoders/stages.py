"""What towers share that are made of stages."""


def of_stages(name, value, depths) -> tuple:
    """One value for each stage: the same for all, or one after the other.

    Args:
        name: of the argument, for the sentence.
        value: a number, or a list of them.
        depths: number of blocks of each stage.

    Raises:
        ValueError: another number of values than of stages.

    Example:
        >>> of_stages("window_size", 7, depths=(2, 2, 6, 2))
        (7, 7, 7, 7)
    """
    if not hasattr(value, "__len__"):
        return (value,) * len(depths)
    if len(value) != len(depths):
        raise ValueError(
            f"{name} has {len(value)} values, but depths has {len(depths)} stages; give one for each stage."
        )
    return tuple(value)
