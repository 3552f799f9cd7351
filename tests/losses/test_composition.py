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
    model.compile("clip_adamw", loss=InfoNCE() + 0.1 * own + 0.1 * SigmoidContrastive(5.0, -5.0))
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


@keras.saving.register_keras_serializable(package="test")
class Spread(Loss):
    """Reads labels it cannot do without, and counts its training steps."""

    default_inputs = ("image_embeddings",)
    optional_inputs = Loss.optional_inputs | {"labels": "labels"}
    required_inputs = ("labels",)
    input_counts = (1, 2)

    def __init__(self, power=2.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.power = power
        self.steps = self.add_weight(name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, a, b=None, labels=None, sample_weight=None, training=False):
        if training:
            self.steps.assign_add(1)
        return keras.ops.mean(keras.ops.cast(labels, "float32")) ** self.power


def test_keywords_are_renamed_by_their_own_name():
    loss = Spread(labels="species", name="by_species")
    assert loss.reads == ("image_embeddings", "species")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    tensors = TENSORS | {"species": np.array([3, 3, 3, 3])}
    assert float(numpy(again.from_tensors(tensors)[0])) == 9.0
    with pytest.raises(ValueError, match=r"reads 'species', but .* name other tensors with Spread\(labels=...\)"):
        again.from_tensors(TENSORS)
    with pytest.raises(TypeError, match="does not know the argument 'label'; it takes power, inputs, sample_weight"):
        Spread(label="species")
    with pytest.raises(ValueError, match="Spread reads 1 to 2 tensors, but inputs names 3"):
        Spread(inputs=("a", "b", "c"))


def test_state_changes_in_training_only(model):
    loss = Spread()
    model.compile("sgd", loss=InfoNCE() + 0.1 * loss)
    batch = batch_of(model, 8) | {"labels": np.arange(8)}
    model.fit(batch, batch_size=4, epochs=2, verbose=0)
    assert int(numpy(loss.steps)) == 4
    model.evaluate(batch, batch_size=4, verbose=0)
    assert int(numpy(loss.steps)) == 4


def test_a_weight_may_be_a_schedule(model, tmp_path):
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 4, end_learning_rate=2.0)
    loss = InfoNCE(temperature=0.5) + ramp * SigmoidContrastive(5.0, -5.0, learnable=False)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    batch = batch_of(model, 8)
    history = model.fit(batch, batch_size=8, epochs=3, verbose=0).history
    terms = zip(history["info_nce"], history["sigmoid_contrastive"])
    wanted = [info_nce + weight * sigmoid for (info_nce, sigmoid), weight in zip(terms, (0.0, 0.5, 1.0))]
    np.testing.assert_allclose(history["loss"], wanted, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert int(numpy(again.objective.step)) == 3
    before = history["info_nce"][0] + 1.5 * history["sigmoid_contrastive"][0]
    assert again.evaluate(batch, batch_size=8, verbose=0)["loss"] == pytest.approx(before, rel=1e-5)


def test_a_schedule_is_a_whole_weight():
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 4, end_learning_rate=2.0)
    both = ramp * (InfoNCE() + Captioning())
    assert both.weights_of_terms == [ramp, ramp]
    with pytest.raises(TypeError, match="a schedule is the whole weight of a loss"):
        0.5 * both


def test_describe(capsys):
    (InfoNCE(block_size=256) + Captioning()).describe(4096, devices=8)
    assert capsys.readouterr().out == (
        "info_nce\n"
        "  reads       image_embeddings, text_embeddings; if there: sample_weight, logit_scale\n"
        "  negatives   32,767 per anchor, in a batch of 8 x 4,096\n"
        "  memory      about 192 MiB for blocks of 256 x 32,768 scores\n"
        "captioning\n"
        "  reads       caption_logits, caption_labels; if there: sample_weight, caption_mask\n"
        "  negatives   none\n"
        "  memory      no matrix of scores; it grows with the batch as the embeddings do\n"
    )
    InfoNCE().describe(8)
    assert "less than 1 MiB for 8 x 8 scores" in capsys.readouterr().out


def test_block_size_is_checked():
    with pytest.raises(ValueError, match="block_size is 0; give a positive number of rows, or None"):
        InfoNCE(block_size=0)


def test_only_kzoo_losses_compile(model):
    with pytest.raises(TypeError, match="a kzoo loss is expected"):
        model.compile("sgd", loss=keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match="loss 'mse' is unknown"):
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
