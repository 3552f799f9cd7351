"""What `fit` and `compile` are told: as in Keras, or one sentence; and what a model holds when `fit` was stopped."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, tiny_model

import kzoo
import kzoo.losses
from kzoo.losses import InfoNCE


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model()
    model.compile(keras.optimizers.SGD(0.0))
    return model


class Counted(keras.callbacks.Callback):
    """Counts epochs."""

    epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


@pytest.mark.once
# -- as in Keras --
@pytest.mark.parametrize(
    "given",
    [
        lambda each, model: each,
        lambda each, model: [each],
        lambda each, model: (each,),
        lambda each, model: keras.callbacks.CallbackList([each], model=model, epochs=2),
        lambda each, model: keras.callbacks.CallbackList([each], add_history=True, model=model, epochs=2),
    ],
)
def test_callbacks_come_alone_and_together(compiled, given):
    counted = Counted()
    history = compiled.fit(batch_of(compiled, 4), epochs=2, verbose=0, callbacks=given(counted, compiled))
    assert counted.epochs == len(history.history["loss"]) == 2


@pytest.mark.once
def test_arguments_come_by_position(compiled):
    batch, counted = batch_of(compiled, 4), Counted()
    history = compiled.fit(batch, None, 2, 3, 0, counted)
    assert len(history.history["loss"]) == counted.epochs == 3
    assert compiled.evaluate(batch, None, 4, 0, np.ones(4, "float32"))["loss"] > 0.0
    assert set(compiled.predict(batch, 4, 0)) == {"image_embeddings", "text_embeddings"}


@pytest.mark.once
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0; give a whole number of at least 1"),
        ({"steps_per_epoch": 2.5}, "steps_per_epoch is 2.5; give a whole number of at least 1"),
        ({"epochs": -1}, "epochs is -1; give a whole number"),
        ({"epochs": 1.5}, "epochs is 1.5; give a whole number"),
        ({"initial_epoch": -1}, "initial_epoch is -1"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number of at least 1"),
        ({"class_weight": {0: 1.0, 1: 2.0}}, "class_weight weighs samples by their class, .* sample_weight"),
    ],
)
def test_what_fit_does_not_take(compiled, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        compiled.fit(batch_of(compiled, 4), verbose=0, **options)


@pytest.mark.once
def test_batches_of_a_data_set_are_its_own(compiled, pairs):
    data, batch = kzoo.data.pairs(pairs, compiled.preprocessor, batch_size=12), batch_of(compiled, 4)
    for call in (compiled.fit, compiled.evaluate, compiled.predict):
        for given in (data, (each for each in (batch, batch))):
            with pytest.raises(
                ValueError, match="batch_size is 8, but a data set .* is given, whose batches are its own"
            ):
                call(given, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="shuffle is False, but a data set .* is given that is shuffled itself"):
        compiled.fit(data, shuffle=False, verbose=0)
    assert compiled.evaluate(data, batch_size=12, verbose=0) == compiled.evaluate(data, verbose=0)
    history = compiled.fit(batch, batch_size=2, validation_data=data.in_order(), verbose=0).history
    assert history["val_loss"] == [pytest.approx(compiled.evaluate(data, verbose=0)["loss"], rel=1e-5)]


@pytest.mark.once
@pytest.mark.parametrize(
    "split, sentence",
    [
        (0.2, "leaves one to measure, but a batch of one pair has no negative"),
        (0.75, "leaves one to train on, but a batch of one pair has no negative"),
        (30, "validation_split is 30; give a share of the rows"),
        (-0.5, "validation_split is -0.5; give a share of the rows"),
    ],
)
def test_shares_that_measure_nothing(compiled, split, sentence):
    with pytest.raises(ValueError, match=sentence):
        compiled.fit(batch_of(compiled, 4), validation_split=split, verbose=0)


@pytest.mark.once
def test_a_data_set_has_no_share(compiled, pairs):
    data = kzoo.data.pairs(pairs, compiled.preprocessor, batch_size=12)
    with pytest.raises(ValueError, match="validation_split is of arrays, .* give another one as validation_data"):
        compiled.fit(data, validation_split=0.5, verbose=0)
    history = compiled.fit(batch_of(compiled, 4), validation_split=0.5, verbose=0).history
    assert {"val_loss", "val_text_to_image_recall@1"} <= set(history)


@pytest.mark.once
@pytest.mark.parametrize("given", [keras.callbacks.TerminateOnNaN, [print], ["EarlyStopping"]])
def test_what_is_no_callback(compiled, given):
    with pytest.raises(TypeError, match="callbacks hold .*; give an object of one"):
        compiled.fit(batch_of(compiled, 4), callbacks=given, verbose=0)


@pytest.mark.once
def test_where_all_is_locked_nothing_is_trained(model):
    model.trainable = False
    model.compile("clip_adamw")
    with pytest.raises(ValueError, match="all weights of the model are locked, so nothing would be trained"):
        model.fit(batch_of(model, 4), verbose=0)


def test_steps_of_a_subclass_are_those_that_run():
    called, plain = [], tiny_model(depth=1)

    class Own(kzoo.DualEncoder):
        def train_step(self, *arguments):
            called.append("train")
            return super().train_step(*arguments)

        def test_step(self, *arguments):
            called.append("test")
            return super().test_step(*arguments)

    model, batch = Own(plain.image_encoder, plain.text_encoder), batch_of(plain, 4)
    model.compile("sgd")
    first, second = (model.fit(batch, verbose=0).history["loss"][0] for _ in range(2))
    assert second < first
    assert model.evaluate(batch, verbose=0)["loss"] < second
    assert {*called} == {"train", "test"}


def test_methods_of_a_subclass_that_nothing_would_call_are_refused():
    plain = tiny_model(depth=1)
    own = type("Own", (kzoo.DualEncoder,), {"compute_loss": lambda self, *arguments, **options: 0.0})
    with pytest.raises(TypeError, match="Own has a compute_loss of its own, which a training of kzoo does not call;"):
        own(plain.image_encoder, plain.text_encoder).compile("sgd")


@pytest.mark.once
def test_class_weights_are_refused_of_one_batch_too(compiled):
    with pytest.raises(ValueError, match="class_weight weighs samples"):
        compiled.train_on_batch(batch_of(compiled, 4), class_weight={0: 1.0})


@pytest.mark.once
def test_a_model_that_is_not_compiled_says_so(model):
    batch = batch_of(model, 4)
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="the model is not compiled; call model.compile"):
            call(batch)


@pytest.mark.once
def test_a_loss_with_weights_is_of_one_model(model, recwarn):
    loss, others = InfoNCE(kzoo.losses.LearnableTemperature(0.1)), [tiny_model(depth=1) for _ in range(2)]
    model.compile("sgd", loss=loss)
    model.compile("sgd", loss=loss + InfoNCE(0.1))
    for other in others:
        other.compile("sgd", loss=InfoNCE(0.1) + kzoo.losses.SigmoidContrastive(scale=10.0, bias=-10.0))
    assert not [each for each in recwarn if "another model" in str(each.message)]
    with pytest.warns(
        UserWarning, match="compiled with another model before: 1 of its weights .* give each model a loss"
    ):
        others[0].compile("sgd", loss=2.0 * loss)


@pytest.mark.once
# -- losses by name --
def test_a_loss_comes_by_its_name(model):
    model.compile("sgd", loss="SigmoidContrastive")
    assert isinstance(model.objective, kzoo.losses.SigmoidContrastive)


@pytest.mark.once
@pytest.mark.parametrize(
    "loss, error, sentence",
    [
        ("InfoNCe", ValueError, "loss 'InfoNCe' is unknown: kzoo.losses has no 'InfoNCe'; did you mean InfoNCE"),
        ("ClipLoss", ValueError, "kzoo.losses has no 'ClipLoss'; did you mean InfoNCE"),
        ("mse", ValueError, "kzoo.losses has no 'mse'; did you mean"),
        (InfoNCE, TypeError, r"loss is the class InfoNCE; give a loss, InfoNCE\(\)"),
        (keras.losses.MeanSquaredError(), TypeError, "loss is of type MeanSquaredError, but a kzoo loss is expected"),
    ],
)
def test_what_is_no_loss(model, loss, error, sentence):
    with pytest.raises(error, match=sentence):
        model.compile("sgd", loss=loss)


@pytest.mark.once
@pytest.mark.parametrize(
    "name, meant",
    [
        ("ClipLoss", "InfoNCE"),
        ("CLIPLoss", "InfoNCE"),
        ("ContrastiveLoss", "InfoNCE"),
        ("SigLipLoss", "SigmoidContrastive"),
        ("SupConLoss", "SupCon"),
        ("NTXentLoss", "NTXent"),
        ("TripletMarginLoss", "Triplet"),
        ("CoCaLoss", "CaptioningContrastive"),
    ],
)
def test_names_of_other_libraries_lead_to_those_here(name, meant):
    with pytest.raises(AttributeError, match=f"kzoo.losses has no {name!r}; did you mean .*{meant}"):
        getattr(kzoo.losses, name)


# -- what would train something else --
def test_weights_that_were_locked_or_opened_are_said(model):
    batch = batch_of(model, 4)
    model.compile("adam")
    model.text_encoder.trainable = False  # before the first step, as after `compile`
    model.fit(batch, verbose=0)
    for encoder, trainable, said in ((model.image_encoder, False, "locked"), (model.text_encoder, True, "opened")):
        encoder.trainable = trainable
        before = model.get_weights()
        for call in (lambda: model.fit(batch, verbose=0), lambda: model.train_on_batch(batch)):
            with pytest.raises(ValueError, match=rf"\d+ were {said} .*_encoder/.*call compile again"):
                call()
        assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
        assert np.isfinite(model.encode_text(["a red circle"])).all()
        model.evaluate(batch, verbose=0)
        model.compile("adam")
        locked = [each for each in (model.image_encoder, model.text_encoder) if not each.trainable]
        before = [each.get_weights() for each in locked]
        model.fit(batch, verbose=0)
        assert all(np.array_equal(*pair) for old, each in zip(before, locked) for pair in zip(old, each.get_weights()))


@pytest.mark.once
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_optimizer_that_sums_steps_is_refused(model, wrapped):
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=4)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer
    with pytest.raises(ValueError, match="gradient_accumulation_steps=4, but gradients of small batches"):
        model.compile(optimizer)


def test_processes_that_were_not_joined_are_refused(model, monkeypatch):
    if keras.config.backend() != "torch":
        return  # of which tests/scale says what is refused
    import torch

    batch = batch_of(model, 4)
    model.compile("sgd")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for call in (lambda: model.fit(batch, verbose=0), lambda: model.train_on_batch(batch)):
        with pytest.raises(NotImplementedError, match="shares each batch among 2 devices, .* kzoo.scale.start"):
            call()


# -- what is left when it stops --
def test_a_loss_that_is_not_finite_leaves_the_weights_of_the_last_good_epoch(model):
    batch = batch_of(model, 8)

    class Spoilt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.good = self.model.get_weights()
                self.model.optimizer.learning_rate = 1e30

    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    spoilt = Spoilt()
    sentence = r"the loss became .* in epoch \d+, step \d+.*; lower the learning rate"
    with pytest.raises(FloatingPointError, match=sentence):
        model.fit(batch, batch_size=4, epochs=5, verbose=0, callbacks=[spoilt])
    assert all(np.array_equal(old, new) for old, new in zip(spoilt.good, model.get_weights(), strict=True))
    model.optimizer.learning_rate = 0.01
    history = model.fit(batch, batch_size=4, verbose=0).history  # and on from there, momentum included
    assert np.isfinite(history["loss"]).all() and np.isfinite(model.encode_text(["a red circle"])).all()


@pytest.mark.every_backend
def test_a_step_that_cannot_be_leaves_the_weights(model):
    batch = batch_of(model, 4)
    model.compile("adam", loss=InfoNCE() + kzoo.losses.SupCon(labels="species", inputs=InfoNCE().input_names))
    before = model.get_weights()
    for call in (lambda: model.fit(batch, verbose=0), lambda: model.fit(batch["images"], np.arange(4), verbose=0)):
        with pytest.raises(ValueError, match="reads 'species'|but a dict of arrays is expected"):
            call()
        assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
        assert np.isfinite(model.encode_text(["a red circle"])).all()
