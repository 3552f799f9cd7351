"""The model: outputs, use, save and load, bad batches."""

import gc

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model, toy_pairs

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.models import DualEncoder

PAIRS = toy_pairs(24)


def test_outputs_are_one_row_per_sample_at_unit_length(model):
    outputs = model(batch_of(model, 4))
    assert set(outputs) == {"image_embeddings", "text_embeddings"}
    for value in outputs.values():
        assert value.shape == (4, 12) and numpy(value).dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(numpy(value), axis=1), 1.0, rtol=1e-6)


def test_tokens_by_request(model):
    batch = batch_of(model, 4)
    outputs = model(batch, outputs=("image_tokens", "text_tokens"))
    assert outputs["image_tokens"].shape == (4, 5, 24) and outputs["text_tokens"].shape == (4, 10, 24)
    assert "text_tokens" not in model(batch, outputs=("image_tokens",))


def test_one_modality_is_enough(model):
    batch = batch_of(model, 4)
    assert set(model.predict({"images": batch["images"]}, verbose=0)) == {"image_embeddings"}
    assert set(model({"token_ids": batch["token_ids"]})) == {"text_embeddings"}


def test_inference_does_not_change_from_call_to_call():
    model = tiny_model(depth=1, dropout=0.5)
    batch = batch_of(model, 4)
    first, second = (numpy(model(batch)["image_embeddings"]) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("count", [1, 3, 64, 70])
def test_encode_lists_of_any_size(model, count):
    rows = np.arange(count) % 24
    images, texts = ([PAIRS[name][row] for row in rows] for name in ("images", "captions"))
    expected = {name: numpy(value)[rows] for name, value in model(batch_of(model, 24)).items()}
    np.testing.assert_allclose(model.encode_image(images, batch_size=16), expected["image_embeddings"], atol=1e-6)
    np.testing.assert_allclose(model.encode_text(texts, batch_size=16), expected["text_embeddings"], atol=1e-6)


def test_embeddings_pass_through(model):
    images, texts = model.encode_image(PAIRS["images"][:3]), model.encode_text(PAIRS["captions"][:2])
    assert model.encode_image(images) is not None and np.array_equal(model.encode_text(texts), texts)
    raw = model.classify(PAIRS["images"][:3], ["red circle", "blue square"])
    assert np.array_equal(model.classify(images, ["red circle", "blue square"]), raw)


def test_similarity_is_the_head_and_logits_take_anything(model):
    images, texts = PAIRS["images"][:3], PAIRS["captions"][:2]
    embedded = model.encode_image(images), model.encode_text(texts)
    expected = float(model.similarity.scale) * embedded[0] @ embedded[1].T
    for got in (model.similarity(*embedded), model.logits(*embedded), model.logits(images, texts)):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    tensors = model.similarity(*map(keras.ops.convert_to_tensor, embedded))
    assert keras.ops.is_tensor(tensors)
    np.testing.assert_allclose(numpy(tensors), expected, rtol=1e-5)
    longer = [7.0 * each for each in embedded]
    for got in (model.similarity(*longer), model.similarity(*map(keras.ops.convert_to_tensor, longer))):
        np.testing.assert_allclose(numpy(got), expected, rtol=1e-5)
    np.testing.assert_allclose(model.similarity(list(images), texts), expected, rtol=1e-5)
    DualEncoder(model.image_encoder, model.text_encoder, model.similarity)  # a second model with the same head
    gc.collect()
    np.testing.assert_allclose(model.similarity(longer[0], texts), expected, rtol=1e-5)
    other = DualEncoder(model.image_encoder, model.text_encoder, model.similarity)
    with pytest.raises(TypeError, match=r"compares embeddings, arrays \(n, dim\), but got list; .* model.logits"):
        other.similarity(list(images), texts)


def test_classify_is_the_softmax_over_averaged_prompts():
    model = tiny_model(depth=1, similarity=SimilarityHead(scale=4.0, bias=-2.0, name="similarity"))
    images, labels = PAIRS["images"][:4], ["red", "blue", "green"]
    got = model.classify(images, labels, templates=["a big {}", "a small {}"])
    prompts = [model.encode_text([f"a big {label}", f"a small {label}"]).mean(axis=0) for label in labels]
    classes = np.stack([prompt / np.linalg.norm(prompt) for prompt in prompts])
    logits = np.exp(4.0 * model.encode_image(images) @ classes.T)
    np.testing.assert_allclose(got, logits / logits.sum(axis=1, keepdims=True), rtol=1e-4)
    assert got.shape == (4, 3)


def test_non_square_images():
    model = tiny_model(image_size=(16, 24), depth=1)
    assert model.encode_image(PAIRS["images"][:2]).shape == (2, 12)
    assert model.image_encoder.embedding.grid == (2, 3)


def test_keras_file_round_trips(tmp_path, model):
    model.compile("clip_adamw")
    model.fit(batch_of(model, 8), batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    texts = ["a red circle"]
    assert np.array_equal(again.encode_text(texts), model.encode_text(texts))
    assert int(again.optimizer.iterations) == 2
    batch = batch_of(model, 8)
    resumed, unbroken = (each.fit(batch, batch_size=4, verbose=0, shuffle=False).history for each in (again, model))
    assert resumed["loss"] == pytest.approx(unbroken["loss"], rel=1e-6)


def test_weights_file_round_trips(tmp_path, model):
    model.save_weights(tmp_path / "model.weights.h5")
    keras.utils.set_random_seed(1)
    other = tiny_model(depth=1)
    before = other.encode_text(["a red circle"])
    other.load_weights(tmp_path / "model.weights.h5")
    assert np.array_equal(other.encode_text(["a red circle"]), model.encode_text(["a red circle"]))
    assert not np.array_equal(before, model.encode_text(["a red circle"]))


def test_config_round_trips(model):
    again = DualEncoder.from_config(keras.saving.serialize_keras_object(model)["config"])
    assert again.count_params() == model.count_params()
    assert again.loss_spec == model.loss_spec
    assert again.preprocessor.get_config() == model.preprocessor.get_config()
    again.set_weights(model.get_weights())
    assert np.array_equal(again.encode_text(["a red circle"]), model.encode_text(["a red circle"]))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_models_give_float32_rows_near_the_exact_ones(policy, model):
    half = tiny_model(depth=1, dtype=policy)
    for new, old in zip(half.weights, model.weights):
        new.assign(numpy(old))
    batch = batch_of(model, 4)
    exact = model(batch)
    for name, value in half(batch).items():
        assert numpy(value).dtype == np.float32
        np.testing.assert_allclose(numpy(value), numpy(exact[name]), atol=3e-2)


def test_towers_must_meet_in_one_space():
    image = VisionTransformer(16, 8, 24, 1, 2, embed_dim=12)
    text = TextTransformer(300, 10, 24, 1, 2, embed_dim=16)
    with pytest.raises(ValueError, match="the image embedding has 12 channels and the text embedding 16"):
        DualEncoder(image, text)


def test_one_array_is_one_picture(model):
    picture = toy_pairs(1)["images"][0]
    assert np.array_equal(model.encode_image(picture), model.encode_image([picture]))
    with pytest.raises(TypeError, match="texts is .*; give a list of texts"):
        model.encode_text({"a", "b"})


def test_bad_batches(model):
    good = batch_of(model, 4)
    ids = good["token_ids"]
    for batch, sentence in (
        ([1, 2], "a batch is of type list, but a dict of arrays is expected"),
        ({"pixels": good["images"]}, r"a batch is a dict with the keys \['pixels'\]"),
        ({"images": good["images"][:0]}, "the batch is empty"),
        ({"images": good["images"], "token_ids": ids[:3]}, "different numbers of rows"),
        ({"images": good["images"][..., :1]}, r"this model takes \(batch, 16, 16, 3\)"),
        ({"images": good["images"][0]}, r"this model takes \(batch, 16, 16, 3\)"),
        (
            {"token_ids": np.where(ids == 1, 999, ids)},
            "range from 0 to 999, but this model's vocabulary has the ids 0 to 319",
        ),
        ({"token_ids": np.where(ids == 1, -1, ids)}, "range from -1"),
        ({"token_ids": np.where(ids == 2, 3, ids)}, "row 0 of token_ids has no end-of-text id 2"),
        ({"token_ids": ids.astype("float32")}, "token_ids are float32, but integers are expected"),
        ({"token_ids": np.tile(ids, (1, 2))}, "at most 10 ids a row"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model(batch)
        with pytest.raises(ValueError, match=sentence):
            model.predict_on_batch(batch)


@pytest.mark.parametrize("method, name", [("encode_image", "images"), ("encode_text", "texts")])
def test_empty_lists(model, method, name):
    with pytest.raises(ValueError, match=f"{name} is empty; give at least one"):
        getattr(model, method)([])


def test_unreadable_image_is_named(model):
    with pytest.raises(ValueError, match="image 1: there is no image file nowhere.jpg"):
        model.encode_image([PAIRS["images"][0], "nowhere.jpg"])


def test_text_longer_than_the_context_is_reported(model):
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than the context of 10 ids"):
        assert np.isfinite(model.encode_text(["red " * 30])).all()


def words():
    layers = [keras.layers.Embedding(9, 6), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(5)]
    return keras.Sequential([keras.Input((4,), dtype="int32"), *layers])


@pytest.mark.once  # the layers of others are compiled for minutes
def test_towers_of_ones_own_train():
    body = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg")
    layers = [keras.layers.Rescaling(1 / 127.5, offset=-1.0), body, keras.layers.Dense(5)]
    model = DualEncoder(keras.Sequential([keras.Input((32, 32, 3)), *layers]), words())
    random = np.random.default_rng(0)
    batch = {
        "images": random.integers(0, 256, (4, 32, 32, 3), "uint8"),
        "token_ids": random.integers(0, 9, (4, 4)).astype("int32"),
    }
    model.compile("sgd")
    assert np.isfinite(model.fit(batch, verbose=0).history["loss"]).all()
    assert {name: each.shape for name, each in model.predict(batch, verbose=0).items()} == {
        "image_embeddings": (4, 5),
        "text_embeddings": (4, 5),
    }


def test_towers_of_ones_own_that_lack_something():
    body = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3)])
    for tower, error, sentence in (
        (body, ValueError, r"the image_encoder \(Sequential\) gives \(None, 6, 6, 5\), .*GlobalAveragePooling2D\(\)"),
        (keras.Sequential([keras.layers.Dense(5)]), ValueError, "the image_encoder .*no weights yet; .*keras.Input"),
        ("vit", TypeError, "the image_encoder is of type str, but a tower of kzoo, a layer"),
        (
            keras.Sequential([body, keras.layers.Flatten()]),
            ValueError,
            "has 180 channels and the text embedding 5; .*keras.layers.Dense behind it",
        ),
    ):
        with pytest.raises(error, match=sentence):
            DualEncoder(tower, words())
