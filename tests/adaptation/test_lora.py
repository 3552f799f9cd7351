"""Low-rank updates: their numbers, what is trained, names, merging, files, what is refused."""

import keras
import numpy as np
import pytest
from classifier_case import GOLDEN
from shared_case import batch_of, numpy, spread, tiny_model

import kzoo
from kzoo.adaptation import (
    LoRA,
    activate,
    adapters,
    add_adapter,
    freeze,
    load_adapter,
    merge,
    remove_adapter,
    save_adapter,
    trainable_report,
    unfreeze,
    unmerge,
)
from kzoo.keras_contact import layers_within
from kzoo.layers.adapted import adapted, updates_of
from kzoo.layers.matrices import matrix_of
from kzoo.paths import parameters

PAIR = ("image_embeddings", "text_embeddings")
ALL = ("**.attention", "**.mlp_*", "**.projection", "image_encoder.embedding")
KINDS = {
    "lora": {},
    "rslora": {"rank_stabilized": True, "dropout": 0.2},
    "dora": {"decomposed": True},
}


def outputs(model, batch):
    found = model(batch)
    return np.concatenate([numpy(found[name]) for name in PAIR])


def learn(model, name="default", seed=0):
    """Give an adapter numbers, as a training would, the same on every backend."""
    random = np.random.default_rng(seed)
    for layer in layers_within(model):
        update = updates_of(layer).get(name)
        if update is not None:
            update.b.assign(random.normal(0.0, 0.2, update.b.shape).astype("float32"))
            if update.direction is not None:
                lengths = numpy(update.direction.magnitude)
                update.direction.magnitude.assign(lengths * random.uniform(0.6, 1.4, lengths.shape))


@pytest.mark.parametrize("kind", ["lora", pytest.param("rslora", marks=pytest.mark.once), "dora"])
def test_it_begins_as_the_frozen_model_learns_and_merges(model, kind):
    batch = batch_of(model, 8)
    before = outputs(model, batch)
    frozen = {each.path: numpy(each.variable).copy() for each in parameters(model)}
    paths = add_adapter(model, LoRA(rank=2, alpha=6, targets=ALL, **KINDS[kind]))
    begun = outputs(model, batch)
    assert np.array_equal(begun, before) if kind != "dora" else np.abs(begun - before).max() < 1e-6
    sides = [matrix_of(layer).shape for layer in layers_within(model) if updates_of(layer)]
    wanted = sum(2 * sum(each) for each in sides) + (sum(d_out for _, d_out in sides) if kind == "dora" else 0)
    assert trainable_report(model).trained == wanted and len(paths) == len(sides) == 2 * 7 + 1
    assert len({id(each) for each in model.weights}) == len(model.weights)

    model.compile(kzoo.training.AdamW(1e-2))
    losses = model.fit(batch, batch_size=8, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    learn(model)
    after = outputs(model, batch)
    assert np.abs(after - before).max() > 1e-2
    assert all(
        np.array_equal(numpy(each.variable), frozen[each.path]) for each in parameters(model) if each.path in frozen
    )
    merge(model)
    assert np.abs(outputs(model, batch) - after).max() < 1e-5
    with pytest.raises(ValueError, match="locked"):
        model.fit(batch, batch_size=8, verbose=0)
    unmerge(model)
    assert np.abs(outputs(model, batch) - after).max() < 1e-5
    model.fit(batch, batch_size=8, verbose=0)
    activate(model)
    assert np.abs(outputs(model, batch) - before).max() < 1e-5
    remove_adapter(model)
    assert np.abs(outputs(model, batch) - before).max() < 1e-5 and adapters(model) == []
    assert [each.path for each in parameters(model)] == list(frozen)


LAYERS = {
    "dense": (keras.layers.Dense(6), (4,)),
    "einsum": (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), (5, 4)),
    "einsum_out": (keras.layers.EinsumDense("abcd,cde->abe", (None, 6)), (5, 2, 3)),
    "einsum_turned": (keras.layers.EinsumDense("...c,ec->...e", 6), (4,)),
    "conv": (keras.layers.Conv2D(6, 3, strides=2, padding="same", data_format="channels_last"), (7, 5, 4)),
    "conv1d": (keras.layers.Conv1D(6, 2, dilation_rate=2, data_format="channels_last"), (7, 4)),
}


