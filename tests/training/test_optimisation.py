"""Decay by name, learning rates by depth, averaged weights, patches left out, and recipes that set all of it."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import batch_of, numpy, tiny_model

import kzoo
from kzoo.losses import InfoNCE, SigmoidContrastive
from kzoo.training import AdamW, Lion, PatchDropout, recipe
from kzoo.training.named_recipes import NAMED
from kzoo.training.optimizers import OWN, UNDECAYED
from kzoo.training.recipes import choose_recipe


@pytest.mark.parametrize("name", list(OWN))
def test_gains_biases_and_the_similarity_head_are_spared_from_decay(name, model):
    optimizer = OWN[name](0.5, weight_decay=0.5)
    trained, before = model.trainable_variables, [numpy(each).copy() for each in model.trainable_variables]
    optimizer.build(trained)
    optimizer.apply([ops.zeros(each.shape) for each in trained], trained)  # all that moves is decay
    spared = 0
    for variable, value in zip(trained, before, strict=True):
        own = variable.path.rpartition("/")[2] in UNDECAYED
        spared += own
        np.testing.assert_allclose(numpy(variable), value * (1.0 if own else 0.75), atol=1e-6, err_msg=variable.path)
    assert 10 < spared < len(trained) - 10
    assert type(optimizer).from_config(optimizer.get_config()).get_config() == optimizer.get_config()


def test_optimizers_of_kzoo_have_names(model):
    for name, cls in OWN.items():
        model.compile(name)
        assert type(model.optimizer) is cls


@pytest.fixture
def deep():
    """A model of two blocks in each tower."""
    return tiny_model()


def moved(model, batch, optimizer, **options):
    """What one step adds to each trained weight."""
    before = [numpy(each).copy() for each in model.trainable_variables]
    model.compile(optimizer, loss=InfoNCE(temperature=0.2), **options)
    model.train_on_batch(batch)
    steps = [numpy(each) - value for each, value in zip(model.trainable_variables, before, strict=True)]
    for variable, value in zip(model.trainable_variables, before):
        variable.assign(value)
    return steps


def rates(model):
    """Path of a trained weight -> what a decay of 0.5 multiplies its rate by."""
    found = {each.path: 1.0 for each in model.trainable_variables}
    for tower in (model.image_encoder, model.text_encoder):
        for depth, part in enumerate(["block_1", "block_0"], 1):
            found |= {path: 0.5**depth for path in found if path.startswith(f"{tower.name}/") and part in path}
        first = [path for path in found if path.startswith(f"{tower.name}/") and "embedding" in path]
        first += [path for path in found if path.endswith("pre_norm/gamma") or path.endswith("pre_norm/beta")]
        found |= {path: 0.125 for path in first if path.startswith(f"{tower.name}/")}
    return found


STEPS = {"sgd": lambda: keras.optimizers.SGD(0.5), "adamw": lambda: AdamW(0.01), "muon": lambda: OWN["clip_muon"](0.01)}


@pytest.mark.parametrize("name", list(STEPS))
def test_learning_rates_fall_with_depth(name, deep):
    model, make = deep, STEPS[name]
    assert [len(tower.depths()) for tower in (model.image_encoder, model.text_encoder)] == [4, 4]
    batch = batch_of(model, 8)
    whole, by_depth = moved(model, batch, make()), moved(model, batch, make(), layer_decay=0.5)
    expected = rates(model)
    assert set(expected.values()) == {0.125, 0.25, 0.5, 1.0}
    for variable, one, other in zip(model.trainable_variables, whole, by_depth, strict=True):
        np.testing.assert_allclose(other, expected[variable.path] * one, atol=3e-7, err_msg=variable.path)


def test_the_same_optimizer_has_its_own_rates_after_another_compile(deep):
    model = deep
    optimizer, batch = keras.optimizers.SGD(0.5), batch_of(model, 8)
    first = moved(model, batch, optimizer, layer_decay=0.5)
    config = model.get_compile_config()
    assert config["layer_decay"] == 0.5
    for one, other in zip(moved(model, batch, optimizer), moved(model, batch, keras.optimizers.SGD(0.5))):
        np.testing.assert_allclose(one, other, atol=1e-7)
    before = [numpy(each).copy() for each in model.trainable_variables]
    model.compile_from_config(config)
    model.train_on_batch(batch)
    for variable, value, step in zip(model.trainable_variables, before, first):
        np.testing.assert_allclose(numpy(variable) - value, step, atol=3e-7)


def test_the_model_has_averaged_weights_at_the_end(model):
    weights, batch = [], batch_of(model, 12)
    trained = model.text_encoder.trainable_variables

    class Noted(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append([numpy(each).copy() for each in trained])

    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.75), loss=InfoNCE(temperature=0.2))
    model.fit(batch, batch_size=4, shuffle=False, verbose=0, callbacks=[Noted()])
    average = weights[0]
    for step in weights[1:]:
        average = [0.75 * mean + 0.25 * each for mean, each in zip(average, step)]
    assert max(np.abs(a - b).max() for a, b in zip(average, weights[-1])) > 1e-4
    for variable, mean in zip(trained, average):
        np.testing.assert_allclose(numpy(variable), mean, atol=1e-6)


def test_patches_are_left_out_in_training_alone(model, monkeypatch):
    batch, seen, tower = batch_of(model, 6), [], type(model.image_encoder)
    whole = tower.call

    def call(self, images, training=None, keep=None, **options):
        seen.append((training, None if keep is None else tuple(keep.shape)[1:]))
        return whole(self, images, training=training, keep=keep, **options)

    model.compile("clip_adamw")
    plain = model.evaluate(batch, verbose=0)
    monkeypatch.setattr(tower, "call", call)
    model.compile("clip_adamw", patch_dropout=0.5)
    assert model.evaluate(batch, verbose=0) == pytest.approx(plain, rel=1e-6)
    assert {kept for _, kept in seen} == {None}
    model.fit(batch, batch_size=3, verbose=0)
    assert (True, (2,)) in [(training, kept) for training, kept in seen if training]  # of four patches
    assert model.get_compile_config()["patch_dropout"] == 0.5


def test_other_patches_are_drawn_at_each_step():
    drawn = PatchDropout(0.4, seed=3)
    first, second, again = (numpy(each.draw((5,), 9)) for each in (drawn, drawn, PatchDropout(0.4, seed=3)))
    assert first.shape == (5, 5) and (first != second).any() and (first == again).all()
    for rows in (first, second):
        assert rows.min() >= 0 and rows.max() <= 8 and (np.diff(rows, axis=1) > 0).all()
    assert numpy(PatchDropout(0.99).draw((2, 3), 9)).shape == (2, 3, 1)


def test_patches_need_a_tower_that_can_do_without(model):
    with pytest.raises(ValueError, match=r"patch_dropout is 1\.0; give a number in \[0, 1\)"):
        model.compile(patch_dropout=1.0)
    texts = kzoo.MultiEncoder({"query": model.text_encoder, "title": model.text_encoder})
    with pytest.raises(ValueError, match="patch_dropout leaves out patches of pictures .* query by TextTransformer"):
        texts.compile(loss=InfoNCE(inputs=("query_embeddings", "title_embeddings")), patch_dropout=0.5)


@pytest.mark.parametrize("name", list(NAMED))
def test_every_recipe_says_why_and_trains(name, model):
    how = recipe(name, steps=12)
    text = str(how)
    assert text.startswith(name) and ("arXiv" in text or "measured with kzoo" in text)
    for field in NAMED[name]:
        line = next(line for line in text.splitlines() if line.split()[0] == field)
        assert NAMED[name][field][1] in line
    model.compile(how)
    assert float(numpy(model.optimizer.weight_decay or 0.0)) == pytest.approx(how.weight_decay)
    assert model.layer_decay == how.layer_decay and model.patch_dropout == how.patch_dropout
    assert model.image_encoder.trainable is not ("image" in how.locked)
    if how.loss:
        assert isinstance(model.objective, SigmoidContrastive)


def test_recipes_are_changed_by_field_and_refuse_what_they_do_not_know(model):
    how = recipe("clip_finetune", batch_size=64, learning_rate=1e-4)
    assert (how.batch_size, how.learning_rate, how.layer_decay) == (64, 1e-4, 0.7)
    assert "as you said" in str(how)
    with pytest.raises(ValueError, match="give steps=epochs \\* len\\(data\\)"):
        model.compile(how)
    with pytest.raises(ValueError, match="name 'clip_finetun' is unknown; .*clip_finetune"):
        recipe("clip_finetun")
    with pytest.raises(ValueError, match="the change 'lr' is unknown"):
        recipe("clip_finetune", lr=1.0)
    model.compile(recipe("clip_finetune", steps=10), layer_decay=1.0)
    assert model.layer_decay == 1.0


def test_kzoo_train_takes_a_recipe_by_name_and_goes_by_the_pairs_for_the_rest():
    chosen = choose_recipe(1_400, 10**6, from_scratch=False, name="clip_finetune", weight_decay=0.3)
    assert (chosen.batch_size, chosen.epochs, chosen.layer_decay) == (64, 10, 0.7)
    assert (chosen.weight_decay, chosen.word_dropout, chosen.name) == (0.3, 0.0, "clip_finetune")


@pytest.mark.parametrize("own, of_keras", [(AdamW, keras.optimizers.AdamW), (Lion, keras.optimizers.Lion)])
def test_a_derived_optimizer_steps_as_that_of_keras(own, of_keras):
    """Also on torch, where that of Keras takes all weights at once; one with a step of its own is left to it."""

    class Still(own):
        def update_step(self, gradient, variable, learning_rate):
            called.append(variable)

    called, found = [], []
    options = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.95, "weight_decay": 0.1}
    options |= {"epsilon": 1e-6} if own is AdamW else {}
    for make in (own, of_keras, Still):
        weights = [keras.Variable(np.full(shape, 0.5, "float32")) for shape in ((3, 2), (4,))]
        optimizer = make(**options | ({"weight_decay": 0.0} if make is Still else {}))
        optimizer.build(weights)
        for step in (1.0, -0.3, 0.2):
            optimizer.apply([keras.ops.full(each.shape, step) for each in weights])
        found.append([numpy(each) for each in weights])
    for one, other, start in zip(*found):
        np.testing.assert_allclose(one, other, rtol=2e-6)
        assert np.abs(one - start).max() > 0.05 and np.all(start == 0.5)
    assert len(called) == 6


@pytest.mark.parametrize("own, of_keras", [(AdamW, keras.optimizers.AdamW), (Lion, keras.optimizers.Lion)])
def test_a_derived_optimizer_sums_gradients_of_steps_as_that_of_keras(own, of_keras):
    """Which models of kzoo refuse, and a model of the user's own does not."""
    options = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.95, "weight_decay": 0.1}
    options |= {"epsilon": 1e-6} if own is AdamW else {}
    found = []
    for make in (own, of_keras):
        weights = [keras.Variable(np.full(shape, 0.5, "float32")) for shape in ((3, 2), (4,))]
        optimizer = make(**options, gradient_accumulation_steps=2)
        optimizer.build(weights)
        for step in (1.0, -0.3, 0.2, 0.7):
            optimizer.apply([ops.full(each.shape, step) for each in weights])
        found.append([numpy(each) for each in weights])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=2e-6)
        assert np.abs(one - 0.5).max() > 0.05


