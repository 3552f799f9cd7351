"""Three modalities of which no two say anything of each other, a, b and c = a xor b: InfoNCE on pairs, and Symile."""

import numpy as np

import kzoo
from kzoo import keras
from kzoo.layers import SimilarityHead
from kzoo.losses import InfoNCE, Symile

BITS, DIM = 4, 16
random = np.random.default_rng(0)


def triples(count):
    """Bits of a and of b, drawn apart, and of c, by their names."""
    a, b = random.integers(0, 2, (2, count, BITS))
    return {name: bits.astype("float32") for name, bits in (("a", a), ("b", b), ("c", a ^ b))}


def accuracy(model):
    """How often the b that goes with an a and a c is found among all b there are; chance is 1 / 2 ** BITS."""
    test = triples(2000)
    every_b = np.array([[number >> bit & 1 for bit in range(BITS)] for number in range(2**BITS)], "float32")
    found = model.predict(test, batch_size=500, verbose=0)
    a, c = found["a_embeddings"], found["c_embeddings"]
    b = model.predict({"b": every_b}, verbose=0)["b_embeddings"]
    scores = {"pairs": a @ b.T + c @ b.T, "product": (a * c) @ b.T}  # sum of cosines, or the product of all three
    truth = (test["b"] @ 2 ** np.arange(BITS)).astype(int)
    return {name: np.mean(score.argmax(axis=1) == truth) for name, score in scores.items()}


def three_towers():
    keras.utils.set_random_seed(0)
    towers = {name: keras.Sequential([keras.Input((BITS,)), keras.layers.Dense(DIM)]) for name in "abc"}
    return kzoo.MultiEncoder(towers, similarity=SimilarityHead(scale=50.0, max_scale=1000.0, name="similarity"))


train = triples(4096)
pairwise = sum(InfoNCE(inputs=(f"{x}_embeddings", f"{y}_embeddings")) for x, y in ("ab", "bc", "ca"))
rows = []
for name, loss, score in (("InfoNCE on pairs", pairwise, "pairs"), ("Symile", Symile(), "product")):
    model = three_towers()
    model.compile(keras.optimizers.Adam(0.03), loss=loss)
    model.fit(train, batch_size=64, epochs=8, verbose=2)
    rows.append((name, accuracy(model)[score]))

print(f"{'loss':20}{'b found, given a and c':>24}")
for name, found in rows:
    print(f"{name:20}{found:24.1%}")
print(f"{'chance':20}{2.0**-BITS:24.1%}")
