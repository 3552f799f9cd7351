"""Which blocks, heads, neurons and channels of a tower are kept. In numpy."""

import re

import numpy as np

from kzoo.types import Array

WRITES = r"blocks\.(\d+)\.(attention\.out|mlp_down)\.kernel"  # into the residual stream


def most_important(kind, count, total, weights=None, block=None) -> Array:
    """Numbers of what is kept, in their order.

    Args:
        kind: `"layers"`, `"heads"`, `"neurons"`, `"width"` or `"embed"`.
        count, total: how many are kept, of how many.
        weights: path -> array of a tower; None: the first are kept.
        block: of the heads or neurons.

    Returns:
        int array.

    Raises:
        ValueError: more than there are.
    """
    if count > total:
        raise ValueError(f"the student has {count} {kind} and the teacher {total}; take a larger teacher.")
    places = np.arange(count)
    if weights is not None:
        scores = _SCORES[kind](weights, block, total)
        places = largest(scores, count)
    return places


def largest(scores, count) -> Array:
    """Places of so many of the largest, in their order; of equal ones the first."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def channels_of(heads, width) -> Array:
    """Numbers of the channels of some heads, each of `width` channels."""
    return (heads[:, None] * width + np.arange(width)).ravel()


def _of_heads(weights, block, total):
    return _passing(weights, f"blocks.{block}.attention.value.kernel", f"blocks.{block}.attention.out.kernel", total)


def _of_neurons(weights, block, total):
    return _passing(weights, f"blocks.{block}.mlp_up.kernel", f"blocks.{block}.mlp_down.kernel", total)


def _passing(weights, up, down, total):
    """`||in|| * ||out||` of each of `total` groups of channels between two matrices."""
    into = (weights[up].astype("float64") ** 2).sum(axis=0).reshape(total, -1).sum(axis=1)
    out = (weights[down].astype("float64") ** 2).sum(axis=1).reshape(total, -1).sum(axis=1)
    return np.sqrt(into * out)


def _of_layers(weights, block, total):
    scores = np.zeros(total)
    for path, array in weights.items():
        found = re.fullmatch(WRITES, path)
        if found:
            scores[int(found[1])] += (array.astype("float64") ** 2).sum()
    return scores


def _of_width(weights, block, total):
    """What is written to each channel: by embeddings, positions and the ends of the branches."""
    written = [
        array
        for path, array in weights.items()
        if array.shape[-1:] == (total,)
        and (re.fullmatch(WRITES, path) or path.startswith("embedding.") or path.endswith("_embedding"))
    ]
    return sum((each.astype("float64") ** 2).reshape(-1, total).sum(axis=0) for each in written)


def _of_embed(weights, block, total):
    return sum((each.astype("float64") ** 2).sum(axis=0) for each in weights.values()) + np.zeros(total)


_SCORES = {
    "layers": _of_layers,
    "heads": _of_heads,
    "neurons": _of_neurons,
    "width": _of_width,
    "embed": _of_embed,
}
