"""Classification of places into cells of the earth that knows how far cells are apart (PIGEON)."""

import math

import keras
from keras import ops

from kzoo.losses.base import Loss, weighted_mean
from kzoo.types import Tensor

SHARPEST = 40.0  # bound of the logarithm of a target, which float32 could not hold


@keras.saving.register_keras_serializable(package="kzoo")
class HaversineGeocell(Loss):
    """Cross-entropy over cells of the earth, whose targets fade with the distance from the true place.

    With `d_ig` the great-circle distance in km between place i and the centroid of cell g:
    `L = mean_i sum_g y_ig (LSE z_i - z_ig)`, `y_ig = exp(-(d_ig - d_i,own) / smoothing)`. `own` is the true cell where
    `cells` are given, as in the paper (from memory), else the nearest centroid, as in the authors' code. The
    targets of a row do not sum to 1, and one exceeds 1 where another centroid is nearer than that of the true cell.

    Args:
        smoothing_km: distance at which a target has fallen to 1/e; the authors take 75 for streets, 65 for the planet.
        radius_km: of the earth; the authors' code has 6378.137.
        inputs: names of the tensors to read; default `("logits", "coordinates", "centroids")`.

    Inputs:
        logits: float tensor `(batch, cells)`.
        coordinates: float tensor `(batch, 2)`, longitude and latitude in degrees.
        centroids: float tensor `(cells, 2)`, likewise.
        cells: int tensor `(batch,)`, the cell that each place belongs to.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `constants={"centroids": centroids}`, a head `Head(Classifier(cells), "image_features", "logits")` of a
        `DualEncoder`, and `kzoo.data.pairs(source, preprocessor, columns=("coordinates",))`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: `smoothing_km` or `radius_km` is not positive.

    Recommendations:
        Plain cross-entropy where a near miss is as wrong as a far one.

    Example:
        >>> places = np.array([[2.35, 48.86], [13.4, 52.52]])  # Paris, Berlin
        >>> HaversineGeocell()(np.zeros((2, 2)), places, places)
        0.6932

    Reference:
        Haas et al., PIGEON: Predicting Image Geolocations, 2023, arXiv 2307.05845.
    """

    default_inputs = ("logits", "coordinates", "centroids")
    optional_inputs = Loss.optional_inputs | {"cells": "cells"}
    shapes = Loss.shapes | {"logits": "batch cells", "coordinates": "batch 2", "centroids": "cells 2", "cells": "batch"}
    numbers = Loss.numbers | {"coordinates": "number", "cells": "index of cells"}

    def __init__(self, smoothing_km=75.0, radius_km=6371.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.smoothing_km, self.radius_km = smoothing_km, radius_km

    def call(self, logits, coordinates, centroids, cells=None, sample_weight=None) -> Tensor:
        logits, coordinates, centroids = (ops.cast(x, "float32") for x in (logits, coordinates, centroids))
        distance = self._kilometres(coordinates, centroids)  # (batch, cells)
        if cells is None:
            own = ops.min(distance, axis=1, keepdims=True)
        else:
            own = ops.take_along_axis(distance, ops.cast(cells, "int32")[:, None], axis=1)
        target = ops.exp(ops.minimum((own - distance) / self.smoothing_km, SHARPEST))
        log_sum = ops.logsumexp(logits, axis=1, keepdims=True)
        return weighted_mean(ops.sum(target * (log_sum - logits), axis=1), sample_weight)

    def _kilometres(self, places, centroids):
        half = (centroids[None] - places[:, None]) * (math.pi / 360.0)  # half the difference, in radians
        latitudes = ops.cos(places[:, 1] * (math.pi / 180.0))[:, None] * ops.cos(centroids[:, 1] * (math.pi / 180.0))
        h = ops.square(ops.sin(half[..., 1])) + latitudes * ops.square(ops.sin(half[..., 0]))
        # neither the root at the place itself nor the arc at its antipode has a gradient
        return 2.0 * self.radius_km * ops.arcsin(ops.sqrt(ops.clip(h, 1e-14, 1.0 - 1e-7)))
