"""Arrays for the tests of classifiers on embeddings, and one of each kind."""

import json
from pathlib import Path

import numpy as np

from kzoo.adaptation import (
    ConceptMatrixSearch,
    GaussianDiscriminant,
    KNearestNeighbours,
    LabelPropagation,
    LinearProbe,
    NearestClassMean,
    TipAdapter,
    TransportedMeans,
    ZeroShot,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "golden_adaptation.json").read_text())
NAMES = ("wren", "robin", "crow")


def blobs(count=8, dim=6, spread=0.6, seed=0):
    """Pictures of three classes around their texts: `(embeddings, labels, texts)`."""
    random = np.random.default_rng(seed)
    texts = np.eye(3, dim)
    labels = np.repeat(np.arange(3), count)
    rows = texts[labels] + spread * random.normal(size=(3 * count, dim))
    return rows.astype("float32"), labels, texts.astype("float32")


def everyone():
    """A classifier of each kind that numpy makes, by its name."""
    rows, labels, texts = blobs()
    made = (
        ZeroShot(texts, NAMES),
        GaussianDiscriminant(rows, labels, texts, NAMES, alpha=0.5),
        TipAdapter(rows, labels, texts, NAMES, alpha=2.0, beta=3.0),
        NearestClassMean(rows, labels, NAMES),
        KNearestNeighbours(rows, labels, NAMES, k=5),
        TransportedMeans(rows, labels, NAMES, passes=2),
        LinearProbe(rows, labels, NAMES, C=10.0),
        LabelPropagation(rows, texts, classes=NAMES),
        ConceptMatrixSearch(texts, np.roll(np.eye(6), 1, 0)[:5] + 0.1, NAMES, cubed=True),
    )
    return {type(each).__name__: each for each in made}
