"""Backbones of keras-hub as towers: what they compute, what trains, what comes back from a file."""

import json
import sys

import keras
import numpy as np
import pytest
from shared_case import numpy

import kzoo.presets.folder
from kzoo.encoders import TextTransformer, from_keras_hub
from kzoo.models import Captioner, DualEncoder
from kzoo.preprocessing import ImageSteps, Preprocessor

TEXT = {"vocabulary_size": 40, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3)).astype("uint8")
IDS = np.array([[2, 7, 9, 3, 0, 0], [2, 8, 3, 0, 0, 0], [2, 5, 6, 7, 8, 3], [2, 11, 12, 3, 0, 0]], "int32")
MASK = IDS != 0


@pytest.fixture(scope="module")
def models():
    """`keras_hub.models`: an import of seconds, once for all tests and not when they are collected."""
    import keras_hub

    return keras_hub.models


@pytest.fixture(scope="module")
def vit(models):
    return models.ViTBackbone((16, 24, 3), 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)


@pytest.fixture(scope="module")
def bert(models):
    return models.BertBackbone(**TEXT, max_sequence_length=6)


def model_of(image_backbone, text_backbone, **text):
    return DualEncoder(
        from_keras_hub(image_backbone, embed_dim=4, mean=MEAN, std=STD, name="image_encoder"),
        from_keras_hub(text_backbone, embed_dim=4, pad_id=0, name="text_encoder", **text),
    )


def normalized(images):
    return ((images / 255.0 - np.array(MEAN)) / np.array(STD)).astype("float32")


def kernel(tower):
    return numpy(tower.projection.kernel)


# -- image towers --
def test_image_tower_is_the_backbone_on_normalised_pixels(vit):
    tower = from_keras_hub(vit, embed_dim=4, mean=MEAN, std=STD)
    tokens = numpy(vit(normalized(IMAGES)))
    outputs = tower(IMAGES)
    assert (tower.kind, tower.image_size, tower.embed_dim, tower.mean, tower.std) == (
        "keras_hub",
        (16, 24),
        4,
        MEAN,
        STD,
    )
    np.testing.assert_allclose(numpy(outputs["tokens"]), tokens, atol=1e-5)
    np.testing.assert_allclose(numpy(outputs["embedding"]), tokens[:, 0] @ kernel(tower), atol=1e-5)
    np.testing.assert_allclose(
        numpy(tower(IMAGES.astype("float32"))["embedding"]), numpy(outputs["embedding"]), atol=1e-6
    )


def test_average_leaves_the_class_token_out(vit):
    tower = from_keras_hub(vit, pool="average", mean=0.5, std=0.5)
    outputs = tower(IMAGES)
    tokens = numpy(outputs["tokens"])
    assert tokens.shape == (4, 1 + 2 * 3, 8) and tower.embed_dim == 8
    np.testing.assert_allclose(numpy(outputs["embedding"]), tokens[:, 1:].mean(axis=1), atol=1e-6)


def test_feature_map_of_a_backbone_for_any_size(models):
    backbone = models.ResNetBackbone([64], [7], [64], [1], [1], block_type="basic_block")
    tower = from_keras_hub(backbone, image_size=(16, 24), mean=MEAN, std=STD)
    features = numpy(backbone(normalized(IMAGES)))
    outputs = tower(IMAGES)
    np.testing.assert_allclose(numpy(outputs["tokens"]), features.reshape(4, 4 * 6, 64), atol=1e-4)
    np.testing.assert_allclose(numpy(outputs["embedding"]), features.mean(axis=(1, 2)), atol=1e-5)


