"""Bits are those of the index, their gradient that of the sigmoid, and codes are trained by any loss."""

import numpy as np
from keras import ops
from shared_case import batch_of, fill, numpy, tiny_model, value_and_gradients

import kzoo
from kzoo.layers import BinaryCode, Head
from kzoo.losses import InfoNCE
from kzoo.retrieval import BinaryIndex

random = np.random.default_rng(0)
X, WEIGHTS = random.normal(size=(4, 6)).astype("float32"), random.normal(size=(4, 70)).astype("float32")


def test_bits_go_forward_and_the_sigmoid_goes_back():
    layer = BinaryCode(70)
    layer.build((None, 6))
    fill(layer, scale=1.0)
    kernel, bias = layer.numbers()
    found = numpy(layer(X))
    np.testing.assert_array_equal(found, np.where(X @ kernel + bias > 0, 1.0, -1.0))
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(ops.multiply(layer(x), WEIGHTS)), [X])
    sigmoid = 1.0 / (1.0 + np.exp(-(X @ kernel + bias)))
    np.testing.assert_allclose(gradient, (2.0 * WEIGHTS * sigmoid * (1.0 - sigmoid)) @ kernel.T, rtol=1e-4, atol=1e-4)

    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    codes = numpy(layer(unit))
    index = BinaryIndex(X, kernel=kernel, bias=bias, rerank=0)
    np.testing.assert_array_equal(2.0 * np.unpackbits(index.codes, axis=1, count=70) - 1.0, codes)
    found = index.search(X, 4)
    cosines = codes @ codes.T / 70  # which count the bits that agree
    np.testing.assert_allclose(found.scores, -np.sort(-cosines, axis=1), atol=1e-6)


def test_codes_of_both_towers_are_trained_and_saved(tmp_path):
    pair = tiny_model(depth=1)
    heads = [Head(BinaryCode(16), "*_embeddings", "*_codes")]
    model = kzoo.DualEncoder(pair.image_encoder, pair.text_encoder, preprocessor=pair.preprocessor, heads=heads)
    batch, before = batch_of(model, 8), heads[0].layer.numbers()[0]
    model.compile(kzoo.training.AdamW(1e-2), loss=InfoNCE(0.1, inputs=("image_codes", "text_codes")))
    losses = model.fit(batch, batch_size=8, epochs=8, verbose=0).history["loss"]
    assert min(losses[1:]) < losses[0] and not np.array_equal(before, heads[0].layer.numbers()[0])
    model.save_to_preset(tmp_path / "codes")
    again = kzoo.from_preset(tmp_path / "codes")
    for name in ("image_codes", "text_codes"):
        np.testing.assert_array_equal(numpy(again(batch, only=(name,))[name]), numpy(model(batch, only=(name,))[name]))
