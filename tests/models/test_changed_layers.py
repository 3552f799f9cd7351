"""LoRA, quantisation, files, copies and exports compose: what is saved is opened with its numbers, or refused first."""

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
from shared_case import batch_of, fill, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import LoRA, add_adapter, remove_adapter
from kzoo.keras_contact import layers_within
from kzoo.layers.adapted import adapted
from kzoo.layers.changed import has_lora, plain_kernel
from kzoo.models import Captioner
from kzoo.presets.build import as_float32

PAIRS = toy_pairs(4)
ROUNDED = 0.05  # of int8, which rounds what comes in as well


def denses(model):
    return [layer for layer in layers_within(model) if isinstance(layer, keras.layers.Dense)]


def with_lora(model, tmp_path=None):
    for number, layer in enumerate(denses(model)):
        if not has_lora(layer):
            layer.enable_lora(2)
        random = np.random.default_rng(number)
        layer.lora_kernel_a.assign(random.normal(0.0, 0.1, layer.lora_kernel_a.shape))
        layer.lora_kernel_b.assign(random.normal(0.0, 0.1, layer.lora_kernel_b.shape))
    return model


def in_int8(model, tmp_path=None):
    if not any(layer.quantization_mode for layer in denses(model)):
        model.quantize("int8")
    return model


def of_preset(model, tmp_path):
    model.save_to_preset(tmp_path / "preset")
    return kzoo.from_preset(tmp_path / "preset")


def of_file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return kzoo.load_model(tmp_path / "model.keras")


def of_checkpoint(model, tmp_path):
    model.save_to_preset(tmp_path / "clip", format="open_clip")
    return kzoo.from_preset(tmp_path / "clip")


def of_weights(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.load_weights(tmp_path / "model.weights.h5")
    return again


def in_float32(model, tmp_path):
    return as_float32(model)


CHANGES, WAYS = (with_lora, in_int8), (of_preset, of_file, of_checkpoint, of_weights, in_float32)


def texts_of(model):
    return model.encode_text(PAIRS["captions"])


def modes(model):
    return {layer.quantization_mode for layer in denses(model)}


@pytest.mark.once
def test_weights_of_a_deeper_model_are_not_taken_in_part(tmp_path):
    tiny_model(depth=2).save_weights(tmp_path / "deep.weights.h5")
    model = tiny_model(depth=1)
    before = model.get_weights()
    with pytest.raises(ValueError, match="tensors for which this model has no place, such as image_encoder"):
        model.load_weights(tmp_path / "deep.weights.h5")
    assert all(map(np.array_equal, model.get_weights(), before))
    model.load_weights(tmp_path / "deep.weights.h5", skip_mismatch=True)
    compiled = tiny_model(depth=1)
    compiled.compile("adam")
    compiled.fit(batch_of(compiled, 4), verbose=0)
    compiled.save_weights(tmp_path / "compiled.weights.h5")
    model.load_weights(tmp_path / "compiled.weights.h5")
    assert np.array_equal(texts_of(model), texts_of(compiled))


@pytest.mark.once
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("changes", [(with_lora,), (in_int8,), *itertools.permutations(CHANGES)])
def test_every_change_leaves_by_every_way(changes, dtype, tmp_path):
    model = tiny_model(depth=1, dtype=dtype, image_size=16)
    for change in changes:
        change(model)
    wanted, quantised = texts_of(model), in_int8 in changes
    for way in WAYS:
        again = way(model, tmp_path)
        exact = dtype == "float32" and way in (of_preset, of_file, of_weights) and len(changes) == 1
        bound = 1e-6 if exact else ROUNDED  # Keras merges LoRA in the dtype and the integers of its layer
        np.testing.assert_allclose(texts_of(again), wanted, atol=bound, err_msg=way.__name__)
        kept = quantised and way not in (of_checkpoint, in_float32)
        assert modes(again) == ({"int8"} if kept else {None}), way.__name__
        if dtype != "float32" or way is of_checkpoint:
            continue
        for change in CHANGES:  # and what was opened can be changed and leave again
            change(again)
        np.testing.assert_allclose(texts_of(of_preset(again, tmp_path)), texts_of(again), atol=ROUNDED)


def test_a_change_is_seen_by_what_was_compiled_before_it():
    model = tiny_model(depth=1, fused=True)
    plain = texts_of(model)
    changed = texts_of(with_lora(model))
    assert np.abs(changed - plain).max() > 0.05
    copy = as_float32(in_int8(model))
    assert 1e-6 < np.abs(texts_of(model) - changed).max() < ROUNDED
    np.testing.assert_allclose(texts_of(copy), changed, atol=ROUNDED)


def test_an_adapter_in_the_place_of_another_is_seen_by_what_was_compiled():
    """It brings as many weights of the same shapes, and its scale is in no weight."""
    model, found = tiny_model(depth=1), []
    for alpha in (2, 20):
        add_adapter(model.text_encoder, LoRA(rank=2, alpha=alpha))
        for layer in adapted(model.text_encoder).values():
            for variable in (layer.adapters["default"].a, layer.adapters["default"].b):
                variable.assign(np.linspace(-0.5, 0.5, variable.shape[0] * variable.shape[1]).reshape(variable.shape))
        found.append(texts_of(model))
        remove_adapter(model.text_encoder)
    assert np.abs(found[1] - found[0]).max() > 0.02


def test_a_decoder_multiplies_by_its_quantised_head():
    decoder = kzoo.from_preset("coca_nano", load_weights=False).text_decoder
    states = np.random.default_rng(0).normal(size=(2, decoder.width)).astype("float32")
    before = keras.ops.convert_to_numpy(decoder.logits(states))
    decoder.head.quantize("int8")
    after = keras.ops.convert_to_numpy(decoder.logits(states))
    assert 0 < np.abs(after - before).max() < 0.02 * np.abs(before).max()


@pytest.mark.once
def test_a_captioner_of_towers_with_lora_has_it_merged():
    pair = with_lora(tiny_model(depth=1))
    np.testing.assert_allclose(texts_of(Captioner.from_dual_encoder(pair)), texts_of(pair), atol=1e-6)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize("lora", [False, True])
def test_the_plain_kernel_of_a_quantised_layer(mode, lora):
    layer = keras.layers.Dense(6)
    layer.build((None, 8))
    fill(layer, scale=0.5)
    kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
    layer.quantize(mode)
    if lora and mode != "float8":  # which Keras gives no LoRA
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.full((2, 6), 0.25))
        a, b = (keras.ops.convert_to_numpy(each) for each in (layer.lora_kernel_a, layer.lora_kernel_b))
        kernel = kernel + a @ b
    bound = {"int8": 0.01, "int4": 0.15, "float8": 0.15}[mode]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(plain_kernel(layer)), kernel, atol=bound)