def test_a_backbone_that_pools_keeps_its_pool_and_gives_its_tokens(models):
    backbone = models.SigLIPVisionEncoder(8, 8, 1, 2, 16, image_shape=(16, 16, 3))
    images = IMAGES[:, :, :16]
    outputs = from_keras_hub(backbone, mean=MEAN, std=STD)(images)
    np.testing.assert_allclose(numpy(outputs["embedding"]), numpy(backbone({"images": normalized(images)})), atol=1e-5)
    tokens = numpy(outputs["tokens"])
    np.testing.assert_allclose(numpy(backbone.head(tokens)), numpy(outputs["embedding"]), atol=1e-5)
    averaged = from_keras_hub(backbone, pool="average", mean=MEAN, std=STD)
    np.testing.assert_allclose(numpy(averaged(images)["embedding"]), tokens.mean(axis=1), atol=1e-6)
    assert len(averaged.weights) == len(backbone.weights) - len(backbone.head.weights)
    with pytest.raises(ValueError, match="SigLIPVisionEncoder has no class token; choose another pool"):
        from_keras_hub(backbone, pool="class_token", mean=0.5, std=0.5)(images)


# -- text towers --
def test_text_pools(bert):
    mask = MASK.astype("int32")
    theirs = bert({"token_ids": IDS, "segment_ids": np.zeros_like(IDS), "padding_mask": mask})
    tokens, pooled = numpy(theirs["sequence_output"]), numpy(theirs["pooled_output"])
    expected = {
        "mean": np.stack([row[real].mean(axis=0) for row, real in zip(tokens, MASK)]),
        "first": tokens[:, 0],
        "pooled": pooled,
        "end_of_text": np.stack([row[list(ids).index(3)] for row, ids in zip(tokens, IDS)]),
    }
    for pool, embedding in expected.items():
        tower = from_keras_hub(bert, pool=pool, pad_id=0, eot_id=3 if pool == "end_of_text" else None)
        outputs = tower(IDS, MASK)
        np.testing.assert_allclose(numpy(outputs["embedding"]), embedding, atol=1e-5)
        np.testing.assert_allclose(numpy(outputs["tokens"]), tokens, atol=1e-5)
    default = from_keras_hub(bert, embed_dim=4, pad_id=0)
    assert (default.pool, default.vocab_size, default.context_length, default.embed_dim) == ("mean", 40, 6, 4)
    np.testing.assert_allclose(numpy(default(IDS, MASK)["embedding"]), expected["mean"] @ kernel(default), atol=1e-5)


@pytest.mark.parametrize("name", ["BertBackbone", "XLMRobertaBackbone"])
def test_padding_changes_nothing(models, name):
    tower = from_keras_hub(getattr(models, name)(**TEXT, max_sequence_length=6), pad_id=0)
    masked = numpy(tower(IDS, MASK)["embedding"])
    np.testing.assert_allclose(numpy(tower(np.where(MASK, IDS, 17), MASK)["embedding"]), masked, atol=1e-6)
    np.testing.assert_allclose(numpy(tower(IDS)["embedding"]), masked, atol=1e-6)  # the mask follows from pad_id
    np.testing.assert_allclose(numpy(tower(IDS[:1, :4])["embedding"]), masked[:1], atol=1e-6)
    assert not np.allclose(numpy(tower(IDS, np.ones_like(MASK))["embedding"]), masked, atol=1e-3)


# -- training --
def test_everything_that_the_embedding_depends_on_trains(vit, bert):
    model = model_of(vit, bert)
    assert not any("pooled_dense" in weight.path for weight in model.weights)  # BERT's, which the mean does not read
    paths = [weight.path for weight in model.weights]
    assert len(paths) == len(set(paths))
    model.compile(keras.optimizers.Adam(1e-2))
    before = [numpy(weight) for weight in model.trainable_weights]
    model.fit({"images": IMAGES, "token_ids": IDS, "padding_mask": MASK}, batch_size=4, epochs=1, verbose=0)
    still = [weight.path for old, weight in zip(before, model.trainable_weights) if np.array_equal(old, numpy(weight))]
    assert still == []


