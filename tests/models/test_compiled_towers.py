"""`jit_compile=True` on torch: towers that are compiled give what they gave before, gradients and states too."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy, tiny_model

from kzoo.adaptation import LoRA, adapters, add_adapter, remove_adapter
from kzoo.encoders import ResNet, TextTransformer
from kzoo.layers.adapted import adapted
from kzoo.models import DualEncoder
from kzoo.training import AdamW

pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="the others compile whole steps")


@pytest.fixture(scope="module")
def recorded():
    """In place of `torch.compile`, which takes seconds for each tower: its operations, one by one."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda graph, **options: graph)
        yield


def with_norms():
    sizes = {"width": 8, "embed_dim": 12}
    image = ResNet(image_size=32, depths=(1, 1), pool="average", **sizes, name="image_encoder")
    text = TextTransformer(320, 10, depth=1, num_heads=2, eot_id=2, name="text_encoder", **sizes)
    return DualEncoder(image, text)


MODELS = {
    "transformers": tiny_model,
    "states of norms": with_norms,
    "seeds": lambda: tiny_model(dropout=0.2),
    "gains": lambda: tiny_model(layer_scale=0.5, fused=True),
}


def batch_of(rows, side=16):
    generator = np.random.default_rng(0)
    ids = generator.integers(3, 320, (rows, 10), "int32")
    ids[:, -1] = 2
    return {"images": generator.integers(0, 256, (rows, side, side, 3), "uint8"), "token_ids": ids}


def copies(made):
    models = [made() for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    return models


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_and_training_are_those_of_the_plain_model(name, recorded):
    plain, model = copies(MODELS[name])
    plain.compile(keras.optimizers.SGD(0.01))
    model.compile(keras.optimizers.SGD(0.01), jit_compile=True)
    batch = batch_of(6, model.image_encoder.image_size[0])
    for each in ("images", "token_ids"):
        want, found = (one.embed_batch({each: batch[each]}) for one in (plain, model))
        np.testing.assert_allclose(found, want, atol=1e-6)
    assert len(model.compiled_towers.programs) == 2
    if name == "seeds":  # which are drawn as ever: two models draw others
        before = [each.copy() for each in model.get_weights()]
        model.fit(batch, batch_size=6, epochs=1, verbose=0)
        assert len(model.compiled_towers.programs) == 2
        assert any(np.abs(new - old).max() > 0.0 for new, old in zip(model.get_weights(), before))
        return
    histories = [one.fit(batch, batch_size=6, epochs=2, shuffle=False, verbose=0).history for one in (plain, model)]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=2e-5)
    for new, old in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(new, old, atol=2e-5)


def test_what_was_locked_or_changed_since(recorded):
    plain, model = copies(tiny_model)
    model.compile(AdamW(1e-2), jit_compile=True)
    batch = {"images": batch_of(4)["images"]}
    model.embed_batch(batch)
    for one in (plain, model):
        one.image_encoder.blocks[0].mlp_up.kernel.assign(0.1 * np.ones((24, 96), "float32"))
    np.testing.assert_allclose(model.embed_batch(batch), plain.embed_batch(batch), atol=1e-6)
    for one in (plain, model):
        one.image_encoder.blocks[0].attention.query.quantize("int8")
    np.testing.assert_allclose(model.embed_batch(batch), plain.embed_batch(batch), atol=1e-6)
    for one in (plain, model):  # as many weights at other places, and a call without `predict` around it
        for targets in ("**.attention.key", "**.attention.value"):
            if "default" in adapters(one.image_encoder):
                remove_adapter(one.image_encoder, "default")
            add_adapter(one.image_encoder, LoRA(rank=2, targets=(targets,)))
            for layer in adapted(one.image_encoder).values():
                for variable in (layer.adapters["default"].a, layer.adapters["default"].b):
                    variable.assign(np.full(variable.shape, 0.5, "float32"))
            found = numpy(one(batch)["image_embeddings"])
        np.testing.assert_allclose(found, numpy(plain(batch)["image_embeddings"]), atol=1e-6)


def test_what_was_changed_since_is_seen_by_a_call(recorded):
    plain, model = copies(tiny_model)
    model.compile("sgd", jit_compile=True)
    batch = {"images": batch_of(4)["images"]}

    def embedded(one):
        return keras.ops.convert_to_numpy(one(batch, training=False)["image_embeddings"])

    before = embedded(model)
    for one in (plain, model):
        layer = one.image_encoder.blocks[1].mlp_up
        layer.enable_lora(2)
        fill(layer)
    of_lora = embedded(model)
    assert np.abs(of_lora - before).max() > 1e-4
    np.testing.assert_allclose(of_lora, embedded(plain), atol=1e-6)
    for one in (plain, model):
        one.image_encoder.mean = (0.0, 0.0, 0.0)
    np.testing.assert_allclose(embedded(model), embedded(plain), atol=1e-6)
    assert np.abs(embedded(model) - of_lora).max() > 1e-4


def test_a_program_of_an_autocast_is_of_that_alone(recorded):
    import torch

    plain, model = copies(lambda: tiny_model(depth=1))
    model.compile("sgd", jit_compile=True)
    batch = {"images": batch_of(2)["images"]}
    with torch.autocast("cpu", torch.bfloat16):
        model.embed_batch(batch)
    np.testing.assert_allclose(model.embed_batch(batch), plain.embed_batch(batch), atol=1e-6)


def test_micro_batches_and_a_layer_that_is_not_finite(recorded):
    plain, model = copies(tiny_model)
    plain.compile(AdamW(1e-2), micro_batch_size=2)
    model.compile(AdamW(1e-2), micro_batch_size=2, jit_compile=True)
    batch = batch_of(5)
    losses = [
        one.fit(batch, batch_size=5, epochs=2, shuffle=False, verbose=0).history["loss"] for one in (plain, model)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    model.compile(AdamW(1e-2), jit_compile=True)
    model.image_encoder.blocks[1].mlp_up.bias.assign(np.full(96, np.nan, "float32"))
    with pytest.raises(FloatingPointError, match="image_encoder"):
        model.fit(batch, batch_size=5, epochs=1, verbose=0)


def test_losses_that_layers_add(recorded):
    plain, model = copies(tiny_model)
    for one in (plain, model):
        one.image_encoder.blocks[0].mlp_up.activity_regularizer = keras.regularizers.L2(0.1)
    plain.compile(AdamW(1e-2))
    model.compile(AdamW(1e-2), jit_compile=True)
    batch = batch_of(4)
    losses = [[one.train_on_batch(batch)[0] for _ in range(2)] for one in (plain, model)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)


def test_a_program_of_torch():
    plain, model = copies(lambda: tiny_model(depth=1))
    model.compile(AdamW(1e-2), jit_compile=True)
    batch = {"images": batch_of(4)["images"]}
    for _ in range(2):
        np.testing.assert_allclose(model.embed_batch(batch), plain.embed_batch(batch), atol=1e-6)
