"""The captioner: its outputs, the label shift, what training and prediction give out."""

import keras
import numpy as np
import pytest
from shared_case import TESTS, numpy, toy_pairs

import kzoo
from kzoo.losses import Captioning, InfoNCE
from kzoo.models.captioner import caption_targets

PAIRS = toy_pairs(6)


@pytest.fixture(scope="module")
def coca():
    model = kzoo.from_preset("coca_nano", load_weights=False)
    model.preprocessor.adapt(PAIRS["captions"])
    return model


def test_the_label_shift():
    """A decoder that has read tokens 0..t predicts token t + 1; what it predicts after the end does not count."""
    ids = np.array([[1, 7, 9, 2, 0, 0], [1, 5, 0, 8, 6, 2]])
    targets = caption_targets(ids, pad_id=0, padding_mask=np.array([[1, 1, 1, 1, 0, 0], [1] * 6], "bool"))
    assert numpy(targets["caption_labels"]).tolist() == [[7, 9, 2, 0, 0], [5, 0, 8, 6, 2]]
    assert numpy(targets["caption_mask"]).tolist() == [[True, True, True, False, False], [True] * 5]
    without_mask = caption_targets(ids, pad_id=0)
    assert numpy(without_mask["caption_mask"]).tolist()[1] == [True, False, True, True, True]


def test_one_pass_gives_both_embeddings_and_the_logits(coca):
    batch = coca.preprocessor(PAIRS["images"], PAIRS["captions"])
    outputs = coca(batch)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "image_embeddings": (6, 32),
        "text_embeddings": (6, 32),
        "caption_logits": (6, 14, 512),
    }
    assert keras.backend.standardize_dtype(outputs["caption_logits"].dtype) == "float32"
    assert coca.predict(batch, verbose=0).keys() == {"image_embeddings", "text_embeddings"}
    assert coca({"images": batch["images"]}).keys() == {"image_embeddings"}


def test_no_logit_sees_a_later_token(coca):
    batch = coca.preprocessor(PAIRS["images"], PAIRS["captions"])
    logits = numpy(coca(batch)["caption_logits"])
    changed = batch | {"token_ids": batch["token_ids"].copy()}
    changed["token_ids"][:, 5] = 300
    difference = np.abs(numpy(coca(changed)["caption_logits"]) - logits).max(axis=(0, 2))
    assert difference[:5].max() < 1e-5 and difference[5] > 1e-3


def test_the_terms_are_those_of_the_losses(coca):
    batch = coca.preprocessor(PAIRS["images"], PAIRS["captions"])
    coca.compile("sgd")
    results = coca.evaluate(batch, verbose=0)
    outputs = coca(batch)
    targets = caption_targets(batch["token_ids"], 0, batch["padding_mask"])
    captioning = Captioning()(outputs["caption_logits"], targets["caption_labels"], mask=targets["caption_mask"])
    contrast = InfoNCE(1.0 / float(coca.similarity.scale))(outputs["image_embeddings"], outputs["text_embeddings"])
    assert results["captioning"] == pytest.approx(float(captioning), rel=1e-4)
    assert results["info_nce"] == pytest.approx(float(contrast), rel=1e-4)
    assert results["loss"] == pytest.approx(results["info_nce"] + 2.0 * results["captioning"], rel=1e-5)


def test_a_decoder_that_reads_a_text_tower_needs_one(coca):
    with pytest.raises(ValueError, match="MultimodalDecoder reads the tokens of a text tower; give a text_encoder"):
        kzoo.Captioner(coca.image_encoder, None, coca.text_decoder)


def test_keras_files_keep_the_decoder(coca, tmp_path):
    coca.save(tmp_path / "coca.keras")
    again = keras.saving.load_model(tmp_path / "coca.keras")
    batch = coca.preprocessor(PAIRS["images"][:2], PAIRS["captions"][:2])
    np.testing.assert_array_equal(numpy(again(batch)["caption_logits"]), numpy(coca(batch)["caption_logits"]))


def test_pairs_are_matched_one_by_one():
    """`match` of every picture with every text is what the head says of each pair."""
    model = kzoo.from_preset(TESTS / "fixtures" / "hf_blip_itm_tiny")
    inputs = np.load(TESTS / "fixtures" / "hf_blip_itm_tiny" / "inputs.npz")
    ids, images = inputs["input_ids"].astype("int32"), PAIRS["images"][:2]
    pixels = model.preprocessor(images=images)["images"]
    model.preprocessor.encode_texts = lambda texts, prefix: {"token_ids": ids, "padding_mask": ids != 0}
    matrix = model.match(images, ["a", "b", "c"], batch_size=2)
    assert matrix.shape == (2, 3) and matrix.dtype == np.float32
    for row in range(2):
        pairs = {"images": np.repeat(pixels[row : row + 1], 3, axis=0), "token_ids": ids}
        logits = numpy(model(pairs, outputs=("match_logits",))["match_logits"])
        expected = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
        np.testing.assert_allclose(matrix[row], expected, atol=1e-5)
    with pytest.raises(ValueError, match="images is empty"):
        model.match([], ["a"])
