"""What a captioner's loss reads in training: states and weights, from which no logits are held as a whole."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

import kzoo
from kzoo.encoders import BertDecoder, MultimodalDecoder, TextTransformer, VisionTransformer
from kzoo.losses import Captioning, Loss
from kzoo.scale.engine import part_of
from kzoo.training.step import losses_of

TARGETS = ("caption_labels", "caption_mask")
TOWER = {"width": 8, "depth": 1, "num_heads": 2}
random = np.random.default_rng(0)


def captioner(name, rows=6, length=9, vocabulary=64, dtype=None):
    """A captioner as small as can be, and a batch; "coca" has an output kernel, "blip" is tied to its table."""
    tower = TOWER | {"dtype": dtype}
    image_encoder = VisionTransformer(16, 8, embed_dim=4, **tower)
    if name == "coca":
        text_encoder = TextTransformer(vocabulary, length, eot_id=2, embed_dim=4, **tower)
        model = kzoo.Captioner(image_encoder, text_encoder, MultimodalDecoder(vocabulary, **tower), dtype=dtype)
    else:
        decoder = BertDecoder(vocabulary, length, cross_width=8, **tower)
        decoder.head_bias.assign(random.normal(size=vocabulary))
        model = kzoo.Captioner(image_encoder, None, decoder, dtype=dtype)
    token_ids = random.integers(0, vocabulary, (rows, length)).astype("int32")  # 0 is padding
    token_ids[:, 0] = 2
    return model, {"images": random.integers(0, 256, (rows, 16, 16, 3), dtype="uint8"), "token_ids": token_ids}


@pytest.fixture
def many_chunks(monkeypatch):
    """Over a vocabulary of 64 in 10 columns at most, where there are 48 tokens and a width of 8."""
    monkeypatch.setattr("kzoo.losses.parts.linear_cross_entropy.HELD", 100)


class OfLogits(Captioning):
    """The same loss of logits that are held as a whole."""

    takes_linear_logits = False


class Confidence(Loss):
    """A user's own loss, which knows nothing but tensors."""

    default_inputs = ("caption_logits",)

    def call(self, logits):
        return ops.mean(ops.logsumexp(logits, axis=-1) - ops.max(logits, axis=-1))


@pytest.mark.parametrize("name", ["coca_nano", "blip_caption_nano"])
def test_output_weights_make_the_logits(name):
    model = kzoo.from_preset(name, load_weights=False)
    decoder = model.text_decoder
    if name == "blip_caption_nano":
        decoder.head_bias.assign(random.normal(size=decoder.head_bias.shape))
    states = random.normal(size=(2, 5, decoder.width)).astype("float32")
    kernel, bias = decoder.output_weights()
    logits = states @ numpy(kernel) + (0.0 if bias is None else numpy(bias))
    np.testing.assert_allclose(numpy(decoder.logits(states)), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["coca", "blip"])
def test_steps_are_those_of_the_whole_logits(name, many_chunks):
    model, batch = captioner(name)
    batch["sample_weight"] = np.linspace(0.5, 2.0, 6, dtype="float32")
    start, ends, losses = model.get_weights(), [], []
    for loss in (Captioning(label_smoothing=0.1), OfLogits(label_smoothing=0.1)):
        model.compile(keras.optimizers.SGD(0.5), loss=loss)
        model.set_weights(start)
        losses.append(model.fit(batch, batch_size=6, epochs=2, shuffle=False, verbose=0).history["loss"])
        ends.append(model.get_weights())
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for one, other in zip(*ends):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_loss_of_the_user_reads_logits(many_chunks):
    """Beside one that does not need them."""
    model, batch = captioner("coca")
    model.compile("sgd", loss=Captioning() + Confidence())
    results = model.test_on_batch(batch, return_dict=True)
    logits = numpy(model(batch)["caption_logits"])
    peak, targets = logits.max(-1), model(batch, only=TARGETS)
    expected = np.mean(np.log(np.sum(np.exp(logits - peak[..., None]), -1)))
    captioning = Captioning()(logits, targets["caption_labels"], mask=targets["caption_mask"])
    assert float(results["confidence"]) == pytest.approx(expected, rel=1e-5)
    assert float(results["captioning"]) == pytest.approx(float(numpy(captioning)), rel=1e-5)


def test_half_precision(many_chunks):
    """The products are made in it, and the loss is that of logits which are; its gradients are scaled."""
    model, batch = captioner("blip", dtype="mixed_float16")
    seen = set()

    class Seeing(Captioning):
        def call(self, logits, labels, mask=None, sample_weight=None):
            seen.update(keras.backend.standardize_dtype(each.dtype) for each in logits[:2])
            return super().call(logits, labels, mask, sample_weight)

    targets, logits = model(batch, only=TARGETS), model(batch)["caption_logits"]
    expected = Captioning()(logits, targets["caption_labels"], mask=targets["caption_mask"])
    model.compile(keras.optimizers.Adam(1e-2), loss=Seeing())
    losses = model.fit(batch, batch_size=6, epochs=5, shuffle=False, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(float(numpy(expected)), rel=2e-3)
    assert losses[-1] < losses[0]
    assert seen == {"float16", "float32"}


@pytest.mark.parametrize("loss", [Captioning(), OfLogits()], ids=["of states and weights", "of logits"])
def test_a_training_step_never_holds_the_logits(loss):
    """Their size is that of no tensor of the step, forward or backward, unless they are asked for."""
    rows, length, vocabulary = 64, 17, 2**15
    model, batch = captioner("coca", rows, length, vocabulary)
    model.compile("sgd", loss=loss)

    def step():
        return sum(losses_of(model, part_of(batch), training=True)[0])

    whole = rows * (length - 1) * vocabulary
    if isinstance(loss, OfLogits):
        assert numbers_held(step, model) >= whole
    else:
        assert numbers_held(step, model) < whole / 2


def numbers_held(step, model):
    """Numbers in the largest tensor that the gradients of a model's loss need; on jax in all that are held at once."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        trainable, others = model.trainable_variables, model.non_trainable_variables + model.metrics_variables

        def stateless(values):
            mapping = [*zip(trainable, values), *((variable, variable.value) for variable in others)]
            with keras.StatelessScope(state_mapping=mapping):
                return step()

        values = [variable.value for variable in trainable]
        compiled = jax.jit(jax.value_and_grad(stateless)).lower(values).compile()
        return compiled.memory_analysis().temp_size_in_bytes // 4
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                value = step()
            return tape.gradient(value, [variable.value for variable in model.trainable_variables])

        definition = gradients.get_concrete_function().graph.as_graph_def(add_shapes=True)
        nodes = [*definition.node, *(node for each in definition.library.function for node in each.node_def)]
        shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
        return max(int(np.prod([max(0, axis.size) for axis in shape.dim])) for shape in shapes)

    from torch.utils._python_dispatch import TorchDispatchMode

    largest = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            results = function(*args, **(kwargs or {}))
            tensors = [each for each in keras.tree.flatten(results) if hasattr(each, "numel")]
            largest[0] = max([largest[0], *(each.numel() for each in tensors)])
            return results

    with Watch():
        step().backward()
    return largest[0]