def test_a_step_of_adamw_is_that_of_keras_in_place(deep):
    """Of two steps, so that the moments count."""
    batch, model = batch_of(deep, 8), deep
    start = [numpy(each).copy() for each in model.trainable_variables]
    ends = []
    for make in (AdamW, keras.optimizers.AdamW):
        for variable, value in zip(model.trainable_variables, start):
            variable.assign(value)
        optimizer = make(0.01, weight_decay=0.3, beta_1=0.9, beta_2=0.98, epsilon=1e-6)
        optimizer.exclude_from_weight_decay(var_names=[rf"(^|/){name}(:\d+)?$" for name in UNDECAYED])
        model.compile(optimizer, loss=InfoNCE(temperature=0.2))
        for _ in range(2):
            model.train_on_batch(batch)
        ends.append([numpy(each).copy() for each in model.trainable_variables])
    for variable, one, other in zip(model.trainable_variables, *ends, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, err_msg=variable.path)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="a graph of TensorFlow")
def test_weights_on_tensorflow_wait_with_their_decay_for_their_gradient():
    import tensorflow as tf

    weight = keras.Variable(np.ones((3, 2), "float32"), name="kernel")
    for optimizer, kernels in ((AdamW(0.01), 1), (Lion(0.01), 0)):
        optimizer.build([weight])

        @tf.function
        def step(gradient, optimizer=optimizer):
            optimizer.apply_gradients([(2.0 * gradient, weight)])

        graph = step.get_concrete_function(tf.TensorSpec((3, 2))).graph
        (decay, *_) = [each for each in graph.get_operations() if each.type == "AssignSubVariableOp"]
        before = [decay]
        for each in before:
            new = [*(tensor.op for tensor in each.inputs), *each.control_inputs]
            before += [one for one in new if one not in before]
        assert graph.inputs[0].op in before
        assert sum(each.type == "ResourceApplyAdam" for each in graph.get_operations()) == kernels