@pytest.mark.parametrize("decomposed", [False, True])
def test_each_kind_of_layer_multiplies_by_the_updated_kernel(decomposed):
    random = np.random.default_rng(0)
    for name, (made, shape) in LAYERS.items():
        layer = type(made).from_config(made.get_config())
        model = keras.Sequential([keras.layers.Input(shape), layer])
        x = random.normal(size=(3, *shape)).astype("float32")
        before = numpy(model(x))
        add_adapter(model, LoRA(rank=2, alpha=4, targets="**", decomposed=decomposed))
        assert np.abs(numpy(model(x)) - before).max() < 1e-5
        learn(model)
        update, kernel = updates_of(layer)["default"], numpy(matrix_of(layer).kernel())
        wanted = kernel + 2.0 * numpy(update.a) @ numpy(update.b)
        if decomposed:
            wanted = numpy(update.direction.magnitude) * wanted / np.linalg.norm(wanted, axis=0)
        got = numpy(model(x))
        plain = type(layer).from_config(layer.get_config())
        plain.build((None, *shape))
        plain.set_weights([numpy(each) for each in layer.weights[: len(plain.weights)]])
        matrix_of(plain).assign(wanted.astype("float32"))
        assert np.abs(got - numpy(plain(x))).max() < 1e-5, name
        merge(model)
        assert np.abs(got - numpy(model(x))).max() < 1e-5, name


def test_the_formula_is_that_of_keras():
    case = GOLDEN["lora"]
    given = {name: np.array(value, "float32") for name, value in case["inputs"].items()}
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(6, use_bias=False)])
    model.set_weights([given["kernel"]])
    add_adapter(model, LoRA(**case["constructor"], targets="**"))
    update = updates_of(model.layers[0])["default"]
    update.a.assign(given["A"])
    update.b.assign(given["B"])
    assert np.abs(numpy(model(given["x"])) - case["expected"]).max() < 1e-5
    merge(model)
    assert np.abs(numpy(model(given["x"])) - case["expected"]).max() < 1e-5


