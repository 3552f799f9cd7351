"""What a saved folder keeps of a training: weights alone, the loss, what was done; with the optimizer by request."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.losses import InfoNCE, Matryoshka, SigmoidContrastive
from kzoo.losses.spec import from_spec, to_spec

PAIRS = toy_pairs(8)


def fitted(loss=None):
    model = tiny_model()
    model.compile(keras.optimizers.Adam(1e-3), loss=loss)
    fit(model, 1)
    return model


def fit(model, epochs, initial_epoch=0):
    data = kzoo.data.pairs(PAIRS, model.preprocessor, batch_size=8)
    return model.fit(data, epochs=epochs, initial_epoch=initial_epoch, verbose=0).history["loss"]


def stored(folder):
    return list(load_file(folder / "model.safetensors"))


def test_weights_alone_by_default_and_a_training_that_goes_on_by_request(tmp_path):
    model = fitted()
    model.save_to_preset(tmp_path / "alone")
    model.save_to_preset(tmp_path / "whole", optimizer=True)
    assert not any(name.startswith(("optimizer", "means", "health")) for name in stored(tmp_path / "alone"))
    assert any(name.startswith("optimizer") for name in stored(tmp_path / "whole"))
    alone, whole = kzoo.from_preset(tmp_path / "alone"), kzoo.from_preset(tmp_path / "whole")
    assert not alone.compiled and whole.compiled
    for again in (alone, whole):
        assert np.array_equal(again.encode_text(["a red circle"]), model.encode_text(["a red circle"]))
    assert int(whole.optimizer.iterations) == 1
    assert fit(whole, 3, initial_epoch=1) == pytest.approx(fit(model, 3, initial_epoch=1), rel=1e-5)


@pytest.mark.once
def test_an_optimizer_that_is_not_there_and_a_layout_without_a_place_for_it(tmp_path, model):
    with pytest.raises(ValueError, match="the model is not compiled, so there is no optimizer to save"):
        model.save_to_preset(tmp_path / "new", optimizer=True)
    with pytest.raises(ValueError, match="the layout of open_clip has no place for an optimizer"):
        model.save_to_preset(tmp_path / "new", format="open_clip", optimizer=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    "loss",
    [
        InfoNCE(label_smoothing=0.1),
        Matryoshka(InfoNCE(), dims=[4, 12]) + 0.5 * SigmoidContrastive(scale=10.0, bias=-10.0),
        keras.optimizers.schedules.PolynomialDecay(0.0, 10, end_learning_rate=0.5) * InfoNCE(name="mine"),
    ],
    ids=["one", "sum", "schedule"],
)
def test_a_spec_says_a_loss_whole(loss):
    spec = json.loads(json.dumps(to_spec(loss)))
    again = from_spec(spec)
    assert to_spec(again) == spec and again.term_names == loss.term_names


@pytest.mark.once
def test_what_opens_is_compiled_with_the_loss_that_was_named(tmp_path, model):
    model.compile("sgd", loss=InfoNCE(label_smoothing=0.1))
    model.save_to_preset(tmp_path)
    again = kzoo.from_preset(tmp_path)
    again.compile("sgd")
    assert again.objective.label_smoothing == 0.1
    assert "trains it with InfoNCE" in (tmp_path / "README.md").read_text()


@pytest.mark.once
def test_a_loss_with_constants_is_left_out_and_this_is_said(caplog):
    assert to_spec(kzoo.losses.HaversineGeocell(constants={"centroids": np.zeros((3, 2), "float32")})) is None


@pytest.mark.once
def test_the_card_says_what_was_done(tmp_path):
    model = fitted()
    model.save_to_preset(tmp_path / "first")
    again = kzoo.from_preset(tmp_path / "first")
    again.compile("sgd")
    fit(again, 2)
    again.save_to_preset(tmp_path / "second")
    assert [done["epochs"] for done in again.trainings] == [1, 2]
    card = (tmp_path / "second" / "README.md").read_text()
    assert "trained with kzoo on `arrays` (8 rows, 8 a batch) for 1 epoch, with " in card
    assert "; then trained with kzoo on `arrays` (8 rows, 8 a batch) for 2 epochs, with " in card
    assert f"info_nce {again.trainings[-1]['results']['info_nce']:.4g}" in card


@pytest.mark.once
def test_a_folder_keeps_its_model_where_saving_fails(tmp_path, model, monkeypatch):
    model.save_to_preset(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("kzoo.presets.folder.write_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fitted().save_to_preset(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
