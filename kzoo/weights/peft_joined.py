"""Adapters of layers whose kernels are one tensor in a file, such as query, key and value: one there, several here.

`y_i = x A B_i` of all parts is one update with the `B_i` behind each other. Parts with an A of their own are one update
whose rank is the sum of theirs, with zeros in B where a part has nothing of the others.
"""

import math

import numpy as np


def joined(parts, widths, lengths) -> tuple[dict, dict]:
    """The update of the whole, exactly.

    Args:
        parts: for each layer its arrays `a`, `b` and perhaps `magnitude`, with its `config`; None where it has none.
        widths: of what each layer gives.
        lengths: function of a number of a layer to the lengths of the columns of its kernel, for those that have none.

    Returns:
        arrays, and their config.
    """
    present = [each for each in parts if each is not None]
    first = present[0]
    scale = _scale(first["config"])
    alike = len(present) == len(parts) and all(
        np.array_equal(each["a"], first["a"]) and _scale(each["config"]) == scale for each in present
    )
    if alike:
        found = {"a": first["a"], "b": np.concatenate([each["b"] for each in parts], axis=1)}
    else:
        b = np.zeros((sum(each["a"].shape[1] for each in present), sum(widths)), "float32")
        row = column = 0
        for each, width in zip(parts, widths):
            if each is not None:
                rank = each["a"].shape[1]
                b[row : row + rank, column : column + width] = each["b"] * (_scale(each["config"]) / scale)
                row += rank
            column += width
        found = {"a": np.concatenate([each["a"] for each in present], axis=1), "b": b}
    if "magnitude" in first:
        own = [lengths(place) if each is None else each["magnitude"] for place, each in enumerate(parts)]
        found["magnitude"] = np.concatenate(own).astype("float32")
    return found, _of_rank(first["config"], found["a"].shape[1], scale)


def parted(arrays, config, widths) -> list[tuple[dict, dict]]:
    """The inverse: for each layer its arrays and their config.

    What of the rank adds to other layers alone is left out.

    Args:
        arrays: of the whole, `a`, `b` and perhaps `magnitude`.
        config: of it.
        widths: of what each layer gives.
    """
    ends = np.cumsum(widths)[:-1]
    columns = np.split(arrays["b"], ends, axis=1)
    magnitudes = np.split(arrays["magnitude"], ends) if "magnitude" in arrays else [None] * len(widths)
    used, found = arrays["b"].any(axis=1), []
    for b, magnitude in zip(columns, magnitudes):
        own = b.any(axis=1) | ~used
        own = own if own.any() else np.arange(len(own)) == 0
        part = {"a": arrays["a"][:, own], "b": b[own]}
        part |= {} if magnitude is None else {"magnitude": magnitude}
        found.append((part, config if own.all() else _of_rank(config, int(own.sum()), _scale(config))))
    return found


def _scale(config):
    return config["alpha"] / _divisor(config, config["rank"])


def _of_rank(config, rank, scale):
    return config | {
        "rank": rank,
        "alpha": config["alpha"] if rank == config["rank"] else scale * _divisor(config, rank),
    }


def _divisor(config, rank):
    return math.sqrt(rank) if config["rank_stabilized"] else rank
