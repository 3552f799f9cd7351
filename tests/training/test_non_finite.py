"""Steps that are not finite: which layer it was, and what is left out."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model

from kzoo.losses import InfoNCE, SigmoidContrastive


def values(model):
    return [numpy(each).copy() for each in (*model.trainable_variables, *model.optimizer.variables)]


def spoil(model):
    """A model whose second image block gives infinite numbers."""
    weight = model.image_encoder.blocks[1].trainable_variables[-1]
    kept = numpy(weight).copy()
    weight.assign(np.full(weight.shape, np.inf, "float32"))
    return weight, kept


def test_the_layer_is_named_whose_output_was_the_first_that_is_not_finite():
    model = tiny_model()
    batch = batch_of(model, 8)
    model.compile("clip_adamw", loss=InfoNCE(temperature=0.2))
    model.fit(batch, batch_size=4, verbose=0)
    spoil(model)
    path = model.image_encoder.blocks[1].path
    with pytest.raises(FloatingPointError, match=f"in epoch 1, step 1: {path} is the first layer whose output was not"):
        model.fit(batch, batch_size=4, verbose=0)


@pytest.mark.parametrize(("optimizer", "gradients"), [("sgd", "sum"), ("clip_adamw", "sum"), ("sgd", "sam")])
def test_a_step_that_is_not_finite_is_left_out_and_counted_on_request(optimizer, gradients):
    model = tiny_model()
    batch = batch_of(model, 8)
    model.compile(optimizer, loss=InfoNCE(temperature=0.2), gradients=gradients, non_finite="skip")
    assert np.isfinite(model.train_on_batch(batch)).all()
    weight, kept = spoil(model)
    before = values(model)
    with pytest.warns(UserWarning, match="epoch 1 left out 2 steps .*, the first at step 1: .*block_1 is the first"):
        history = model.fit(batch, batch_size=4, verbose=0).history
    assert history["skipped_steps"] == [2.0] and history["loss"] == [0.0]
    for one, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(one, other)
    weight.assign(kept)
    history = model.fit(batch, batch_size=4, verbose=0, validation_data=batch).history
    assert history["skipped_steps"] == [0.0] and history["loss"][0] > 0.1
    assert any((one != other).any() for one, other in zip(values(model), before))
    assert model.get_compile_config()["non_finite"] == "skip"


def test_a_step_with_a_skipped_batch_equals_one_without_it():
    """Losses are of the steps that count, whichever batch comes between them."""
    model, other = tiny_model(), tiny_model()
    batch = batch_of(model, 8)
    for one, like in zip(other.weights, model.weights):
        one.assign(numpy(like).copy())  # jax gives a step the memory of its arrays
    bad = batch | {"sample_weight": np.full(8, 1e38, "float32")}  # their sum is no finite number
    for each in (model, other):
        each.compile(keras.optimizers.SGD(0.5), loss=InfoNCE(temperature=0.2), non_finite="skip")
    plain = {**batch, "sample_weight": np.ones(8, "float32")}
    for each in (plain, bad, plain):
        model.train_on_batch(each)
    for each in (plain, plain):
        other.train_on_batch(each)
    for one, like in zip(other.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(like), atol=1e-7)


def test_steps_that_loss_scaling_leaves_out_are_counted_too():
    model = tiny_model(dtype="mixed_float16")
    batch = batch_of(model, 8)
    model.compile("clip_adamw", loss=SigmoidContrastive(scale=10.0, bias=-10.0))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(2.0**60)  # gradients overflow: it is halved until they do not
    before = numpy(model.optimizer.iterations)
    history = model.fit(batch, batch_size=2, epochs=2, verbose=0).history
    applied = int(numpy(model.optimizer.iterations) - before)
    assert history["skipped_steps"] == [4.0, 4.0] and applied == 0
    model.optimizer.dynamic_scale.assign(8.0)
    assert model.fit(batch, batch_size=2, verbose=0).history["skipped_steps"] == [0.0]
