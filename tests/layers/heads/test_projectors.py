"""Projectors side by side and by part, tokens, classifiers, predictors: against numpy, and what is refused."""

import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.layers import (
    Classifier,
    CodeDecoder,
    FeatureAugmenter,
    GroupAdapters,
    HypernetworkPredictor,
    MultiHeadProjector,
    Projector,
    SplitProjector,
    TokenProjector,
)

random = np.random.default_rng(0)
X = random.normal(size=(3, 6)).astype("float32")
TOKENS = random.normal(size=(2, 4, 6)).astype("float32")


def filled(layer, *shapes):
    layer.build(*shapes)
    fill(layer)
    return layer


def test_tokens_and_maps_are_more_rows_of_a_projector():
    layer = Projector((5, 4), prototypes=3)
    whole = numpy(layer(TOKENS, training=True))
    other = Projector((5, 4), prototypes=3)
    other.build((None, 6))
    other.set_weights(layer.get_weights())
    layer.set_weights(other.get_weights())
    np.testing.assert_allclose(whole.reshape(8, 3), numpy(other(TOKENS.reshape(8, 6), training=True)), atol=1e-5)
    grid = numpy(layer(TOKENS.reshape(2, 2, 2, 6)))
    np.testing.assert_allclose(grid.reshape(2, 4, 3), numpy(layer(TOKENS)), atol=1e-6)


def test_heads_stand_side_by_side():
    layer = filled(MultiHeadProjector(2, (5, 4)), (None, 6))
    given = numpy(layer(X))
    assert given.shape == (3, 2, 4)
    for number, projector in enumerate(layer.projectors):
        np.testing.assert_allclose(given[:, number], numpy(projector(X)), atol=1e-6)
    with pytest.raises(ValueError, match="num_heads is 0"):
        MultiHeadProjector(0, (4,))


def test_the_class_token_is_left_out():
    layer = filled(TokenProjector(3, skip=1), (None, 4, 6))
    kernel = numpy(layer.projection.final.kernel)
    np.testing.assert_allclose(numpy(layer(TOKENS)), TOKENS[:, 1:] @ kernel, rtol=1e-5, atol=1e-6)


def test_a_cosine_classifier_sees_directions_only():
    layer = filled(Classifier(5, scale=2.0), (None, 6))
    logits = numpy(layer(X))
    kernel = numpy(layer.kernel)
    lengths = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(logits, 2.0 * X @ kernel / lengths, atol=1e-5)
    np.testing.assert_allclose(numpy(layer(7.0 * X)), logits, atol=1e-5)
    linear = filled(Classifier(5), (None, 6))
    np.testing.assert_allclose(numpy(linear(X)), X @ numpy(linear.kernel) + numpy(linear.bias), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"scale is 0.0; give a positive number"):
        Classifier(5, scale=0.0)
    with pytest.raises(ValueError, match="num_classes is 0"):
        Classifier(0)


def test_a_code_is_decoded_through_its_state():
    layer = filled(CodeDecoder(5, (2, 3)), (None, 6))
    state, drawn = (numpy(each) for each in layer(X))
    last = layer.to_values.hidden[0]
    expected = state @ numpy(last.kernel) + numpy(last.bias)
    np.testing.assert_allclose(drawn.reshape(3, 6), expected, rtol=1e-5, atol=1e-6)


def test_parts_read_all_channels_or_their_own():
    parts = {"common": (4,), "salient": (2,)}
    shared = filled(SplitProjector(parts), (None, 6))(X)
    assert {name: each.shape for name, each in shared.items()} == {"common": (3, 4), "salient": (3, 2)}
    layer = filled(SplitProjector(parts, widths=(4, 2)), (None, 6))
    changed = X.copy()
    changed[:, 4:] = 0.0
    before, after = layer(X), layer(changed)
    np.testing.assert_array_equal(numpy(before["common"]), numpy(after["common"]))
    assert np.abs(numpy(before["salient"]) - numpy(after["salient"])).max() > 1e-3
    with pytest.raises(ValueError, match="parts name 1; give two or more"):
        SplitProjector({"common": (4,)})
    with pytest.raises(ValueError, match="there are 2 parts, but 1 widths"):
        SplitProjector(parts, widths=(6,))
    with pytest.raises(ValueError, match=r"the widths \(4, 3\) add up to 7, but the embedding has 6 channels"):
        SplitProjector(parts, widths=(4, 3)).build((None, 6))


@pytest.mark.parametrize("hyper_dims", [(), (5,)])
def test_each_row_has_a_map_of_its_own(hyper_dims):
    parameters = random.normal(size=(3, 2)).astype("float32")
    layer = filled(HypernetworkPredictor(2, (4,), hyper_dims, bias=True), (None, 6), (None, 2))
    h = parameters
    if hyper_dims:
        first = layer.hyper.hidden[0]
        h = np.maximum(parameters @ numpy(first.kernel) + numpy(first.bias), 0.0)
    expected = []
    for x, of_row in zip(X, h):
        for number, (kernel, bias) in enumerate(zip(layer.kernels, layer.biases)):
            kernel, bias, mix = numpy(kernel), numpy(bias), np.concatenate([[1.0], of_row])
            own = sum(share * kernel[:, k] for k, share in enumerate(mix))
            x = x @ own + mix @ bias
            x = np.maximum(x, 0.0) if number == 0 else x
        expected.append(x)
    np.testing.assert_allclose(numpy(layer(X, parameters)), expected, rtol=1e-4, atol=1e-5)


def test_adapters_of_groups():
    layer = GroupAdapters(3, hidden_dim=4, activation="relu")
    groups = np.array([2, 0, 0], "int32")
    np.testing.assert_array_equal(numpy(layer(X, groups)), X)  # the identity, before it is trained
    fill(layer)
    down, up = numpy(layer.down), numpy(layer.up)
    expected = [x + np.maximum(x @ down[g], 0.0) @ up[g] for x, g in zip(X, groups)]
    np.testing.assert_allclose(numpy(layer(X, groups)), expected, rtol=1e-5, atol=1e-5)
    tokens = numpy(layer(TOKENS, np.array([1, -1], "int32")))
    np.testing.assert_allclose(tokens[0], TOKENS[0] + np.maximum(TOKENS[0] @ down[1], 0.0) @ up[1], atol=1e-5)
    np.testing.assert_allclose(tokens[1], TOKENS[1], atol=1e-6)
    np.testing.assert_allclose(numpy(layer(X, np.array([7, 7, 7], "int32"))), X, atol=1e-6)
    with pytest.raises(ValueError, match="num_groups is 0"):
        GroupAdapters(0)


def test_an_augmenter_adds_to_what_it_reads():
    layer = filled(FeatureAugmenter(5, dropout=0.5), (None, 6))
    (up, down) = layer.up.hidden[0], layer.down.hidden[0]
    hidden = np.maximum(X @ numpy(up.kernel) + numpy(up.bias), 0.0)
    expected = X + hidden @ numpy(down.kernel) + numpy(down.bias)
    np.testing.assert_allclose(numpy(layer(X)), expected, rtol=1e-5, atol=1e-5)
    drawn = [numpy(layer(X, training=True)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
