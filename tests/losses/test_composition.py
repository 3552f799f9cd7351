"""Sums and weights of losses, alone and in `fit`."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy

from kzoo.losses import Captioning, InfoNCE, LearnableTemperature, Loss, SigmoidContrastive, WeightedSum, from_spec

random = np.random.default_rng(0)
TENSORS = {
    "image_embeddings": random.normal(size=(4, 3)).astype("float32"),
    "text_embeddings": random.normal(size=(4, 3)).astype("float32"),
    "caption_logits": random.normal(size=(4, 2, 5)).astype("float32"),
    "caption_labels": np.ones((4, 2), "int32"),
}


def test_a_sum_is_the_weighted_sum_of_its_terms():
    loss = InfoNCE() + 2.0 * Captioning()
    total, values = loss.from_tensors(TENSORS)
    assert loss.term_names == ("info_nce", "captioning")
    assert float(numpy(total)) == pytest.approx(float(numpy(values[0])) + 2.0 * float(numpy(values[1])), rel=1e-6)
    assert float(numpy(loss(TENSORS))) == pytest.approx(float(numpy(total)), rel=1e-6)


def test_sums_flatten_and_weights_multiply():
    loss = 0.5 * (InfoNCE() + 2.0 * Captioning()) + sum([InfoNCE(0.5)])
    assert loss.weights_of_terms == [0.5, 1.0, 1.0]
    assert loss.term_names == ("info_nce", "captioning", "info_nce_2")
    assert loss.reads == ("image_embeddings", "text_embeddings", "caption_logits", "caption_labels")


def test_inputs_rename_what_a_loss_reads():
    loss = InfoNCE(inputs=("text_embeddings", "image_embeddings"), direction="a_to_b")
    swapped = InfoNCE(direction="b_to_a")
    assert float(numpy(loss.from_tensors(TENSORS)[0])) == pytest.approx(
        float(numpy(swapped.from_tensors(TENSORS)[0])), rel=1e-6
    )


def test_a_missing_tensor_is_named():
    with pytest.raises(ValueError, match="Captioning reads 'caption_logits', but the model and the batch give only"):
        Captioning().from_tensors({"image_embeddings": TENSORS["image_embeddings"]})


def test_losses_add_to_losses_only():
    with pytest.raises(TypeError, match="a kzoo loss adds to kzoo losses, but got str"):
        InfoNCE() + "captioning"


def test_config_round_trips():
    loss = InfoNCE(LearnableTemperature(0.2), label_smoothing=0.1) + 0.5 * SigmoidContrastive(5.0, -5.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, WeightedSum) and again.term_names == loss.term_names
    assert float(numpy(again(TENSORS))) == pytest.approx(float(numpy(loss(TENSORS))), rel=1e-6)


def test_spec_of_a_preset_row():
    single = from_spec([{"loss": "InfoNCE", "label_smoothing": 0.1}])
    assert isinstance(single, InfoNCE) and single.label_smoothing == 0.1
    double = from_spec([{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}])
    assert double.weights_of_terms == [1.0, 2.0]


def test_every_term_is_logged_and_its_variables_are_trained(model):
    own = InfoNCE(temperature=LearnableTemperature(0.1), name="own")
    model.compile("adamw", loss=InfoNCE() + 0.1 * own + 0.1 * SigmoidContrastive(5.0, -5.0))
    before = float(numpy(own.temperature.log_scale))
    history = model.fit(batch_of(model, 24), batch_size=12, epochs=2, verbose=0).history
    assert {"loss", "info_nce", "own", "sigmoid_contrastive", "in_batch_accuracy"} == set(history)
    total = history["info_nce"][0] + 0.1 * history["own"][0] + 0.1 * history["sigmoid_contrastive"][0]
    assert history["loss"][0] == pytest.approx(total, rel=1e-5)
    assert float(numpy(own.temperature.log_scale)) != before


def test_a_loss_of_ones_own(model):
    @keras.saving.register_keras_serializable(package="test")
    class Distance(Loss):
        def call(self, a, b, sample_weight=None):
            return keras.ops.mean(keras.ops.square(a - b))

    model.compile("sgd", loss=Distance())
    history = model.fit(batch_of(model, 8), batch_size=8, epochs=3, verbose=0).history
    assert history["distance"] == history["loss"] and history["loss"][-1] < history["loss"][0]


def test_only_kzoo_losses_compile(model):
    with pytest.raises(TypeError, match="a kzoo loss is expected"):
        model.compile("sgd", loss="mse")


def test_recompiling_replaces_the_loss(model):
    model.compile("sgd", loss=InfoNCE(LearnableTemperature()))
    count = len(model.trainable_variables)
    model.compile("sgd")
    assert len(model.trainable_variables) == count - 1
    assert set(model.fit(batch_of(model, 8), batch_size=8, verbose=0).history) == {
        "loss",
        "info_nce",
        "in_batch_accuracy",
    }
