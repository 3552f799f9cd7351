"""fit, evaluate and predict: what they report, what stops them, and that backends agree."""

import itertools
import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from shared_case import TESTS, batch_of, fill, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.evaluation import recall_at_k
from kzoo.losses import InfoNCE, SigmoidContrastive
from kzoo.training import AdamW, TimeBudget


def test_the_first_loss_of_an_untrained_model_is_about_the_log_of_the_batch():
    model = kzoo.from_preset("clip_nano", load_weights=False)
    icons = kzoo.data.icons("test", size=32)
    model.preprocessor.adapt(icons["captions"])
    model.compile("clip_adamw")
    data = kzoo.data.pairs(icons, model.preprocessor, batch_size=64, shuffle=False)
    first = model.test_on_batch(data[0], return_dict=True)
    assert float(first["loss"]) == pytest.approx(math.log(64), rel=0.05)


def test_one_batch_is_memorised():
    model = tiny_model()
    batch = batch_of(model, 24)
    model.compile(keras.optimizers.Adam(3e-3))
    many = {name: np.concatenate([array] * 150) for name, array in batch.items()}  # an epoch is dearer than a step
    model.fit(many, batch_size=24, shuffle=False, verbose=0)
    found = model.evaluate(batch, verbose=0)
    assert found["loss"] < 0.2 and found["in_batch_accuracy"] == found["text_to_image_recall@1"] == 1.0


def test_evaluate_reports_terms_accuracy_and_recall(model):
    batch = batch_of(model, 24)
    model.compile("sgd")
    results = model.evaluate(batch, batch_size=24, verbose=0)
    embeddings = model.predict(batch, verbose=0)
    pair = embeddings["image_embeddings"], embeddings["text_embeddings"]
    expected = float(numpy(InfoNCE(1.0 / float(model.similarity.scale))(*pair)))
    assert results["loss"] == pytest.approx(expected, rel=1e-5)
    assert results["loss"] == pytest.approx(results["info_nce"], rel=1e-6)  # two means of the same, each in float32
    assert {name: value for name, value in results.items() if "recall" in name} == recall_at_k(*pair)
    accuracy = results["text_to_image_recall@1"] + results["image_to_text_recall@1"]
    assert results["in_batch_accuracy"] == pytest.approx(accuracy / 2, abs=1e-6)
    recalls = [f"{way}_recall@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    assert list(results) == ["loss", "in_batch_accuracy", "info_nce", *recalls] and isinstance(results, dict)
    assert results._repr_html_().count("<table>") == 2
    assert isinstance(model.evaluate(batch, batch_size=24, verbose=0, return_dict=False), list)


def test_evaluate_counts_any_caption_of_an_image(model):
    pairs = toy_pairs(12)
    source = {"images": pairs["images"], "captions": [[caption, "noise"] for caption in pairs["captions"]]}
    model.compile("sgd")
    data = kzoo.data.pairs(source, model.preprocessor, 8, shuffle=False, every_caption=True)
    results, embeddings = model.evaluate(data, verbose=0), model.predict(data, verbose=0)
    assert len(embeddings["text_embeddings"]) == 24
    expected = recall_at_k(embeddings["image_embeddings"], embeddings["text_embeddings"], image_ids=data.image_ids)
    assert results["image_to_text_recall@5"] == expected["image_to_text_recall@5"]


def test_predict_takes_data_sets(model):
    data = kzoo.data.pairs(toy_pairs(7), model.preprocessor, batch_size=3, shuffle=False)
    assert model.predict(data, verbose=0)["image_embeddings"].shape == (7, 12)


def test_a_loss_that_is_not_finite_stops_with_a_sentence(model):
    model.compile(keras.optimizers.SGD(1e30))
    with pytest.raises(FloatingPointError, match=r"the loss became .* in epoch \d+, step \d+.*; lower the learning"):
        model.fit(batch_of(model, 8), batch_size=4, epochs=5, verbose=0)


def test_every_tower_and_the_scale_are_trained(model):
    before = [numpy(variable) for variable in model.trainable_variables]
    model.compile("clip_adamw")
    model.fit(batch_of(model, 8), batch_size=8, epochs=2, verbose=0)
    moved = [not np.array_equal(old, numpy(new)) for old, new in zip(before, model.trainable_variables)]
    still = [variable.path for variable, has in zip(model.trainable_variables, moved) if not has]
    assert not still


def test_frozen_towers_stay(model):
    model.image_encoder.trainable = False
    before = model.image_encoder.get_weights()
    model.compile("clip_adamw")
    model.fit(batch_of(model, 8), batch_size=8, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.image_encoder.get_weights()))


def test_weights_that_are_all_spared_from_decay_are_trained(model):
    model.image_encoder.trainable = model.text_encoder.trainable = False
    model.compile("clip_adamw")
    before = float(numpy(model.similarity.scale))
    model.fit(batch_of(model, 8), verbose=0)
    assert float(numpy(model.similarity.scale)) != before