@pytest.mark.every_backend
def test_quantising_lets_weights_go_and_searches_no_memory_for_them(model, monkeypatch):
    kernels, searches = [weakref.ref(layer._kernel) for layer in denses(model)], []
    count = len(model.weights)
    monkeypatch.setattr(gc, "collect", lambda *args: searches.append(args))
    gc.disable()  # they go by themselves
    try:
        model.quantize("int8")
        gone = sum(each() is None for each in kernels)
    finally:
        gc.enable()
    assert not searches and gone == len(kernels) > 10
    assert len(model.weights) == count + len(kernels)  # a scale for each kernel


@pytest.mark.once
def test_lora_learns_on_after_weights_were_loaded(model, tmp_path):
    with_lora(model)
    wanted = texts_of(model)
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(texts_of(model), wanted, atol=1e-6)
    for part in model.towers().values():
        part.trainable = True
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(batch_of(model, 6), verbose=0, epochs=2)
    assert all(np.any(keras.ops.convert_to_numpy(layer.lora_kernel_b)) for layer in denses(model.text_encoder))


@pytest.mark.once
def test_what_could_not_be_opened_is_refused_and_not_written(model, tmp_path):
    for name in ("model.h5", "model.hdf5"):
        with pytest.raises(ValueError, match=f"{name} could not be opened again: .* save_to_preset"):
            model.save(tmp_path / name)
    layer = model.text_encoder.projection
    config = keras.quantizers.GPTQConfig(dataset=None, tokenizer=None)
    layer.quantize("gptq", config=config)
    for write in (
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.save_to_preset(tmp_path / "preset"),
        lambda: model.save_to_preset(tmp_path / "clip", format="open_clip"),
    ):
        with pytest.raises(ValueError, match="text_encoder/projection is quantised to gptq.*, which cannot be opened"):
            write()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model.h5").write_bytes(b"another")
    around = keras.Model()
    around.part = model
    for each in (model, around):  # Keras empties the file before it looks at what it is to write
        with pytest.raises(ValueError, match="model.h5 could not be opened again: .* save_to_preset"):
            keras.saving.save_model(each, tmp_path / "model.h5")
    assert (tmp_path / "model.h5").read_bytes() == b"another"
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    keras.saving.save_model(plain, tmp_path / "model.h5")  # what is none of kzoo's is written as ever
    assert keras.saving.load_model(tmp_path / "model.h5").count_params() == 8
