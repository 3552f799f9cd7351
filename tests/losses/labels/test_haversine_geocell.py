"""HaversineGeocell: against angles between vectors, across the date line, at the poles of a place."""

import math

import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import value_and_gradients

from kzoo.losses import HaversineGeocell

random = np.random.default_rng(0)
LOGITS = random.normal(size=(3, 4)).astype("float32")
CENTROIDS = np.array([[2.35, 48.86], [13.4, 52.52], [-122.4, 37.8], [179.9, -17.0]], "float32")
PLACES = np.array([[2.4, 48.9], [-179.95, -17.1], [-120.0, 38.0]], "float32")


def log_softmax(z):
    return z - np.log(np.sum(np.exp(z.astype("float64")), axis=-1, keepdims=True))


def kilometres(p, q):
    points = [
        np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
        for lon, lat in (np.radians(x.astype("float64")) for x in (p, q))
    ]
    return 6371.0 * math.acos(np.clip(points[0] @ points[1], -1.0, 1.0))


@pytest.mark.parametrize("cells", [None, np.array([0, 3, 1])])
def test_geocell_equals_angles_between_vectors(cells):
    wanted = 0.0
    for i, place in enumerate(PLACES):
        distances = [kilometres(place, centroid) for centroid in CENTROIDS]
        own = min(distances) if cells is None else distances[cells[i]]
        wanted -= sum(math.exp((own - d) / 4000.0) * v for d, v in zip(distances, log_softmax(LOGITS)[i])) / 3
    given = {} if cells is None else {"cells": cells}
    assert value_of(HaversineGeocell(4000.0), LOGITS, PLACES, CENTROIDS, **given) == pytest.approx(wanted, rel=1e-4)


def test_narrow_targets_are_the_nearest_cell_and_longitudes_wrap():
    nearest = -np.mean(log_softmax(LOGITS)[np.arange(3), [0, 3, 2]])
    assert value_of(HaversineGeocell(1.0), LOGITS, PLACES, CENTROIDS) == pytest.approx(nearest, rel=1e-5)
    around = PLACES + np.array([[360.0, 0.0]], "float32")
    assert value_of(HaversineGeocell(500.0), LOGITS, around, CENTROIDS) == pytest.approx(
        value_of(HaversineGeocell(500.0), LOGITS, PLACES, CENTROIDS), rel=1e-4
    )


def test_geocell_stays_finite_at_a_centroid_at_its_antipode_and_in_a_wrong_cell():
    places = np.array([[0.0, 0.0], [180.0, 0.0], [0.0, 0.0]], "float32")
    centroids = np.array([[0.0, 0.0], [180.0, 0.0], [0.0, 0.0], [90.0, 0.0]], "float32")
    loss = HaversineGeocell()
    got, gradients = value_and_gradients(
        lambda *args: loss(*args, cells=np.array([1, 0, 1])), [LOGITS, places, centroids]
    )
    assert np.isfinite(got) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_what_is_refused():
    with pytest.raises(ValueError, match="smoothing_km is 0.0; give a positive number"):
        HaversineGeocell(0.0)