def test_a_locked_tower_stays_while_the_other_learns(models, tmp_path):
    vit = models.ViTBackbone((16, 24, 3), 8, 1, 2, 8, 16)
    image_encoder = from_keras_hub(vit, mean=MEAN, std=STD, name="image_encoder")
    text_encoder = TextTransformer(40, 6, 8, 1, 2, embed_dim=8, eot_id=3, name="text_encoder")
    model = DualEncoder(image_encoder, text_encoder)
    image_encoder.trainable = False
    before = [numpy(weight) for weight in model.weights]
    model.compile(keras.optimizers.Adam(3e-2))
    history = model.fit({"images": IMAGES, "token_ids": IDS}, batch_size=4, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    locked = {id(weight) for weight in image_encoder.weights}
    for old, weight in zip(before, model.weights, strict=True):
        assert np.array_equal(old, numpy(weight)) == (id(weight) in locked)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights) == len(model.weights) - len(locked)
    assert type(again.image_encoder.backbone) is type(vit)
    batch = {"images": IMAGES, "token_ids": IDS}
    for name, embeddings in model.predict_on_batch(batch).items():
        np.testing.assert_allclose(numpy(again.predict_on_batch(batch)[name]), numpy(embeddings), atol=1e-6)


def test_a_locked_tower_runs_without_dropout(models):
    tower = from_keras_hub(models.BertBackbone(**TEXT, max_sequence_length=6, dropout=0.5), pad_id=0)
    quiet = numpy(tower(IDS)["embedding"])
    assert not np.allclose(numpy(tower(IDS, training=True)["embedding"]), quiet, atol=1e-3)
    tower.backbone.trainable = False
    assert tower.trainable_weights == []
    np.testing.assert_allclose(numpy(tower(IDS, training=True)["embedding"]), quiet, atol=1e-6)


# -- files --
def test_a_folder_can_hold_it(vit, bert, tmp_path):
    model = model_of(vit, bert)
    model.save_weights(tmp_path / "model.weights.h5")
    config = json.loads(json.dumps(kzoo.presets.folder.model_config(model)))
    towers = {}
    for name in ("image_encoder", "text_encoder"):
        tower = config[name]
        assert tower.pop("kind") == "keras_hub"
        towers[name] = from_keras_hub(name=name, dtype=None, **tower)
    again = DualEncoder(**towers)
    again.load_weights(tmp_path / "model.weights.h5")
    batch = {"images": IMAGES, "token_ids": IDS, "padding_mask": MASK}
    for name, embeddings in model.predict_on_batch(batch).items():
        np.testing.assert_allclose(numpy(again.predict_on_batch(batch)[name]), numpy(embeddings), atol=1e-6)
    half = from_keras_hub(name="half", dtype="mixed_bfloat16", **config["text_encoder"])
    assert half.dtype_policy.name == half.backbone.dtype_policy.name == "mixed_bfloat16"
    half.set_weights(model.text_encoder.get_weights())
    np.testing.assert_allclose(
        numpy(half(IDS)["embedding"]).astype("float32"), numpy(model.text_encoder(IDS)["embedding"]), atol=3e-2
    )


def test_a_config_of_something_else_is_refused(bert):
    config = from_keras_hub(bert, pad_id=0).get_config()
    backbone = config["backbone"] | {"class_name": "Dense", "registered_name": None, "module": "keras.layers"}
    with pytest.raises(ValueError, match="names 'Dense' as its backbone, which this keras-hub does not have"):
        from_keras_hub(backbone, pad_id=0)


@pytest.mark.every_backend
def test_export(models, tmp_path):
    image = models.ViTBackbone((16, 24, 3), 8, 1, 2, 8, 16, use_class_token=False)
    if keras.config.backend() == "jax":  # jax2onnx freezes the batch in keras-hub's position embedding
        text = models.SigLIPTextEncoder(40, 8, 8, 1, 2, 16, max_sequence_length=6)
    else:
        text = models.BertBackbone(**TEXT, max_sequence_length=6)
    model = model_of(image, text)
    model.preprocessor = Preprocessor(ImageSteps((16, 24)), vocabulary={"train": 320, "context_length": 6})
    manifest = model.export(tmp_path / "onnx")
    exporter = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "torch.onnx"}[keras.config.backend()]
    assert {graph["exporter"] for graph in manifest["graphs"].values()} == {exporter}
    assert max(manifest["worst_difference"].values()) < 1e-5


