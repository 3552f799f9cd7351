"""Bottleneck adapters and prefixes: what no kernel can hold, and stays beside the weights wherever a model goes."""

import json
import re

import keras
import numpy as np
import pytest
from shared_case import batch_of, fill, numpy, tiny_model
from test_lora import learn as learn_low_rank
from test_lora import outputs

import kzoo
from kzoo.adaptation import (
    BottleneckAdapter,
    CoOp,
    LoRA,
    PrefixTuning,
    activate,
    adapters,
    add_adapter,
    load_adapter,
    merge,
    remove_adapter,
    save_adapter,
    trainable_report,
)
from kzoo.encoders import BertEncoder
from kzoo.keras_contact import layers_within
from kzoo.layers.adapted import updates_of
from kzoo.layers.attention import Attention
from kzoo.layers.copies import copy_of
from kzoo.layers.numerics import gelu
from kzoo.paths import parameters
from kzoo.weights.adapter_checking import problems

KINDS = {
    "behind": BottleneckAdapter(6),
    "beside": BottleneckAdapter(6, parallel=True, scale=0.5, activation="relu"),
    "prefix": PrefixTuning(3),
}
TRAINED = {  # of two towers of two blocks of width 24 and two heads
    "behind": 2 * 2 * 2 * (24 * 6 + 6 + 6 * 24 + 24),
    "beside": 2 * 2 * (24 * 6 + 6 + 6 * 24 + 24),
    "prefix": 2 * 2 * (2 * 2 * 3 * 12 + 2),
}


@pytest.fixture
def model():
    return tiny_model()


def learn(model, name="default", seed=0):
    """Give an adapter numbers, as a training would, the same on every backend."""
    random = np.random.default_rng(seed)
    for layer in layers_within(model):
        update = updates_of(layer).get(name)
        for weight in update.trained() if update is not None else ():
            weight.assign(random.normal(0.0, 0.5, weight.shape).astype("float32"))


@pytest.mark.parametrize("kind", ["behind", pytest.param("beside", marks=pytest.mark.once), "prefix"])
def test_it_begins_as_the_frozen_model_and_learns(model, kind):
    batch = batch_of(model, 8)
    before = outputs(model, batch)
    frozen = {each.path: numpy(each.variable).copy() for each in parameters(model)}
    paths = add_adapter(model, KINDS[kind], name="birds")
    assert np.array_equal(outputs(model, batch), before) and adapters(model) == ["birds"]
    assert trainable_report(model).trained == TRAINED[kind] and len(paths) == (8 if kind == "behind" else 4)
    model.compile(kzoo.training.AdamW(1e-2))
    losses = model.fit(batch, batch_size=8, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = outputs(model, batch)
    assert np.abs(after - before).max() > 1e-3
    assert all(
        np.array_equal(numpy(each.variable), frozen[each.path]) for each in parameters(model) if each.path in frozen
    )
    activate(model, birds=0.5)
    half = outputs(model, batch)
    activate(model)
    assert np.array_equal(outputs(model, batch), before) and np.abs(half - after).max() > 1e-5
    remove_adapter(model, "birds")
    assert np.array_equal(outputs(model, batch), before)
    assert [each.path for each in parameters(model)] == list(frozen)


def test_the_formulas_by_hand():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 5, 24)).astype("float32")
    model = keras.Sequential([keras.layers.Input((5, 24)), keras.layers.Dense(24)])
    y = numpy(model(x))
    add_adapter(model, BottleneckAdapter(4, targets="**", scale=0.5))
    learn(model)
    down, down_bias, up, up_bias = (numpy(each) for each in updates_of(model.layers[0])["default"].trained())
    wanted = y + 0.5 * (numpy(gelu(keras.ops.convert_to_tensor(y @ down + down_bias))) @ up + up_bias)
    assert np.abs(numpy(model(x)) - wanted).max() < 1e-5

    block = kzoo.layers.TransformerBlock(24, 2, 48)
    block.build((None, 5, 24))
    fill(block)
    model = keras.Sequential([keras.layers.Input((5, 24)), block])
    before = numpy(model(x))
    mixed = numpy(block.norm_2(x + numpy(block.attention(block.norm_1(x)))))
    add_adapter(model, BottleneckAdapter(4, parallel=True, activation="relu"))
    learn(model)
    down, down_bias, up, up_bias = (numpy(each) for each in updates_of(block)["default"].trained())
    wanted = before + np.maximum(mixed @ down + down_bias, 0) @ up + up_bias
    assert np.abs(numpy(model(x)) - wanted).max() < 1e-4

    attention = Attention(24, 2)
    attention.build((None, 5, 24))
    model = keras.Sequential([keras.layers.Input((5, 24)), attention])
    before = numpy(model(x))
    query = numpy(attention.query(x)).reshape(2, 5, 2, 12)
    add_adapter(model, PrefixTuning(3, targets="**"))
    learn(model)
    keys, values, gates = (numpy(each) for each in updates_of(attention)["default"].trained())
    scores = np.exp(np.einsum("bthd,hsd->bths", query, keys) / np.sqrt(12))
    scores = scores / scores.sum(axis=-1, keepdims=True) * np.tanh(gates)[:, None]
    mixed = np.einsum("bths,hsd->bthd", scores, values).reshape(2, 5, 24)
    wanted = before + mixed @ numpy(attention.out.kernel)
    assert np.abs(numpy(model(x)) - wanted).max() < 1e-5


