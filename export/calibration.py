"""What activations a graph multiplies, and how its products are rounded with the smallest error."""

from dataclasses import dataclass

import numpy as np

from kzoo.export.int8_graphs import products, steps, with_outputs

SAMPLES, ROWS, LARGEST = 8, 512, 4  # that are looked at; rows of a product of all of them; those kept of each anyway
ALPHAS = (0.2, 0.35, 0.5, 0.65, 0.8)  # how much of the spread of channels goes from activations into weights


@dataclass(frozen=True)
class Rounding:
    """How what some products read is rounded best.

    Attributes:
        factor: float32 array of its channels, powers of 2; None: as it is.
        plain, best: squared error of the products relative to what they give, without and with the factor.
    """

    factor: np.ndarray | None
    plain: float
    best: float


def activations(proto, run, feeds) -> dict:
    """What the products of a graph read on some samples: name -> float32 array `(rows, channels)`.

    Args:
        proto: of `prepared`.
        run: function of a graph that makes one of a dict of inputs and names of outputs to arrays.
        feeds: list of dicts of arrays.
    """
    names = list(dict.fromkeys(each.reads for each in products(proto)))
    session, found, random = run(with_outputs(proto, names)), {name: [] for name in names}, np.random.default_rng(0)
    for feed in feeds:
        for name, array in zip(names, session(feed, names)):
            rows = array.reshape(-1, array.shape[-1])
            most = max(1, ROWS // len(feeds))
            kept = rows if len(rows) <= most else rows[random.choice(len(rows), most, replace=False)]
            largest = np.argsort(np.abs(rows).max(axis=1))[-LARGEST:]  # which decide the range, whatever rows are drawn
            found[name] += [kept, rows[largest]]
    return {name: np.concatenate(each) for name, each in found.items()}


def roundings(proto, read) -> dict:
    """The `Rounding` of each tensor that products read: the alpha of SmoothQuant that gives the least error.

    Args:
        proto: of `prepared`.
        read: of `activations`.
    """
    by_read = {}
    for each in products(proto):
        by_read.setdefault(each.reads, []).append(each.matrix)
    return {name: _best(read[name], np.concatenate(matrices, axis=1)) for name, matrices in by_read.items()}


def _best(rows, matrix):
    exact = rows @ matrix
    size = float(np.sum(np.square(exact, dtype="float64"))) or 1.0

    def error(factor):
        rounded = rounded_rows(rows / factor) @ rounded_columns(matrix * factor[:, None])
        return float(np.sum(np.square(rounded - exact, dtype="float64"))) / size

    plain = error(np.ones(len(matrix), "float32"))
    tried = [(plain, None)]
    for alpha in ALPHAS:
        factor = factors(rows, matrix, alpha)
        tried.append((error(factor), factor))
    best, factor = min(tried, key=lambda pair: pair[0])
    return Rounding(factor, plain, best)


def factors(rows, matrix, alpha) -> np.ndarray:
    """SmoothQuant's factors `max|x|^alpha / max|w|^(1 - alpha)` of the channels, as powers of 2 around 1."""
    of_rows, of_matrix = np.abs(rows).max(axis=0), np.abs(matrix).max(axis=1)
    exact = alpha * np.log2(np.maximum(of_rows, 1e-6)) - (1 - alpha) * np.log2(np.maximum(of_matrix, 1e-6))
    return np.exp2(np.round(exact - np.median(exact))).astype("float32")


def rounded_rows(rows) -> np.ndarray:
    """Activations as onnxruntime rounds them: one range of 256 numbers for all."""
    low, high = min(float(rows.min()), 0.0), max(float(rows.max()), 0.0)
    step = (high - low) / 255 or 1.0
    zero = np.round(-low / step)
    return ((np.clip(np.round(rows / step) + zero, 0, 255) - zero) * step).astype("float32")


def rounded_columns(matrix) -> np.ndarray:
    """Weights as they are rounded: in steps of its own for each column."""
    step = steps(matrix)
    return np.round(matrix / step) * step