@pytest.mark.parametrize("optimizer", [kzoo.training.AdamW, pytest.param(keras.optimizers.SGD, marks=pytest.mark.once)])
def test_b_steps_as_much_faster_as_it_is_told(optimizer):
    steps = {}
    for ratio in (1.0, 16.0):
        model = tiny_model(depth=1)
        spread(model)
        add_adapter(model, LoRA(rank=2, targets="image_encoder.**.query", rate_ratio=ratio))
        learn(model)
        (update,) = [updates_of(layer)["default"] for layer in layers_within(model) if updates_of(layer)]
        update.a.assign(np.random.default_rng(1).normal(0.0, 0.2, update.a.shape))
        model.compile(optimizer(1e-2, weight_decay=0.0))
        before = [numpy(each).astype("float64") for each in (update.a, update.b)]
        model.train_on_batch(batch_of(model, 8))
        steps[ratio] = [numpy(each) - old for each, old in zip((update.a, update.b), before)]
    (a, b), (same, faster) = steps[1.0], steps[16.0]
    assert np.abs(a).max() > 1e-6 < np.abs(b).max()
    np.testing.assert_allclose(same, a, rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(faster, 16.0 * b, rtol=1e-2, atol=1e-6)


@pytest.mark.one_other
def test_layers_may_have_ranks_and_alphas_of_their_own(tmp_path):
    plain, fused = tiny_model(depth=2), tiny_model(depth=2, fused=True)
    for model in (plain, fused):
        spread(model)
        own = {"text_encoder.**": 3, "**.blocks.0.attention.query": 4}
        add_adapter(model, LoRA(rank=2, targets="**.attention", rank_pattern=own, alpha_pattern={"**.value": 5.0}))
        learn(model)
    batch = batch_of(plain, 8)
    wanted = outputs(plain, batch)
    fused.set_weights(plain.get_weights())
    assert np.abs(outputs(fused, batch) - wanted).max() < 1e-5  # what is fused multiplies by the updated kernels
    found = {
        path: (each.rank, each.scale) for path, layer in adapted(plain).items() for each in updates_of(layer).values()
    }
    assert found["image_encoder.blocks.0.attention.query"] == (4, 1.0)
    assert found["text_encoder.blocks.0.attention.query"] == (3, 1.0)  # the first pattern that names it
    assert found["text_encoder.blocks.1.attention.value"] == (3, 5.0 / 3)
    assert found["image_encoder.blocks.1.attention.value"] == (2, 2.5)
    plain.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    assert np.abs(outputs(again, batch) - wanted).max() < 1e-6
    save_adapter(plain, tmp_path / "file")
    other = tiny_model(depth=2)
    spread(other)
    load_adapter(other, tmp_path / "file")
    assert np.abs(outputs(other, batch) - wanted).max() < 1e-5
    with pytest.raises(ValueError, match=r"rank is 25, but .*query has a side of 24"):
        add_adapter(tiny_model(depth=1), LoRA(rank_pattern={"**.query": 25}))
    with pytest.raises(ValueError, match=r"'\*\*.key' names none of the layers that get an adapter"):
        add_adapter(tiny_model(depth=1), LoRA(alpha_pattern={"**.key": 2}))
    with pytest.raises(ValueError, match=r"rank_pattern\['\*\*.key'\] is 0"):
        LoRA(rank_pattern={"**.key": 0})


@pytest.mark.one_other
def test_several_adapters_are_switched_weighed_and_trained_apart(model):
    batch = batch_of(model, 8)
    base = outputs(model, batch)
    add_adapter(model, LoRA(rank=2, targets="**.attention.{query,value}"), name="one")
    learn(model, "one", 1)
    one = outputs(model, batch)
    add_adapter(model, LoRA(rank=3, targets=("**.attention.query", "**.mlp_up"), decomposed=True), name="two")
    assert adapters(model) == ["one", "two"] and np.abs(outputs(model, batch) - base).max() < 1e-5
    trained = {each.path.split(".adapters.")[1].split(".")[0] for each in parameters(model) if each.variable.trainable}
    assert trained == {"two"}
    learn(model, "two", 2)
    two = outputs(model, batch)
    activate(model, "one")
    assert np.abs(outputs(model, batch) - one).max() < 1e-6 < np.abs(two - one).max()
    activate(model, one=0.5, two=-0.25)
    both = outputs(model, batch)
    assert min(np.abs(both - each).max() for each in (base, one, two)) > 1e-3
    merge(model)
    assert np.abs(outputs(model, batch) - both).max() < 1e-5
    with pytest.raises(ValueError, match="merged into its kernels"):
        activate(model, "one")
    unmerge(model)
    assert np.abs(outputs(model, batch) - both).max() < 1e-5
    remove_adapter(model, "one")
    activate(model, "two")
    assert np.abs(outputs(model, batch) - two).max() < 1e-5


@pytest.mark.one_other
def test_files_keep_adapters_or_have_them_merged(model, tmp_path):
    batch = batch_of(model, 8)
    add_adapter(model, LoRA(rank=2, targets=ALL, decomposed=True, rate_ratio=4.0), name="two")
    model.compile(kzoo.training.AdamW(1e-3))
    model.fit(batch, batch_size=8, verbose=0)
    learn(model, "two")
    wanted = outputs(model, batch)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "going_on", optimizer=True)
    for again in (kzoo.load_model(tmp_path / "model.keras"), kzoo.from_preset(tmp_path / "going_on")):
        assert adapters(again) == ["two"] and np.abs(outputs(again, batch) - wanted).max() < 1e-6
        assert [each.path for each in parameters(again) if each.variable.trainable] == [
            each.path for each in parameters(model) if each.variable.trainable
        ]
        again.fit(batch, batch_size=8, verbose=0)
    model.save_to_preset(tmp_path / "merged")
    again = kzoo.from_preset(tmp_path / "merged")
    assert adapters(again) == [] and np.abs(outputs(again, batch) - wanted).max() < 1e-5
    assert len(again.trainings) == 1 and again.trainable_variables
    assert adapters(model) == ["two"] and np.array_equal(outputs(model, batch), wanted)


