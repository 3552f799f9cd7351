"""Hard negatives of a batch: what embeds them, which losses read them, what is refused."""

import keras
import numpy as np
import pytest
from shared_case import captioner, fill, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.losses import HardNegativeContrastive

PAIRS = toy_pairs(24)
REVERSED = [[" ".join(reversed(caption.split()))] for caption in PAIRS["captions"]]  # the same words


def batch_with(model, negatives):
    rows = len(negatives)
    return model.preprocessor(PAIRS["images"][:rows], PAIRS["captions"][:rows], negatives)


@pytest.mark.parametrize("name", ["tiny", "coca_nano", "blip_itm_nano"])
def test_each_is_embedded_as_any_other_text(name):
    model = tiny_model(depth=1) if name == "tiny" else captioner(name, PAIRS["captions"])
    fill(model.text_encoder)
    negatives = [["a circle", "circle red"], ["big", "big big"], ["small", "a triangle"]]
    batch = batch_with(model, negatives)
    got = numpy(model(batch, outputs=("negatives",))["negatives"])
    expected = model.encode_text([text for each in negatives for text in each]).reshape(3, 2, -1)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert "negatives" not in model(batch)


def test_evaluate_gives_the_loss_with_the_mask(model):
    fill(model.text_encoder)
    texts = [["red"], [], ["circle", "a a"], ["square big"]]
    batch = batch_with(model, texts)
    model.compile("sgd", loss=HardNegativeContrastive(0.5))
    results = model.evaluate(batch, batch_size=4, verbose=0)
    assert set(model.predict(batch, verbose=0)) == {"image_embeddings", "text_embeddings"}
    a, b = model.encode_image(batch["images"]), model.encode_text(PAIRS["captions"][:4])
    hard = model.encode_text([text for each in texts for text in each])
    z, of_hard = 2.0 * a @ b.T, 2.0 * a @ hard.T
    rows = np.log(np.exp(z).sum(axis=1) + np.exp(of_hard).sum(axis=1)) - np.diag(z)
    columns = np.log(np.exp(z).sum(axis=0)) - np.diag(z)
    assert results["hard_negative_contrastive"] == pytest.approx((rows + columns).mean() / 2, rel=1e-5)
    assert results["in_batch_accuracy"] > 0.0


@pytest.mark.one_other("jax")
def test_negatives_train_the_text_tower():
    model = tiny_model()
    batch = batch_with(model, REVERSED)
    model.compile(keras.optimizers.Adam(3e-3), loss=HardNegativeContrastive())
    many = {name: np.concatenate([array] * 150) for name, array in batch.items()}  # an epoch is dearer than a step
    model.fit(many, batch_size=24, shuffle=False, verbose=0)
    loss = model.evaluate(batch, verbose=0)["loss"]
    assert loss < 0.2  # ln(2) / 2 at least, if words in the wrong order looked like the right ones


def test_a_locked_text_tower_stays():
    model = tiny_model(depth=1, dropout=0.5)
    model.text_encoder.trainable = False
    batch = batch_with(model, REVERSED[:3])
    before = numpy(model(batch, outputs=("negatives",))["negatives"])
    again = numpy(model(batch, training=True, outputs=("negatives",))["negatives"])
    np.testing.assert_allclose(again, before, atol=1e-6)


def test_a_batch_without_negatives_is_refused_by_name(model):
    model.compile("sgd", loss=HardNegativeContrastive())
    batch = model.preprocessor(PAIRS["images"][:4], PAIRS["captions"][:4])
    with pytest.raises(ValueError, match="HardNegativeContrastive reads 'negative_text_embeddings'"):
        model.fit(batch, batch_size=4, verbose=0)


def test_bad_negatives(model):
    good = batch_with(model, [["a red circle", "a"]] * 3)
    ids = good["negative_token_ids"]
    for bad, sentence in (
        (ids[:, :0], r"negative_token_ids have shape \(3, 0, 10\): the bags are empty"),
        (ids[:, None], r"negative_token_ids have shape \(3, 1, 2, 10\)"),
        (np.tile(ids, (1, 1, 2)), r"negative_token_ids have shape \(3, 2, 20\).* at most 10 ids"),
        (ids[:2], "different numbers of rows"),
        (np.where(ids == 1, 999, ids), "negative_token_ids range from 0 to 999"),
        (np.where(ids == 2, 3, ids), "row 0 of negative_token_ids has no end-of-text id 2"),
        (ids.astype("float32"), "negative_token_ids are float32"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model(good | {"negative_token_ids": bad})


def test_towers_of_captions_alone_embed_none():
    model = kzoo.from_preset("blip_caption_nano", load_weights=False)
    assert model.text_encoder is None
    model.preprocessor.adapt(PAIRS["captions"])
    assert "negatives" not in model(batch_with(model, REVERSED[:2]), outputs=("negatives",))