@pytest.mark.one_other
def test_files_copies_and_half_precision_keep_them(tmp_path):
    model = tiny_model(depth=1, dtype="mixed_bfloat16")
    batch = batch_of(model, 8)
    add_adapter(model, LoRA(2, targets="**.mlp_down"), name="low")
    learn_low_rank(model, "low")
    add_adapter(model, BottleneckAdapter(4), name="net")
    add_adapter(model, PrefixTuning(2), name="keys")
    for seed, name in enumerate(("net", "keys")):
        learn(model, name, seed)
    activate(model, low=0.5, net=1.0, keys=-0.7)
    model.compile(kzoo.training.AdamW(1e-4))
    model.fit(batch, batch_size=8, verbose=0)
    wanted = outputs(model, batch)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "going_on", optimizer=True)
    opened = kzoo.from_preset(tmp_path / "going_on", dtype="mixed_bfloat16")
    for again in (kzoo.load_model(tmp_path / "model.keras"), copy_of(model), opened):
        assert adapters(again) == ["keys", "low", "net"] and np.abs(outputs(again, batch) - wanted).max() < 1e-6
        assert [each.path for each in parameters(again) if each.variable.trainable] == [
            each.path for each in parameters(model) if each.variable.trainable
        ]
    model.save_to_preset(tmp_path / "merged")
    again = kzoo.from_preset(tmp_path / "merged")
    assert adapters(again) == ["keys", "net"] and np.abs(outputs(again, batch) - wanted).max() < 0.03
    trained = [each.path for each in parameters(again) if each.variable.trainable]
    assert trained and all("adapters" in path for path in trained)
    tower = copy_of(model.text_encoder)
    found = numpy(tower(batch["token_ids"], batch["padding_mask"])["embedding"])
    own = numpy(model.text_encoder(batch["token_ids"], batch["padding_mask"])["embedding"])
    assert np.abs(found - own).max() < 0.05
    assert adapters(tower) == ["keys", "net"] and np.array_equal(outputs(model, batch), wanted)


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
def test_one_alone_is_a_small_file(model, kind, tmp_path):
    batch = batch_of(model, 4)
    paths = add_adapter(model, KINDS[kind], name="birds")
    learn(model, "birds")
    wanted = outputs(model, batch)
    save_adapter(model, tmp_path / "birds", name="birds")
    assert problems(tmp_path / "birds") == ("adapter", [])
    other = copy_of(model)
    remove_adapter(other, "birds")
    assert load_adapter(other, tmp_path / "birds", name="more") == paths
    assert adapters(other) == ["more"] and np.abs(outputs(other, batch) - wanted).max() < 1e-6
    remove_adapter(other, "more")
    small, path = tiny_model(depth=1), tmp_path / "birds" / "adapter_config.json"
    with pytest.raises(ValueError, match="adapter of another model: this one has no layer .*blocks.1"):
        load_adapter(small, tmp_path / "birds")
    content = json.loads(path.read_text())
    for name, value, sentence in (
        ("layers", [], "names no layer"),
        ("layers", 3, "layers"),
        ("layers", paths[:1], "which its config does not tell of"),
        ("kzoo_adapter", "none", "kzoo_adapter"),
        ("config", {"rank": 2}, "describes no adapter"),
        ("config", {"num_prefix": 2**31 - 1} if kind == "prefix" else content["config"] | {"scale": -1}, "birds"),
        ("config", content["config"] | {"num_prefix" if kind == "prefix" else "bottleneck_dim": 2}, "is expected"),
    ):
        path.write_text(json.dumps(content | {name: value}))
        with pytest.raises(ValueError, match=sentence):
            load_adapter(other, tmp_path / "birds")
        assert adapters(other) == []
        if name != "config":  # which needs the model, or at least Keras
            assert any(re.search(sentence, each) for each in problems(tmp_path / "birds")[1])


