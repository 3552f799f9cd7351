"""Predictions on jax and TensorFlow: blocks that are alike are made once, and say what they say in one program."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import compilations, fill, tiny_model

import kzoo
from kzoo.encoders import FastViT
from kzoo.encoders.fastvit_stage import MixerBlock
from kzoo.keras_contact import likeness, untracked
from kzoo.layers import SimilarityHead
from kzoo.layers.transformer import TransformerBlock
from kzoo.models import DualEncoder, programs
from kzoo.models.programs_jax import Programs

BACKEND = keras.config.backend()
pytestmark = pytest.mark.skipif(BACKEND == "torch", reason="runs each operation as it comes")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="of programs of XLA")


@pytest.fixture(autouse=True)
def small_blocks_too(monkeypatch):
    monkeypatch.setattr(programs, "FEWEST_WEIGHTS", 0)
    monkeypatch.setattr(programs, "FEWEST_BLOCKS", 2)


def images(rows=3):
    return {"images": np.random.default_rng(0).integers(0, 256, (rows, 16, 16, 3), "uint8")}


def texts(rows=3):
    ids = np.random.default_rng(1).integers(3, 320, (rows, 10), "int32")
    ids[:, -1] = 2
    return {"token_ids": ids}


def plain(model, batch):
    (found,) = model(batch, training=False).values()
    return ops.convert_to_numpy(found)


def compiled_for(depth):
    model, batch = tiny_model(depth=depth), images()
    with compilations() as found:
        model.embed_batch(batch)
        first = len(found)
        model.embed_batch(batch)
        assert len(found) == first
        model.embed_batch(images(4))
        assert len(found) == 2 * first, found
    return first


@on_jax
def test_a_deep_tower_has_no_more_programs_than_a_shallow_one():
    tiny_model().embed_batch(images())  # with what is compiled once for all
    assert compiled_for(3) == compiled_for(6) == 3  # before the blocks, a block, behind them, with the last one


@on_jax
def test_a_tower_of_convolutions_is_one_program():
    model = kzoo.from_preset("clip_resnet_nano", load_weights=False)
    with compilations() as found:
        model.embed_batch({"images": np.zeros((1, 64, 64, 3), "uint8")})
    assert len(found) == 1, found


@pytest.mark.parametrize("batch", (images, texts))
def test_blocks_that_are_alike_are_traced_once(batch, monkeypatch):
    traced, call = [], TransformerBlock.call

    def noted(self, *arguments, **options):
        traced.append(self)
        return call(self, *arguments, **options)

    monkeypatch.setattr(TransformerBlock, "call", noted)
    model = tiny_model(depth=5)
    model.embed_batch(batch())
    model.embed_batch(batch())
    assert len(traced) == 2  # and the last one, of one token
    model.embed_batch(batch(5))
    assert len(traced) == 4


def test_blocks_of_convolutions_that_are_alike_are_traced_once(monkeypatch):
    traced, call = [], MixerBlock.call

    def noted(self, *arguments, **options):
        traced.append(self)
        return call(self, *arguments, **options)

    monkeypatch.setattr(MixerBlock, "call", noted)
    stages = {"depths": (3,), "widths": (8,), "mlp_ratios": (2,), "mixers": ("repmixer",)}
    stages |= {"positions_before": (False,), "downsamples": (False,), "squeezes": (False,)}
    tower = FastViT(32, **stages, embed_dim=12)
    model = DualEncoder(tower, tiny_model().text_encoder, SimilarityHead())
    batch = {"images": np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")}
    found = model.embed_batch(batch)
    assert len(traced) == 1
    np.testing.assert_allclose(found, plain(model, batch), atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of its graphs")
def test_the_graph_calls_a_block_and_has_no_copies():
    model = tiny_model(depth=5)
    model.embed_batch(images())
    found = model.predict_function.get_concrete_function([(images(),)]).graph.as_graph_def()
    called = [node.attr["f"].func.name for node in found.node if node.op.endswith("PartitionedCall")]
    assert len(called) == 5 and len(set(called)) == 2
    assert all(each.attr["_noinline"].b for each in found.library.function if each.signature.name in called)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of its graphs")
@pytest.mark.parametrize("options", ({"jit_compile": True}, {"micro_batch_size": 2}, {"run_eagerly": True}))
def test_where_blocks_are_not_made_once_a_prediction_is_the_same(options):
    model = tiny_model(depth=3)
    before = model.embed_batch(images(4))
    model.compile("sgd", **options)
    np.testing.assert_allclose(model.embed_batch(images(4)), before, atol=1e-6)


MODELS = {
    "plain": {},
    "with gains": {"layer_scale": 0.5},
    "with dropout": {"dropout": 0.2},
    "fused": {"fused": True},
}


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_are_those_of_a_plain_call(name):
    model = tiny_model(depth=3, **MODELS[name])
    for batch in (images(), texts()):
        np.testing.assert_allclose(model.embed_batch(batch), plain(model, batch), atol=1e-6)
    assert BACKEND != "jax" or model.predict_programs is not None


def test_what_was_changed_since_is_seen():
    model, batch = tiny_model(depth=3), images()
    before = model.embed_batch(batch)
    kernel = model.image_encoder.blocks[1].mlp_up.kernel
    kernel.assign(2.0 * kernel)
    of_weights = model.embed_batch(batch)
    assert np.abs(of_weights - before).max() > 1e-4
    np.testing.assert_allclose(of_weights, plain(model, batch), atol=1e-6)
    layer = model.image_encoder.blocks[2].mlp_up
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    of_lora = model.embed_batch(batch)
    assert np.abs(of_lora - of_weights).max() > 1e-4
    np.testing.assert_allclose(of_lora, plain(model, batch), atol=1e-6)


@on_jax
def test_values_stay_with_their_weights_where_others_are_trained():
    model, batch = tiny_model(depth=3), images()
    blocks = model.image_encoder.blocks
    fill(model.image_encoder)
    before = model.embed_batch(batch)
    for locked in blocks[:2]:  # as many weights of the same shapes, one block and then the other
        for each in blocks:
            each.trainable = each is not locked
        np.testing.assert_allclose(model.embed_batch(batch), before, atol=1e-6)


def test_an_attribute_that_was_set_since_is_seen():
    model, batch = tiny_model(depth=2), images()
    before, made = model.embed_batch(batch), model.predict_function
    model.embed_batch(batch)
    assert model.predict_function is made  # nothing was set
    model.image_encoder.mean = (0.0, 0.0, 0.0)
    after = model.embed_batch(batch)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, plain(model, batch), atol=1e-6)


GAINS = {"block_0": 3.0}


class ByName(TransformerBlock):
    """Of somebody else, who keeps elsewhere what a block does."""

    def call(self, x, **options):
        return GAINS.get(self.name, 1.0) * super().call(x, **options)


@on_jax
def test_blocks_of_a_class_that_is_not_known_are_each_their_own():
    model = tiny_model(depth=3)
    for each in (*model.image_encoder.blocks, *model.text_encoder.blocks):
        each.__class__ = ByName
    np.testing.assert_allclose(model.embed_batch(images()), plain(model, images()), atol=1e-6)


@on_jax
def test_a_prediction_within_a_precision_is_traced_for_it():
    import jax

    model, batch = tiny_model(depth=2), images()
    model.embed_batch(batch)
    with jax.default_matmul_precision("highest"):
        model.embed_batch(batch)
    assert len(model.predict_programs.made) == 2


@on_jax
def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    from kzoo.models import programs_jax

    for name in ("QUICK", "QUICKEST"):
        monkeypatch.setattr(programs_jax, name, {"xla_no_such_option": True})
    model, batch = tiny_model(depth=2), images()
    np.testing.assert_allclose(model.embed_batch(batch), plain(model, batch), atol=1e-6)


@on_jax
def test_weights_that_were_put_on_a_device_stay_there():
    import jax

    model, batch = tiny_model(depth=2), images()
    for each in model.variables:
        each.assign(jax.device_put(each.value, jax.devices()[0]))
    assert model.variables[0].value.committed
    with compilations() as found:
        np.testing.assert_allclose(model.embed_batch(batch), plain(model, batch), atol=1e-6)
    assert found.count("jit(predicted)") == 1  # and no programs for arrays that lie elsewhere


@on_jax
def test_a_prediction_in_micro_batches_is_one_program_and_one_not_compiled_is_left_to_keras():
    model = tiny_model(depth=2)
    for options in ({"jit_compile": False}, {"run_eagerly": True}):
        model.compile("sgd", **options)
        model.make_predict_function()
        assert model.predict_programs is None, options
    model.compile("sgd", micro_batch_size=2)
    model.make_predict_function()
    assert not isinstance(model.predict_programs, Programs) and model.jit_compile
    model.compile("sgd")
    np.testing.assert_allclose(model.predict(images(5), batch_size=2, verbose=0)["image_embeddings"].shape, (5, 12))
    assert model.predict_programs is not None and model.jit_compile


def block(**options):
    built = TransformerBlock(8, 2, 16, **options)
    built.build((None, 5, 8))
    return built


def with_lora():
    built = block()
    built.mlp_up.enable_lora(2)
    return built


def replaced_call():
    built = block()
    built.attention.call = lambda x, **options: x
    return built


def shared_weight():
    built = block()
    untracked(built.mlp_up, "bias", built.mlp_up.kernel)
    return built


OTHERS = {
    "activation": lambda: block(activation="quick_gelu"),
    "mask": lambda: block(causal=True),
    "epsilon": lambda: block(epsilon=1e-6),
    "sizes": lambda: TransformerBlock(8, 2, 32),
    "gains": lambda: block(layer_scale=0.1),
    "heads": lambda: block(head_norm="rms"),
    "policy": lambda: block(dtype="mixed_bfloat16"),
    "LoRA": with_lora,
    "a call of its own": replaced_call,
    "an attribute of its own": lambda: _with(block(), "prefix", object()),
    "a weight twice": shared_weight,
}


def _with(layer, name, value):
    setattr(layer, name, value)
    return layer


@pytest.mark.parametrize("name", OTHERS)
def test_blocks_that_compute_something_else_are_not_alike(name):
    other = OTHERS[name]()
    if not other.built:
        other.build((None, 5, 8))
    assert likeness(other) != likeness(block())


def test_blocks_of_the_same_numbers_are_alike():
    assert likeness(block(name="one")) == likeness(block(name="two"))
    assert hash(likeness(with_lora())) == hash(likeness(with_lora()))