def test_weight_decay_spares_gains_biases_and_the_scale(model):
    for part in (model.image_encoder, model.text_encoder):
        fill(part)
    variables = model.trainable_variables
    before = [numpy(variable) for variable in variables]
    optimizer = AdamW(0.1, weight_decay=0.5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    again.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    for variable, old in zip(variables, before):
        spared = old.ndim < 2 or "class_embedding" in variable.path
        np.testing.assert_allclose(numpy(variable), old if spared else 0.95 * old, rtol=1e-6, err_msg=variable.path)


def test_a_word_that_occurs_often_is_trained_by_the_sum_of_its_gradients(model):
    """Adam's first step is as long as the learning rate, however often a word occurs in the batch."""
    batch, table = batch_of(model, 24), model.text_encoder.token_embedding
    before = numpy(table)
    model.compile(keras.optimizers.Adam(0.01, epsilon=1e-12))
    model.fit(batch, batch_size=24, verbose=0)
    used = np.unique(batch["token_ids"][:, :4])  # "start", "a", the sizes and colours: many times each
    steps = np.abs(numpy(table) - before)[used]
    assert len(used) > 5
    np.testing.assert_allclose(np.median(steps, axis=1), 0.01, rtol=1e-3)


def test_a_sigmoid_model_trains_its_own_head():
    from kzoo.layers import SimilarityHead

    model = tiny_model(depth=1, similarity=SimilarityHead(scale=10.0, bias=-10.0, name="similarity"))
    model.compile("clip_adamw", loss=SigmoidContrastive())
    model.fit(batch_of(model, 8), batch_size=8, verbose=0)
    assert float(numpy(model.similarity.bias)) != -10.0


def test_a_sigmoid_loss_on_a_head_without_bias_is_refused(model):
    model.compile("clip_adamw", loss=SigmoidContrastive())
    with pytest.raises(ValueError, match="this head has no bias"):
        model.fit(batch_of(model, 8), batch_size=8, verbose=0)


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_near_float32(policy):
    losses = []
    for dtype in ("float32", policy):
        model = tiny_model(depth=1, dtype=dtype)
        for part in (model.image_encoder, model.text_encoder):
            fill(part, scale=0.1)
        model.compile(keras.optimizers.SGD(0.05))
        losses.append(model.fit(batch_of(model, 12), batch_size=12, epochs=3, verbose=0, shuffle=False).history["loss"])
    assert np.isfinite(losses[1]).all()
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


def test_time_budget_completes_its_schedule(model, monkeypatch):
    clock = itertools.count(step=0.05)  # seconds; two looks at it a step, so 30 steps fill three seconds
    monkeypatch.setattr("kzoo.training.callbacks.time", SimpleNamespace(monotonic=lambda: next(clock)))
    budget = TimeBudget(minutes=0.05, learning_rate=1e-3)
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(numpy(self.model.optimizer.learning_rate)))

    model.compile(keras.optimizers.Adam(1.0))
    batch = batch_of(model, 24)
    history = model.fit(batch, batch_size=12, epochs=100, verbose=0, callbacks=[budget, Rates()])
    assert 30 <= len(rates) <= 32 and len(history.history["loss"]) == math.ceil(len(rates) / 2)
    assert max(rates) == pytest.approx(1e-3, rel=0.01) and rates[-1] < 0.02 * max(rates)
    with pytest.raises(ValueError, match="minutes is 0"):
        TimeBudget(0, 1e-3)


def twenty_steps():
    """Losses of 20 steps from weights and pairs that are the same on every backend."""
    model = tiny_model(activation="quick_gelu")
    fill(model.image_encoder, seed=1, scale=0.2)
    fill(model.text_encoder, seed=2, scale=0.2)
    model.compile(AdamW(1e-3), loss=InfoNCE() + 0.1 * SigmoidContrastive(10.0, -10.0))
    batch = batch_of(model, 24)
    return model.fit(batch, batch_size=12, epochs=10, shuffle=False, verbose=0, callbacks=[Steps()]).model.steps


class Steps(keras.callbacks.Callback):
    """Keeps the loss of each step; Keras reports the mean since the epoch began."""

    def on_train_begin(self, logs=None):
        self.model.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.model.steps.append(float(logs["loss"]))


@pytest.mark.every_backend
def test_the_backends_agree_over_twenty_steps():
    expected = json.loads((TESTS / "golden" / "twenty_steps.json").read_text())
    np.testing.assert_allclose(twenty_steps(), expected, atol=1e-4)


def test_a_data_set_without_batches_is_refused(model):
    class Empty(keras.utils.PyDataset):
        def __len__(self):
            return 0

        def __getitem__(self, index):
            raise IndexError(index)

    model.compile("sgd")
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="the data set, of type Empty, holds no batch"):
            call(Empty())


def test_errors_show_no_pages_of_pixels(model):
    batch = batch_of(model, 12)
    model.compile("sgd")
    for one in (batch["images"], [batch["images"], batch["token_ids"]], (batch, None, None, batch["images"])):
        with pytest.raises(ValueError, match="dicts? of arrays") as caught:
            model.fit((one for _ in range(2)), verbose=0)
        assert len(str(caught.value)) < 400
