"""Where nothing but the embedding is wanted, the last block is run for the pooled token alone, to the same numbers."""

import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_tensor as as_tensor
from shared_case import fill, numpy, tiny_model, value_and_gradients

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers.transformer import TransformerBlock

IDS = np.array([[1, 7, 8, 2, 2, 0], [1, 2, 0, 0, 0, 0], [1, 3, 4, 5, 6, 7]], "int32")  # the last one has no end
TEXT = {"vocab_size": 12, "context_length": 6, "width": 16, "depth": 2, "num_heads": 2, "embed_dim": 8, "eot_id": 2}
IMAGE = {"image_size": 16, "patch_size": 8, "width": 16, "depth": 2, "num_heads": 2, "embed_dim": 8}
TEXTS = {
    "end of text": {},
    "both ways": {"causal": False},
    "fused, gains": {"fused": True, "layer_scale": 0.5},
    "last": {"pool": "last"},
    "class": {"pool": "class_embedding"},
    "padding": {"mask_padding": True},
    "padding, both ways": {"mask_padding": True, "causal": False},
    "no MLP last": {"bare_every": 1},
}
IMAGES = {
    "plain": {},
    "fused, gains": {"fused": True, "layer_scale": 0.5},
    "tokens normed": {"norm_tokens": True},
    "norms behind": {"res_post_norm": True},
}
OF_MANY = {"dropout": {"dropout": 0.1}, "average": {"pool": "average"}}


def both(tower, *arrays, **options):
    """What comes out with tokens and without."""
    return [tower(*arrays, tokens=tokens, **options) for tokens in (True, False)]


@pytest.mark.parametrize("options", TEXTS.values(), ids=TEXTS)
def test_texts(options):
    tower = TextTransformer(**TEXT, **options)
    fill(tower)
    arrays = (IDS, np.array(IDS > 0)) if options.get("mask_padding") else (IDS,)
    whole, alone = both(tower, *map(as_tensor, arrays))
    assert "tokens" in whole and "tokens" not in alone
    np.testing.assert_allclose(numpy(alone["embedding"]), numpy(whole["embedding"]), atol=1e-6)
    assert numpy(whole["embedding"])[2].any() == (tower.pool != "end_of_text")


@pytest.mark.parametrize("options", IMAGES.values(), ids=IMAGES)
def test_pictures(options):
    tower = VisionTransformer(**IMAGE, **options)
    fill(tower)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    whole, alone = both(tower, as_tensor(pixels))
    assert "tokens" in whole and "tokens" not in alone
    np.testing.assert_allclose(numpy(alone["embedding"]), numpy(whole["embedding"]), atol=1e-6)


@pytest.mark.parametrize("options", OF_MANY.values(), ids=OF_MANY)
def test_all_tokens_are_run_where_they_count(options):
    """Each draws for itself, or each is pooled."""
    tower = TextTransformer(**TEXT, mask_padding=True, **options)
    assert all("tokens" in each for each in both(tower, as_tensor(IDS)))


@pytest.mark.parametrize("options", [{"layers": (1,)}, {"until": 1}, {"prompts": {0: np.zeros((2, 16), "float32")}}])
def test_all_tokens_are_run_beside_other_options(options):
    tower = TextTransformer(**TEXT)
    fill(tower)
    whole, other = both(tower, as_tensor(IDS), **options)
    np.testing.assert_array_equal(numpy(whole["embedding"]), numpy(other["embedding"]))


def test_gradients_are_the_same():
    tower = TextTransformer(**TEXT)
    fill(tower)
    ids, vectors = as_tensor(IDS), numpy(tower.embed(as_tensor(IDS)))
    weight = np.random.default_rng(1).normal(size=(3, 8)).astype("float32")

    def value(tokens):
        return lambda x: ops.sum(ops.multiply(tower(ids, embeddings=x, tokens=tokens)["embedding"], weight))

    (whole, (slope,)), (alone, (other,)) = (value_and_gradients(value(each), [vectors]) for each in (True, False))
    assert alone == pytest.approx(whole, abs=1e-6) and slope.any()
    np.testing.assert_allclose(other, slope, atol=2e-6)


def test_a_model_runs_all_only_where_tokens_are_asked_for():
    model, asked = tiny_model(), []
    batch = {"images": np.zeros((2, 16, 16, 3), "uint8"), "token_ids": IDS[:2]}
    for name, tower in model.modalities().items():
        original = tower.call
        tower.call = lambda *args, name=name, original=original, **options: (
            asked.append((name, options.get("tokens", True))) or original(*args, **options)
        )
    plain = model(batch)
    assert set(asked) == {("image", False), ("text", False)}
    asked.clear()
    found = model(batch, outputs=("image_tokens", "text_embeddings", "image_embeddings"))
    assert set(asked) == {("image", True), ("text", False)} and "image_tokens" in found
    np.testing.assert_allclose(numpy(found["image_embeddings"]), numpy(plain["image_embeddings"]), atol=1e-6)


class Added(TransformerBlock):
    """Of somebody else, who adds something at each position."""

    def call(self, x, **options):
        return super().call(x, **options) + 0.5 * x


def of_somebody_else(block):
    block.__class__ = Added


def of_another_mask(block):
    block.attention.causal = not block.attention.causal


@pytest.mark.parametrize("change", (of_somebody_else, of_another_mask))
def test_a_last_block_that_is_not_as_it_was_made_is_run_as_a_whole(change):
    text, image = TextTransformer(**TEXT), VisionTransformer(**IMAGE)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    for tower, array in ((text, IDS), (image, pixels)):
        fill(tower)
        before = numpy(tower(as_tensor(array))["embedding"])
        change(tower.blocks[-1])
        whole, alone = both(tower, as_tensor(array))
        np.testing.assert_allclose(numpy(alone["embedding"]), numpy(whole["embedding"]), atol=1e-6)
        assert np.abs(numpy(whole["embedding"]) - before).max() > 1e-3