# -- bad input --
def test_bad_arguments(models, vit, bert):
    pixels = {"mean": 0.5, "std": 0.5}
    siglip = models.SigLIPTextEncoder(40, 8, 8, 1, 2, 16, max_sequence_length=6)
    both = models.BartBackbone(**TEXT, max_sequence_length=6)
    for backbone, arguments, error, sentence in (
        (vit, {}, ValueError, "ViTBackbone needs mean and std"),
        (
            vit,
            pixels | {"pool": "mean"},
            ValueError,
            "pool 'mean' is unknown; choose one of class_token, average, pooled",
        ),
        (vit, pixels | {"pool": "pooled"}, ValueError, "ViTBackbone has no pooled output of its own"),
        (vit, pixels | {"image_size": 32}, ValueError, r"image_size is \(32, 32\), but ViTBackbone was built for"),
        (vit, {"mean": (0.1, 0.2), "std": 1.0}, ValueError, "mean is \\(0.1, 0.2\\); give a number, or three"),
        (vit, pixels | {"pad_id": 0}, TypeError, "does not know the argument 'pad_id'"),
        (vit, pixels | {"dtype": "mixed_bfloat16"}, ValueError, "was built in float32; build the backbone with that"),
        (models.VGGBackbone([1], [4]), pixels, ValueError, "takes pictures of any size; say which with image_size"),
        (models.VGGBackbone([1], [4], (8, 8, 1)), pixels, ValueError, r"shape \(None, 8, 8, 1\), but \(batch, height"),
        (bert, {}, ValueError, "BertBackbone needs pad_id"),
        (
            bert,
            {"pad_id": 0, "context_length": 7},
            ValueError,
            "context_length is 7, but BertBackbone has positions for 6",
        ),
        (bert, {"pad_id": 0, "vocab_size": 50}, ValueError, "vocab_size is 50, but BertBackbone has 40 ids"),
        (bert, {"pad_id": 0, "pool": "end_of_text"}, ValueError, "eot_id is None and pool is 'end_of_text'"),
        (bert, {"pad_id": 0, "eot_id": 3}, ValueError, "eot_id is 3 and pool is 'mean'"),
        (models.BloomBackbone(**TEXT), {"pad_id": 0}, ValueError, "takes texts of any length; say which"),
        (both, {"pad_id": 0}, ValueError, "BartBackbone takes the inputs decoder_padding_mask, .* but a tower takes"),
        (models.RetinaNetBackbone, {}, TypeError, "is of type type, but a keras_hub.models.Backbone is expected"),
    ):
        with pytest.raises(error, match=sentence):
            from_keras_hub(backbone, **arguments)
    with pytest.raises(ValueError, match=r"this model takes \(batch, 16, 24, 3\)"):
        from_keras_hub(vit, **pixels)(IMAGES[:, :8])
    with pytest.raises(ValueError, match="at most 6 ids a row"):
        from_keras_hub(bert, pad_id=0)(np.ones((1, 7), "int32"))
    with pytest.raises(ValueError, match="have 4 ids a row, but SigLIPTextEncoder takes exactly 6; pad the texts"):
        from_keras_hub(siglip)(np.ones((1, 4), "int32"))


def test_unrelated_outputs(models):
    backbone = models.CLIPVisionEncoder(8, 8, 2, 2, 16, intermediate_output_index=0, image_shape=(16, 16, 3))
    with pytest.raises(ValueError, match="outputs sequence_output, intermediate_output, but a tower has one"):
        from_keras_hub(backbone, mean=0.5, std=0.5)


def test_without_keras_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"needs keras_hub, which is not installed: pip install 'kzoo\[keras-hub\]'"):
        from_keras_hub("a backbone, if there were one")


def test_a_captioning_decoder_on_backbones(vit, bert):
    """It takes its sizes from them."""
    captioner = Captioner.from_dual_encoder(model_of(vit, bert), freeze=False, depth=1)
    decoder = captioner.text_decoder.get_config()
    sizes = {"vocab_size": 40, "context_length": 6, "width": 4, "num_heads": 1, "context_width": 8}
    assert {name: decoder[name] for name in sizes} == sizes
    assert captioner({"images": IMAGES, "token_ids": IDS})["caption_logits"].shape == (4, 5, 40)
    ids, _ = captioner.generate(IMAGES[:2], prefix=[2], end_id=3, max_length=4)
    assert ids.shape == (2, 4)
