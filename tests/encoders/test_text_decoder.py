"""The decoder of token ids: what it reads, the tied table, a step at a time, refusals."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.encoders import TextDecoder
from kzoo.layers.step import Step

SMALL = {"width": 8, "depth": 2, "num_heads": 2}
random = np.random.default_rng(0)
IDS = random.integers(0, 20, (3, 6)).astype("int32")
CONTEXT = random.normal(size=(3, 4, 5)).astype("float32")


@pytest.fixture
def decoder():
    decoder = TextDecoder(20, 6, context_width=5, **SMALL)
    fill(decoder)
    return decoder


def test_logits_are_products_with_the_token_table(decoder):
    states = numpy(decoder(IDS, CONTEXT))
    expected = states @ numpy(decoder.token_embedding).T
    np.testing.assert_allclose(numpy(decoder.logits(states)), expected, rtol=1e-5, atol=1e-5)
    kernel, bias = decoder.output_weights()
    np.testing.assert_allclose(states @ numpy(kernel), expected, rtol=1e-5, atol=1e-5)
    assert bias is None


def test_a_state_sees_its_past_its_place_and_its_context(decoder):
    states = numpy(decoder(IDS, CONTEXT))
    changed = IDS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % 20
    difference = np.abs(numpy(decoder(changed, CONTEXT)) - states).max(axis=(0, 2))
    assert difference[:3].max() < 1e-6 and difference[3:].min() > 1e-4
    same = np.full_like(IDS, 7)  # told apart by their places alone
    assert np.abs(np.diff(numpy(decoder(same, CONTEXT)), axis=1)).max(axis=(0, 2)).min() > 1e-3
    assert np.abs(numpy(decoder(IDS, CONTEXT[::-1])) - states).max(axis=(1, 2))[[0, 2]].min() > 1e-3


def test_steps_are_rows_of_a_call(decoder):
    """Rows at different positions, two of each picture."""
    ids = np.repeat(IDS, 2, axis=0)
    ids[1::2] = ids[1::2, ::-1]
    states = numpy(decoder(ids, np.repeat(CONTEXT, 2, axis=0)))
    memory = decoder.memory(CONTEXT)
    cache = [tuple(np.zeros((6, 2, 6, 4), "float32") for _ in range(2)) for _ in range(2)]
    for step in range(6):
        positions = np.maximum(step - np.arange(6, dtype="int32") % 2, 0)
        each = Step(ids, positions)
        got, cache = decoder.step(each, each.ids, cache, memory, copies=2)
        np.testing.assert_allclose(numpy(got)[:, 0], states[np.arange(6), positions], rtol=1e-5, atol=1e-5)


def test_config_round_trip_and_half_precision():
    decoder = TextDecoder(20, 6, context_width=5, embedding_tokens=3, noise=0.1, start_id=4, **SMALL)
    again = TextDecoder.from_config(decoder.get_config())
    again.set_weights(decoder.get_weights())
    embedding = CONTEXT[:, 0]
    expected = numpy(decoder(IDS, decoder.tokens_of(embedding)))
    np.testing.assert_array_equal(numpy(again(IDS, again.tokens_of(embedding))), expected)
    half = TextDecoder.from_config(decoder.get_config() | {"dtype": "mixed_bfloat16"})
    half.set_weights(decoder.get_weights())
    got = half(IDS, half.tokens_of(embedding))
    np.testing.assert_allclose(numpy(keras.ops.cast(got, "float32")), expected, atol=0.1)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"noise": 0.1}, "noise is 0.1, but this decoder reads image tokens"),
        ({"start_id": 20}, "start_id is 20, but the vocabulary has the ids 0 to 19"),
    ],
)
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        TextDecoder(20, 6, context_width=5, **SMALL, **arguments)


def test_ids_longer_than_the_context(decoder):
    with pytest.raises(ValueError, match="at most 6 ids a row"):
        decoder(np.zeros((1, 7), "int32"), CONTEXT[:1])
