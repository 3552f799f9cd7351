"""Layers that torch calls without Keras around them: the same numbers, and Keras wherever it has something to do."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_tensor as as_tensor
from shared_case import numpy

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.keras_contact import CalledDirectly
from kzoo.layers import Attention, TransformerBlock
from kzoo.layers.pooling import AttentionPooling, ProbePooling, QueryPooling
from kzoo.layers.transformer import LayerScale

pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="the others compile what is around a call")
WIDTH = 8
X = np.random.default_rng(0).normal(size=(2, 5, WIDTH)).astype("float32")
REAL = np.arange(5) < np.array([[5], [3]])
SEEN = np.tril(np.ones((2, 5, 5), bool))
BLOCK = {"width": WIDTH, "num_heads": 2, "mlp_dim": 16}


def by_keras(layer, *arrays, **options):
    """What Keras makes of a call, of this layer and of all within it."""
    kept = CalledDirectly.__call__
    CalledDirectly.__call__ = lambda self, *args, **kwargs: super(CalledDirectly, self).__call__(*args, **kwargs)
    try:
        return layer(*arrays, **options)
    finally:
        CalledDirectly.__call__ = kept


class Calls:
    """Counts the calls of Keras' own `__call__` of one layer."""

    def __init__(self, layer, monkeypatch):
        self.count, kept = 0, keras.layers.Layer.__call__

        def counted(called, *args, **kwargs):
            self.count += called is layer
            return kept(called, *args, **kwargs)

        monkeypatch.setattr(keras.layers.Layer, "__call__", counted)


CASES = {
    "block": (lambda: TransformerBlock(**BLOCK, layer_scale=0.5), {"training": False}),
    "padded": (lambda: TransformerBlock(**BLOCK, causal=True), {"padding_mask": REAL, "training": False}),
    "in an order": (lambda: TransformerBlock(**BLOCK), {"padding_mask": REAL, "visible": SEEN, "training": False}),
    "cross": (lambda: TransformerBlock(**BLOCK, cross=True), {"context": X[:, ::-1].copy(), "training": False}),
    "norms of heads": (lambda: Attention(WIDTH, 2, head_norm="layer", gate="bias", fused=True), {}),
    "scale": (lambda: LayerScale(0.5), {}),
    "probe": (lambda: ProbePooling(WIDTH, 2), {"padding_mask": REAL}),
    "pool": (lambda: AttentionPooling(WIDTH, 2, 16), {}),
    "queries": (lambda: QueryPooling(WIDTH, 3, 2), {}),
}


@pytest.mark.parametrize("made, options", CASES.values(), ids=CASES)
def test_the_same_numbers_without_keras_around(made, options, monkeypatch):
    layer = made()
    options = {name: each if isinstance(each, bool) else as_tensor(each) for name, each in options.items()}
    outer = keras.layers.Layer(name="outer")
    outer.call = lambda x: layer(x, **options)
    want = numpy(by_keras(layer, as_tensor(X), **options))
    calls = Calls(layer, monkeypatch)
    np.testing.assert_allclose(numpy(outer(as_tensor(X))), want, atol=1e-6)
    assert calls.count == 0


def test_towers():
    sizes = {"width": 8, "depth": 2, "num_heads": 2, "embed_dim": 4}
    image, text = VisionTransformer(8, 4, **sizes), TextTransformer(16, 6, eot_id=15, **sizes)
    ids = np.array([[1, 4, 15, 0, 0, 0], [1, 2, 3, 4, 5, 15]], "int32")
    for tower, array in ((image, np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), "uint8")), (text, ids)):
        found, want = tower(as_tensor(array)), by_keras(tower, as_tensor(array))
        for name in want:
            np.testing.assert_allclose(numpy(found[name]), numpy(want[name]), atol=1e-6)


def watched(layer):
    layer.register_forward_hook(lambda *given: None)


def regularised(layer):
    layer.activity_regularizer = keras.regularizers.L2(0.1)


@pytest.mark.parametrize("change", [watched, regularised])
def test_keras_is_there_where_it_has_something_to_do(change, monkeypatch):
    layer = LayerScale(0.5)
    layer(as_tensor(X))
    change(layer)
    calls = Calls(layer, monkeypatch)
    layer(as_tensor(X))
    assert calls.count == 1


def test_other_types_masks_and_policies(monkeypatch):
    layer, half = LayerScale(0.5), LayerScale(0.5, dtype="mixed_bfloat16")
    for each in (layer, half):
        each.build(X.shape)
    masked = as_tensor(X)
    masked._keras_mask = as_tensor(REAL)
    calls = Calls(layer, monkeypatch)
    assert str(layer(as_tensor(X.astype("float64"))).dtype) == "torch.float32"
    layer(X)
    with pytest.warns(UserWarning, match="does not support masking"):
        layer(masked)
    with keras.src.backend.AutocastScope("bfloat16"):
        layer(as_tensor(X))
    assert calls.count == 4
    assert str(half(as_tensor(X)).dtype) == "torch.bfloat16"


def test_quantised_layers_multiply_integers():
    layer = Attention(WIDTH, 2)
    want = numpy(layer(as_tensor(X)))
    layer.query.quantize("int8")
    found = numpy(layer(as_tensor(X)))
    assert 0.0 < np.abs(found - want).max() < 0.05


def test_layers_stand_in_a_functional_model():
    """Which hands `training` on to every layer, also to those that have no such argument."""
    x = keras.Input((5, WIDTH))
    attention, scale = Attention(WIDTH, 2), LayerScale(0.5)
    model = keras.Model(x, scale(attention(x)))
    wanted = numpy(scale(attention(as_tensor(X))))
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, atol=1e-6)
    model.compile("sgd", "mse")
    model.train_on_batch(X, X)
    assert np.abs(model.predict(X, verbose=0) - wanted).max() > 1e-4


def test_training_comes_from_around():
    block = TransformerBlock(**BLOCK, dropout=0.5)
    x = as_tensor(X)

    class Around(keras.layers.Layer):
        def call(self, x, training=None):
            return self.inner(x) if self.said is None else self.inner(x, training=self.said)

    for inner in (block, keras.Sequential([block])):
        around = Around()
        around.inner, around.said = inner, None
        for said, outside, draws in (
            (None, True, True),
            (None, False, False),
            (False, True, False),
            (True, False, True),
        ):
            around.said = said
            first, second = (numpy(around(x, training=outside)) for _ in range(2))
            assert (np.abs(first - second).max() > 0.0) == draws