@pytest.mark.once
def test_what_is_wrong_is_said_and_changes_nothing(model):
    before, count = outputs(model, batch_of(model, 4)), len(model.weights)
    for config, sentence in (
        (BottleneckAdapter(25), "bottleneck_dim is 25, but image_encoder.blocks.0.attention.out has 24 channels"),
        (BottleneckAdapter(25, parallel=True), "bottleneck_dim is 25, but image_encoder.blocks.0 has 24 channels"),
        (BottleneckAdapter(4, targets="**.norm_1"), "name no layer that an adapter could be added to"),
        (BottleneckAdapter(4, "**.attention.out", parallel=True), "name no layer that an adapter could be added to"),
        (PrefixTuning(4, targets="**.mlp_up"), "name no layer that an adapter could be added to"),
        (PrefixTuning(4, targets="**.attentoin"), "attention"),
    ):
        with pytest.raises(ValueError, match=sentence):
            add_adapter(model, config)
    with pytest.raises(ValueError, match="bottleneck_dim is 0"):
        BottleneckAdapter(0)
    with pytest.raises(TypeError, match="BottleneckAdapter or PrefixTuning"):
        add_adapter(model, 4)
    assert len(model.weights) == count and np.array_equal(outputs(model, batch_of(model, 4)), before)
    add_adapter(model, LoRA(2), name="low")
    add_adapter(model, BottleneckAdapter(2), name="net")
    with pytest.raises(ValueError, match="'net' is a Bottleneck at image_encoder.* which no kernel can hold"):
        merge(model)
    with pytest.raises(ValueError, match="transformers has no place for the adapter 'net'"):
        model.save_to_preset("nowhere", format="transformers")
    activate(model, "low")
    merge(model)


@pytest.mark.once
def test_blocks_of_other_towers_have_the_same_places():
    text = BertEncoder(320, 10, 24, 1, 2, 48, embed_dim=12, name="text_encoder")
    model = kzoo.models.DualEncoder(tiny_model(depth=1).image_encoder, text, preprocessor=tiny_model().preprocessor)
    batch = batch_of(model, 4)
    before = outputs(model, batch)
    for name, config in KINDS.items():
        paths = add_adapter(model, config, name=name)
        assert any(path.startswith("text_encoder") for path in paths)
        learn(model, name)
    activate(model, *KINDS)
    assert np.abs(outputs(model, batch) - before).max() > 1e-2
    activate(model)
    assert np.array_equal(outputs(model, batch), before)


@pytest.mark.once
def test_models_in_8_bits_and_prompted_ones_have_them_too(tmp_path):
    model = tiny_model(depth=1)
    model.quantize("int8")
    batch = batch_of(model, 8)
    before = outputs(model, batch)
    for name, config in KINDS.items():
        add_adapter(model, config, name=name)
    assert np.abs(outputs(model, batch) - before).max() < 1e-5
    for name in KINDS:
        learn(model, name)
    activate(model, *KINDS)
    wanted = outputs(model, batch)
    model.save(tmp_path / "model.keras")
    assert np.abs(outputs(kzoo.load_model(tmp_path / "model.keras"), batch) - wanted).max() < 1e-6
    model.save_to_preset(tmp_path / "preset")
    plain = kzoo.from_preset(tmp_path / "preset")
    assert adapters(plain) == sorted(KINDS) and np.abs(outputs(plain, batch) - wanted).max() < 0.1
    prompted = CoOp(plain, ["red circle", "blue"], n_ctx=1)
    found = prompted.encode_image(batch["images"])
    assert np.abs(found - plain.encode_image(batch["images"])).max() < 1e-5
    prompted.save(tmp_path / "prompted.keras")
    again = kzoo.load_model(tmp_path / "prompted.keras")
    assert np.abs(again.bake().zero_shot - prompted.bake().zero_shot).max() < 1e-5
    assert np.abs(again.encode_image(batch["images"]) - found).max() < 1e-5


@pytest.mark.one_other
def test_an_export_has_them_within(model, tmp_path):
    for name, config in KINDS.items():
        add_adapter(model, config, name=name)
        learn(model, name)
    activate(model, *KINDS)
    wanted = model.encode_text(["a big red circle"])
    model.export(tmp_path / "graphs")
    exported = kzoo.export.runtime.load(tmp_path / "graphs")
    assert np.abs(exported.encode_text(["a big red circle"]) - wanted).max() < 1e-5
    assert adapters(model) == sorted(KINDS)
