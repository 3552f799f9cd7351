"""Train a small network on handwritten digits with labels, SupCon, and compare features before and after."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import kzoo
from kzoo import keras
from kzoo.layers import Projector
from kzoo.losses import SupCon

digits = load_digits()
pixels, labels = digits.data.astype("float32") / 16.0, digits.target  # (1797, 64)
train_x, test_x, train_y, test_y = train_test_split(pixels, labels, train_size=200, random_state=0, stratify=labels)

# any keras model from an array to a vector is an encoder
keras.utils.set_random_seed(0)
encoder = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(32),
    ]
)
model = kzoo.SelfSupervised(encoder, Projector((64, 32)))


def scores():
    """Accuracy on digits that were not seen, of the nearest neighbours and of a linear classifier."""
    x, y = model.encode(train_x), model.encode(test_x)
    readers = KNeighborsClassifier(5, metric="cosine"), LogisticRegression(max_iter=2000)
    return [reader.fit(x, train_y).score(y, test_y) for reader in readers]


# two views that differ by noise; every other view of the same digit in the batch is a positive
noise = keras.random.normal((2, *train_x.shape), stddev=0.2, seed=0)
views = keras.ops.convert_to_numpy(noise) + train_x
before = scores()
model.compile(keras.optimizers.Adam(2e-3), loss=SupCon(temperature=0.1, labels="digit"))
batch = {"view_1": views[0], "view_2": views[1], "digit": train_y}
model.fit(batch, batch_size=100, epochs=30, verbose=2)

print(f"{'':12}{'k-NN':>8}{'linear':>8}")
for name, found in (("untrained", before), ("SupCon", scores())):
    print(f"{name:12}" + "".join(f"{score:8.1%}" for score in found))
