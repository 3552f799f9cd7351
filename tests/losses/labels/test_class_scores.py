"""Losses on ready scores, of cells, concepts or tokens: HaversineGeocell, GumbelContrastive, TokenClassification."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import (
    Captioning,
    CaptioningContrastive,
    GumbelContrastive,
    HaversineGeocell,
    InfoNCE,
    TokenClassification,
)

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


def test_gumbel_is_least_for_equal_scores():
    nothing = {name: np.zeros((3, 4), "float32") for name in ("row_noise", "column_noise")}
    least = (math.log(4) + math.log(3)) / 2
    loss = GumbelContrastive()
    assert value_of(loss, np.full((3, 4), 7.0, "float32"), **nothing) == pytest.approx(least, rel=1e-6)
    wanted = -(np.mean(log_softmax(LOGITS)) + np.mean(log_softmax(LOGITS.T))) / 2
    assert value_of(loss, LOGITS + 3.0, **nothing) == pytest.approx(wanted, rel=1e-5) and wanted > least
    parts = [value_of(loss, LOGITS, **nothing, sample_weight=row) for row in np.eye(3, dtype="float32")]
    assert np.mean(parts) == pytest.approx(wanted, rel=1e-5)


def test_gumbel_noise_comes_from_the_seed():
    one, other = GumbelContrastive(seed=1), GumbelContrastive(seed=1)
    first = value_of(one, LOGITS)
    assert first == value_of(other, LOGITS) and first != value_of(one, LOGITS)
    noise = numpy(GumbelContrastive(seed=1)._gumbel(keras.ops.zeros((200, 200))))
    assert noise.mean() == pytest.approx(0.5772, abs=0.03) and noise.var() == pytest.approx(math.pi**2 / 6, abs=0.06)


def test_tokens_count_once_each_by_their_weight():
    ids = np.array([[1, 3, 1, -1], [0, 0, 0, 2], [2, 3, 2, 0]])
    weights = np.array([1.0, 0.5, 0.0, 2.0], "float32")
    targets = np.array([[0, 0.2, 0, 0.8], [1, 0, 0, 0], [1 / 3, 0, 0, 2 / 3]])
    wanted = -np.mean(np.sum(targets * log_softmax(LOGITS), axis=1))
    assert value_of(TokenClassification(), LOGITS, ids, token_weights=weights) == pytest.approx(wanted, rel=1e-5)
    own = TokenClassification(vocab_size=4)
    assert value_of(own, LOGITS, ids) == pytest.approx(value_of(TokenClassification(), LOGITS, ids), rel=1e-6)
    own.token_weights.assign(weights)
    assert value_of(own, LOGITS, ids) == pytest.approx(wanted, rel=1e-5) and not own.trainable_variables
    again = TokenClassification.from_config(own.get_config())
    again.set_weights(own.get_weights())
    assert value_of(again, LOGITS, ids) == value_of(own, LOGITS, ids)


def test_tokens_that_do_not_count():
    ids = np.array([[1, 3, 2], [0, 0, 0], [2, 2, 1]])
    mask = np.array([[True, True, False], [False] * 3, [False, True, True]])
    masked = np.where(mask, ids, -1)
    tensors = {"token_logits": LOGITS, "token_ids": ids, "padding_mask": mask}
    total, _ = TokenClassification().from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(value_of(TokenClassification(), LOGITS, masked), rel=1e-6)
    left = value_of(TokenClassification(), LOGITS[[0, 2]], masked[[0, 2]])
    assert float(numpy(total)) == pytest.approx(2 / 3 * left, rel=1e-5)  # a caption without tokens has loss 0
    got, (gradient,) = value_and_gradients(lambda z: TokenClassification()(z, -np.ones_like(ids)), [LOGITS])
    assert got == 0.0 and not gradient.any()


def test_uniform_scores_of_tokens():
    uniform = np.zeros((2, 8), "float32")
    assert value_of(TokenClassification(), uniform, np.array([[1], [2]])) == pytest.approx(math.log(8), rel=1e-6)


def test_coca_is_the_sum_of_its_terms():
    a, b = random.normal(size=(2, 3, 4)).astype("float32")
    logits, labels = random.normal(size=(3, 2, 5)).astype("float32"), np.array([[0, 1], [2, 3], [4, 0]])
    tensors = {
        "image_embeddings": a,
        "text_embeddings": b,
        "caption_logits": logits,
        "caption_labels": labels,
        "caption_mask": np.array([[True, True], [True, False], [False, False]]),
        "sample_weight": np.array([1.0, 2.0, 0.5], "float32"),
        "logit_scale": np.float32(4.0),
    }
    total, _ = CaptioningContrastive(caption_weight=0.7).from_tensors(tensors)
    wanted, _ = (InfoNCE() + 0.7 * Captioning()).from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(float(numpy(wanted)), rel=1e-6)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: HaversineGeocell(0.0), "smoothing_km is 0.0 and radius_km 6371.0; give positive kilometres"),
        (lambda: GumbelContrastive(tau=-1.0), "tau is -1.0; give a positive number"),
        (
            lambda: TokenClassification()(LOGITS, np.zeros(3, "int32")),
            r"token_ids as \(batch, length\), but got \(3,\)",
        ),
        (lambda: CaptioningContrastive(temperature=0.0), "give a positive number"),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