@pytest.mark.one_other
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "int8"])
def test_half_precision_and_quantised_models(dtype, tmp_path):
    model = tiny_model(depth=1, dtype=None if dtype == "int8" else dtype)
    if dtype == "int8":
        model.quantize("int8")
    batch = batch_of(model, 8)
    before = outputs(model, batch)
    add_adapter(model, LoRA(rank=2, targets="**.attention", decomposed=True))
    assert np.abs(outputs(model, batch) - before).max() < 1e-5
    model.compile(kzoo.training.AdamW(1e-2))
    losses = model.fit(batch, batch_size=8, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    learn(model)
    wanted = outputs(model, batch)
    model.save(tmp_path / "model.keras")
    assert np.abs(outputs(kzoo.load_model(tmp_path / "model.keras"), batch) - wanted).max() < 1e-6
    model.save_to_preset(tmp_path / "preset")
    # what is written is of floats: 8 bits of the inputs of each layer, or of a sum, are rounded no more
    assert np.abs(outputs(kzoo.from_preset(tmp_path / "preset"), batch) - wanted).max() < 0.06
    if dtype == "int8":
        with pytest.raises(ValueError, match="quantised, so that its kernel cannot take an adapter"):
            merge(model)
        with pytest.raises(ValueError, match="quantise the model first"):
            model.quantize("int8")


@pytest.mark.once
def test_what_is_wrong_is_said_and_changes_nothing(model):
    before, count = outputs(model, batch_of(model, 4)), len(model.weights)
    wrong = {
        "rank is 99, but image_encoder.blocks.0.attention.query has a side of 24": LoRA(rank=99),
        "name no layer that an adapter could be added to": LoRA(targets="**.norm_1"),
        "valu in its braces.* there is value": LoRA(targets="**.attention.{query,valu}"),
    }
    for sentence, config in wrong.items():
        with pytest.raises(ValueError, match=sentence):
            add_adapter(model, config)
    for name in ("", "a.b", "a b"):
        with pytest.raises(ValueError, match="name is"):
            add_adapter(model, LoRA(), name=name)
    with pytest.raises(TypeError, match="give a kzoo.adaptation.LoRA"):
        add_adapter(model, {"rank": 2})
    for call in (lambda: activate(model, "x"), lambda: remove_adapter(model, "x")):
        with pytest.raises(ValueError, match="no adapter 'x', but none at all"):
            call()
    for call in (merge, unmerge):
        with pytest.raises(ValueError, match="no adapter"):
            call(model)
    grouped = keras.Sequential([keras.layers.Input((4, 4, 4)), keras.layers.Conv2D(4, 1, groups=2)])
    with pytest.raises(ValueError, match="is a convolution of groups"):
        add_adapter(grouped, LoRA(2, targets="**"))
    active = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(4, activation="relu")])
    with pytest.raises(ValueError, match="has its activation within it"):
        add_adapter(active, LoRA(2, targets="**"))
    assert len(model.weights) == count and np.array_equal(outputs(model, batch_of(model, 4)), before)
    assert all(each.variable.trainable for each in parameters(model) if each.trains)
    add_adapter(model, LoRA(2))
    with pytest.raises(ValueError, match="has an adapter 'default'"):
        add_adapter(model, LoRA(2))


@pytest.mark.once
def test_adapters_go_by_paths_too(model):
    add_adapter(model, LoRA(2, targets="text_encoder.blocks.*.mlp_up"))
    paths = [each.path for each in parameters(model) if each.variable.trainable]
    assert paths == [f"text_encoder.blocks.0.mlp_up.adapters.default.{name}" for name in "ab"]
    freeze(model, "**.adapters.default.a")
    unfreeze(model, "**.norm_1.gamma")
    assert len(model.trainable_variables) == 3
