"""The second stage of MCLRec: parts trained where the rest of the model would be after its step."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import fill, numpy

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import FeatureAugmenter, Head, Projector
from kzoo.losses import NTXent
from kzoo.training import MetaStep

random = np.random.default_rng(0)
BATCH = {name: random.integers(0, 256, (4, 8, 8, 3), dtype="uint8") for name in ("view_1", "view_2")}
AHEAD, RATE = 0.5, 0.25


def test_of_a_product():
    """Of `L = t^2 w^2 / 2` by hand: `dL/dt = t w^2` at the start, `dL/dw = t'^2 w` at `t' = t - a t w^2`."""
    t, w = 3.0, 0.5

    def compute(offsets=None):
        at, of = (t, w) if offsets is None else (t + float(numpy(offsets[0])), w + float(numpy(offsets[1])))
        return [ops.convert_to_tensor(np.float32(8.0 * each)) for each in (at * of**2, at**2 * of)]

    encoder, augmenter = (
        SimpleNamespace(trainable_variables=[object()], name=name) for name in ("encoder", "augmenter")
    )
    model = SimpleNamespace(
        towers=lambda: {"image_encoder": encoder},
        parts=lambda: {"encoder": encoder, "head_0": augmenter},
        heads=[augmenter],
        trainable_variables=[*encoder.trainable_variables, *augmenter.trainable_variables],
        optimizer=SimpleNamespace(scale_loss=lambda loss: 8.0 * loss),
    )
    given = MetaStep("augmenter", learning_rate=0.1).apply(compute, model)
    expected = 8.0 * t * w**2, 8.0 * (t - 0.1 * t * w**2) ** 2 * w  # all gradients carry the factor, the step does not
    np.testing.assert_allclose([float(numpy(each)) for each in given], expected, rtol=1e-6)


def model():
    tower = VisionTransformer(8, 4, width=12, depth=1, num_heads=2)
    heads = [Head(FeatureAugmenter(6), "*_features", "*_augmented", name="augmenter")]
    made = kzoo.SelfSupervised(tower, Projector((5,), batch_norm=False), heads=heads, name="mclrec")
    fill(made)
    return made


def loss():
    return NTXent() + NTXent(inputs=("view_1_augmented", "view_2_augmented"))


def values(weights):
    return [numpy(each).astype("float64") for each in weights]


def test_one_step_is_that_of_two_plain_ones():
    plain = model()
    before = values(plain.trainable_variables)
    learns = ["augmenter" in each.path.split("/") for each in plain.trainable_variables]
    assert any(learns) and not all(learns)

    def gradients(rate):
        at = values(plain.trainable_variables)
        plain.train_on_batch(BATCH)
        return [(old - new) / rate for old, new in zip(at, values(plain.trainable_variables))]

    plain.compile(keras.optimizers.SGD(AHEAD), loss=loss())
    first = gradients(AHEAD)
    for weight, old, own in zip(plain.trainable_variables, before, learns):  # the others stay a step ahead
        if own:
            weight.assign(old.astype("float32"))
    second = gradients(AHEAD)

    tested = model()
    tested.compile(keras.optimizers.SGD(RATE), loss=loss(), gradients=MetaStep("augmenter", learning_rate=AHEAD))
    tested.train_on_batch(BATCH)
    for weight, old, own, here, there in zip(tested.trainable_variables, before, learns, first, second, strict=True):
        expected = old - RATE * (there if own else here)
        np.testing.assert_allclose(numpy(weight), expected, rtol=1e-5, atol=2e-6, err_msg=weight.path)
    differ = [np.abs(there - here).max() for here, there, own in zip(first, second, learns) if own]
    assert max(differ) > 1e-3  # so that the step ahead is seen


def test_it_is_saved_and_refuses_what_is_not_there(tmp_path):
    tested = model()
    tested.compile("sgd", loss=loss(), gradients=MetaStep(["augmenter"], 0.1))
    tested.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").gradients
    assert (again.parts, again.learning_rate) == (("augmenter",), 0.1)
    with pytest.raises(
        ValueError, match="MetaStep is to train 'augmentor', but the model trains image_encoder, .*augmenter"
    ):
        tested.compile("sgd", loss=loss(), gradients=MetaStep("augmentor"))
    tested.encoder.trainable = tested.projector.trainable = False
    with pytest.raises(ValueError, match="augmenter, which is all that the model trains"):
        tested.compile("sgd", loss=loss(), gradients=MetaStep("augmenter"))
    for arguments, sentence in (((()), "parts is empty"), (("augmenter", -1.0), "learning_rate is -1.0")):
        with pytest.raises(ValueError, match=sentence):
            MetaStep(*(arguments or ((),)))
