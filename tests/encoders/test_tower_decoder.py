"""MaMMUT's decoder: what it borrows, what is its own, what it refuses."""

import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.encoders import BertEncoder, TextTransformer, TowerDecoder, VisionTransformer
from kzoo.layers import TransformerBlock
from kzoo.models import Captioner

SMALL = {"width": 8, "depth": 2, "num_heads": 2}
BOTH_WAYS = {"causal": False, "pool": "average", "eot_id": 2}
IDS = np.random.default_rng(0).integers(0, 20, (2, 6)).astype("int32")
CONTEXT = np.random.default_rng(1).normal(size=(2, 4, 5)).astype("float32")


def pair(**options):
    tower = TextTransformer(20, 6, **SMALL, **BOTH_WAYS, **options)
    decoder = TowerDecoder(30, context_width=5, cross_every=2, **SMALL)
    decoder.borrow(tower)
    for layer in (tower, decoder):
        fill(layer)
    return tower, decoder


def test_a_state_sees_what_came_before_alone_and_the_picture():
    tower, decoder = pair()
    states, tokens = numpy(decoder(IDS, CONTEXT)), numpy(tower(IDS)["tokens"])
    changed = IDS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % 20
    difference = np.abs(numpy(decoder(changed, CONTEXT)) - states).max(axis=(0, 2))
    assert difference[:3].max() < 1e-6 and difference[3:].min() > 1e-5
    assert np.abs(numpy(tower(changed)["tokens"]) - tokens).max(axis=(0, 2)).min() > 1e-5  # which looks both ways
    assert np.abs(numpy(decoder(IDS, CONTEXT[::-1])) - states).max(axis=(1, 2)).min() > 1e-4
    assert decoder.logits(states).shape == (2, 6, 30) and decoder.memory_blocks == len(decoder.memory(CONTEXT)) == 1


def test_what_is_borrowed_stays_the_tower_s():
    tower, decoder = pair()
    own = {id(weight) for weight in decoder.weights}
    assert own.isdisjoint(id(weight) for weight in tower.weights)
    assert (decoder.context_length, decoder.pad_id, decoder.blocks) == (6, 0, tower.blocks)
    image = VisionTransformer(8, 4, width=5, depth=1, num_heads=1, embed_dim=8)
    model = Captioner(image, tower, decoder)
    assert len(model.weights) == len({id(weight) for weight in model.weights})
    again = TowerDecoder.from_config(decoder.get_config())
    assert again.count_params() == decoder.count_params()
    with pytest.raises(ValueError, match=r"has no text tower yet; call borrow\(tower\)"):
        again(IDS, CONTEXT)


def test_blocks_of_attention_alone():
    block = TransformerBlock(8, 2, 32, mlp="none", layer_scale=0.5)
    x = np.random.default_rng(2).normal(size=(2, 3, 8)).astype("float32")
    block.build(x.shape)
    expected = x + 0.5 * numpy(block.attention(block.norm_1(x)))
    np.testing.assert_allclose(numpy(block(x)), expected, atol=1e-6)
    bare, full = (pair(bare_every=every)[0] for every in (2, None))
    assert [block.mlp_up is None for block in bare.blocks] == [True, False]
    assert full.count_params() - bare.count_params() == 8 * 32 * 2 + 32 + 8 + 16


def test_one_block_looks_both_ways_or_back():
    both, back = (TransformerBlock(8, 2, 32, causal=causal, name="block") for causal in (False, True))
    x = np.random.default_rng(3).normal(size=(1, 4, 8)).astype("float32")
    for block in (both, back):
        block.build(x.shape)
    back.set_weights(both.get_weights())
    np.testing.assert_allclose(numpy(both(x, causal=True)), numpy(back(x)), atol=1e-6)
    np.testing.assert_allclose(numpy(back(x, causal=False)), numpy(both(x)), atol=1e-6)


@pytest.mark.once
def test_refusals():
    with pytest.raises(ValueError, match="cross_every=2 does not divide depth=3; choose a divisor"):
        TowerDecoder(20, 8, 3, 2, context_width=5, cross_every=2)
    decoder = TowerDecoder(20, context_width=5, **SMALL)
    with pytest.raises(ValueError, match="has width=8, but the text tower whose blocks it runs 16"):
        decoder.borrow(TextTransformer(20, 6, 16, 2, 2, **BOTH_WAYS))
    with pytest.raises(TypeError, match="but the text tower is a BertEncoder"):
        decoder.borrow(BertEncoder(20, 6, **SMALL))
    with pytest.raises(TypeError, match="but the text tower is a TextTransformer with one"):
        decoder.borrow(TextTransformer(20, 6, pool="class_embedding", **SMALL))
    image = VisionTransformer(8, 4, width=5, depth=1, num_heads=1, embed_dim=8)
    with pytest.raises(ValueError, match="TowerDecoder runs the blocks of a text tower; give a text_encoder"):
        Captioner(image, None, decoder)
