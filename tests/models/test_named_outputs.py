"""One contract for every form: outputs by name, bags, slots with a name before theirs, heads, teachers, refusals."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, fill, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import Head, Projector
from kzoo.losses import EmbeddingDistillation, InfoNCE, MaskedImageModelling
from kzoo.training import EMATeacher, FixedTeacher

PAIRS = toy_pairs(6)
random = np.random.default_rng(0)


@pytest.fixture(scope="module")
def filled():
    model = tiny_model(depth=1)
    for part in (model.image_encoder, model.text_encoder):
        fill(part)
    return model


# -- names --
def test_the_same_call_gives_the_same_names_everywhere():
    model = tiny_model(depth=1)
    batch = batch_of(model, 4)
    before = list(model(batch)), list(model(batch, training=True))
    model.compile("sgd", loss=InfoNCE(inputs=("image_features", "text_features")))
    model.fit(batch, batch_size=4, verbose=0)
    assert list(model(batch)) == list(model(batch, training=True)) == before[0] == before[1]
    assert set(model.predict(batch, verbose=0)) == {"image_embeddings", "text_embeddings"}


def test_each_name_that_a_model_says_it_gives_is_given(filled):
    batch = batch_of(filled, 4)
    names = filled.gives(batch)
    found = filled(batch, only=names)
    assert tuple(found) == names and "nothing" not in filled(batch, outputs=("nothing",))
    for modality, tower in filled.modalities().items():
        raw = numpy(found[f"{modality}_features"])
        np.testing.assert_allclose(
            numpy(found[f"{modality}_embeddings"]), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6
        )
        layers = numpy(found[f"{modality}_layers"])
        assert layers.shape == (4, tower.num_blocks, 12)
        np.testing.assert_allclose(layers[:, -1], raw, atol=1e-5)
    patches = numpy(found["image_tokens"])[:, 1:]
    np.testing.assert_array_equal(numpy(found["image_map"]), patches.reshape(4, 2, 2, 24))
    ends = 1 + np.argmax(batch["token_ids"] == 2, axis=1)
    np.testing.assert_array_equal(numpy(found["text_token_mask"]), np.arange(10) < ends[:, None])


# -- bags --
def test_bags_are_their_rows_with_an_axis_more(filled):
    batch = batch_of(filled, 6)
    bags = {name: value.reshape(3, 2, *value.shape[1:]) for name, value in batch.items()}
    asked = ("image_tokens", "text_tokens", "image_map")
    rows, found = filled(batch, outputs=asked), filled(bags, outputs=asked)
    for name, value in rows.items():
        got = numpy(found[name])
        assert got.shape[:2] == (3, 2)
        np.testing.assert_allclose(got.reshape(value.shape), numpy(value), atol=1e-6)


def test_a_name_before_that_of_an_array_makes_a_slot(filled):
    batch = batch_of(filled, 4)
    crops = random.integers(0, 256, (4, 3, 8, 8, 3), dtype="uint8")  # of another size
    more = {"crop_images": crops, "counterfactual_token_ids": batch["token_ids"][::-1].copy()}
    found = filled(batch | more, outputs=("crop_image_embeddings", "counterfactual_text_embeddings"))
    assert found["crop_image_embeddings"].shape == (4, 3, 12)
    swapped = numpy(found["counterfactual_text_embeddings"])
    np.testing.assert_allclose(swapped, numpy(found["text_embeddings"])[::-1], atol=1e-6)
    assert set(filled(batch | more)) == {"image_embeddings", "text_embeddings"}


# -- heads --
def test_heads_read_each_other_are_trained_and_saved(tmp_path):
    heads = [
        Head(Projector((5,), batch_norm=False), "*_tokens", "*_projected_tokens"),
        Head(keras.layers.Dense(3), "image_projected_tokens", "image_scores"),
    ]
    pair = tiny_model(depth=1)
    model = kzoo.DualEncoder(pair.image_encoder, pair.text_encoder, preprocessor=pair.preprocessor, heads=heads)
    batch = batch_of(model, 4)
    found = model(batch, only=("image_scores", "text_projected_tokens"))
    assert found["image_scores"].shape == (4, 5, 3) and found["text_projected_tokens"].shape == (4, 10, 5)
    before = [numpy(each) for each in heads[0].trainable_weights]
    loss = kzoo.losses.FineGrainedContrastive(inputs=("image_projected_tokens", "text_projected_tokens"))
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    model.fit(batch, batch_size=4, verbose=0)
    assert not any(np.array_equal(numpy(new), old) for new, old in zip(heads[0].trainable_weights, before))
    model.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        numpy(again(batch, only=("image_scores",))["image_scores"]),
        numpy(model(batch, only=("image_scores",))["image_scores"]),
    )


# -- teachers --
def test_a_dual_encoder_follows_its_own_average(tmp_path):
    pair = tiny_model(depth=1)
    teacher = EMATeacher(0.5)
    model = kzoo.DualEncoder(pair.image_encoder, pair.text_encoder, preprocessor=pair.preprocessor, teacher=teacher)
    batch, before = batch_of(model, 4), model.image_encoder.get_weights()
    model.compile(keras.optimizers.SGD(0.1), loss=EmbeddingDistillation())
    model.fit(batch, batch_size=4, verbose=0)
    copies = teacher.image_encoder.get_weights()
    for old, new, copy in zip(before, model.image_encoder.get_weights(), copies):
        np.testing.assert_allclose(copy, (old + new) / 2, atol=1e-6)
    found = model(batch, only=("teacher_text_embeddings",))["teacher_text_embeddings"]
    raw = numpy(teacher.text_encoder(batch["token_ids"])["embedding"])
    np.testing.assert_allclose(numpy(found), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_a_model_that_is_trained_already_teaches_another(filled):
    pair = tiny_model(depth=1)
    model = kzoo.DualEncoder(
        pair.image_encoder, pair.text_encoder, preprocessor=pair.preprocessor, teacher=FixedTeacher(filled)
    )
    batch, before = batch_of(model, 4), filled.get_weights()
    expected = filled.predict(batch, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), loss=EmbeddingDistillation())
    model.fit(batch, batch_size=4, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, filled.get_weights()))
    found = model(batch, only=("teacher_image_embeddings",))
    np.testing.assert_allclose(numpy(found["teacher_image_embeddings"]), expected["image_embeddings"], atol=1e-6)
    assert not any("teacher" in each.path for each in model.trainable_variables)


# -- what is hidden --
def test_what_a_batch_hides_is_hidden_from_the_student_alone():
    tower = VisionTransformer(16, 8, 12, 1, 2, embed_dim=6, mask_token=True)
    fill(tower)
    model = kzoo.SelfSupervised(tower, Projector((4,), batch_norm=False), EMATeacher(0.9))
    pixels = random.integers(0, 256, (3, 16, 16, 3), dtype="uint8")
    masked = np.array([[1, 0, 0, 1]] * 3, bool)
    names = ("view_1_tokens", "view_2_tokens", "teacher_view_1_tokens")
    found = model({"view_1": pixels, "view_2": pixels, "view_1_masked": masked}, only=names)
    hidden, whole, teacher = (numpy(found[name]) for name in names)
    np.testing.assert_allclose(whole, teacher, atol=1e-6)
    assert np.abs(hidden - whole).max() > 1e-3
    kept = model({"view_1": pixels, "view_1_kept": np.array([[2, 0]] * 3)}, only=("view_1_tokens",))
    assert kept["view_1_tokens"].shape == (3, 3, 12)
    plain = kzoo.SelfSupervised(VisionTransformer(16, 8, 12, 1, 2))
    one = plain({"view_1": pixels, "view_2": pixels}, only=("view_1", "view_1_tokens", "view_1_token_projections"))
    assert one["view_1_token_projections"].shape == (3, 4, 128)  # of the patches, by the projector that views have
    expected = plain.projector(one["view_1_tokens"])[:, 1:]
    np.testing.assert_allclose(numpy(one["view_1_token_projections"]), numpy(expected), atol=1e-5)
    assert plain.shape_of("view_1_token_projections") == (None, None, 128) and plain.shape_of("view_1") == (None, 128)
    with pytest.raises(ValueError, match="the batch has 'view_1_masked', but VisionTransformer cannot be run"):
        plain({"view_1": pixels, "view_1_masked": masked})


# -- gradients --
@pytest.mark.parametrize("policy", ["harmonised", "pcgrad", "sam"])
def test_terms_are_put_together_by_a_policy(policy):
    model = tiny_model(depth=1)
    batch = batch_of(model, 4)
    model.compile("sgd", loss=InfoNCE() + 0.5 * InfoNCE(0.5, direction="a_to_b"), gradients=policy)
    history = model.fit(batch, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and {"info_nce", "info_nce_2"} < set(history)


# -- refusals --
def test_every_way_in_is_checked_before_anything_is_touched():
    model = tiny_model(depth=1)
    model.compile("sgd")
    batch, before = batch_of(model, 4), model.get_weights()
    images, ids = batch["images"], batch["token_ids"]
    for call in (
        lambda: model.fit(images, ids, verbose=0),
        lambda: model.evaluate(images, ids, verbose=0),
        lambda: model.predict(images, verbose=0),
        lambda: model.train_on_batch(images),
        lambda: model.test_on_batch(list(images)),
        lambda: model.predict_on_batch("images"),
        lambda: model(images),
        lambda: model.fit(None, verbose=0),
    ):
        with pytest.raises(ValueError, match="a batch is of type .*, but a dict of arrays is expected"):
            call()
    with pytest.raises(ValueError, match="'token_ids' of the batch is of type list, but an array"):
        model.fit({"images": images, "token_ids": ids.tolist()}, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    assert np.isfinite(model.fit(batch, batch_size=4, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    "options, sentence",
    [
        (
            {"metrics": ["accuracy"]},
            r"compile was given metrics=\['accuracy'\], which compare predictions with targets",
        ),
        ({"loss_weights": [1.0]}, r"compile was given loss_weights=\[1.0\]; weigh the terms of the loss itself"),
        ({"gradients": "pcgrd"}, "pcgrad"),
        ({"loss": keras.losses.MeanSquaredError()}, "a kzoo loss is expected"),
    ],
)
def test_arguments_of_compile_that_have_no_use(options, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        tiny_model(depth=1).compile("sgd", **options)


def test_adamw_is_keras_own_and_the_recipe_of_clip_has_a_name():
    model = tiny_model(depth=1)
    model.compile("adamw")
    assert not isinstance(model.optimizer, kzoo.training.AdamW) and model.optimizer.weight_decay == 0.004
    for name in ({}, {"optimizer": "clip_adamw"}):
        model.compile(**name)
        assert type(model.optimizer) is kzoo.training.AdamW and model.optimizer.weight_decay == 0.2


def test_a_loss_that_no_head_feeds_names_what_there_is(filled):
    filled.compile("sgd", loss=MaskedImageModelling())
    with pytest.raises(ValueError, match="MaskedImageModelling reads .*, but the model and the batch give only"):
        filled.test_on_batch(batch_of(filled, 4))
