"""Names of what a head reads and gives, what it does not take, and its config."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.layers import Head, Projector

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


class Halves(keras.layers.Layer):
    def call(self, x, as_what=None):
        return {"left": x[:, :2], "right": x[:, 2:]}


class Both(keras.layers.Layer):
    def call(self, a, b):
        return [a + b, a - b]


class Noisy(keras.layers.Layer):
    def call(self, x, training=None):
        return 2.0 * x if training else x


def test_what_it_gives_has_names():
    assert list(Head(Projector((5,)), "image_features", "image_projected")(X)) == ["image_projected"]
    given = Head(Both(), ["a", "b"], ("sum", "difference"))(X, 2 * X)
    assert list(given) == ["sum", "difference"]
    np.testing.assert_allclose(numpy(given["difference"]), -X, rtol=1e-6)


def test_a_dict_is_named_by_its_keys_whatever_their_order():
    given = Head(Halves(), "*_features", ("*_right", "*_left"))(X)
    np.testing.assert_array_equal(numpy(given["*_right"]), X[:, 2:])
    np.testing.assert_array_equal(numpy(given["*_left"]), X[:, :2])
    with pytest.raises(ValueError, match=r"head 'top' gives top, bottom, but its layer returns left, right"):
        Head(Halves(), "x", ("top", "bottom"))(X)


def test_training_goes_to_layers_that_take_it():
    np.testing.assert_allclose(numpy(Head(Noisy(), "x", "y")(X, training=True)["y"]), 2 * X)
    np.testing.assert_allclose(numpy(Head(Noisy(), "x", "y")(X, training=False)["y"]), X)
    Head(keras.layers.Dense(2), "x", "y")(X, training=True)


def test_slots():
    head = Head(Projector((5,)), "*_features", "*_projected")
    assert head.runs_per_slot and head.name == "projected"
    assert head.names_for("negative_text") == (("negative_text_features",), ("negative_text_projected",))
    assert not Head(Both(), ("a", "b"), ("c", "d")).runs_per_slot


def test_built_from_the_shapes_of_what_it_reads():
    for layer in (Projector((6, 5)), keras.Sequential([keras.layers.Dense(5)]), keras.layers.Dense(5)):
        head = Head(layer, "x", "y")
        head.build([(None, 4)])
        before = [weight.path for weight in head.weights]
        assert before and head.compute_output_shape([(None, 4)]) == {"y": (None, 5)}
        assert head(X)["y"].shape == (3, 5) and [weight.path for weight in head.weights] == before
    both = Head(Both(), ("a", "b"), ("c", "d"))
    both.build([(None, 4), (None, 4)])
    assert both.compute_output_shape([(None, 4), (None, 4)]) == {"c": (None, 4), "d": (None, 4)}
    with pytest.raises(ValueError, match="head 'c' reads 2 tensors, but got 1 shapes"):
        Head(Both(), ("a", "b"), ("c", "d")).build([(None, 4)])


def test_half_precision_is_left_to_the_layer():
    half = keras.ops.cast(keras.ops.convert_to_tensor(X), "bfloat16")

    class Same(keras.layers.Layer):
        def __init__(self):
            super().__init__(autocast=False)

        def call(self, x):
            return x

    given = Head(Same(), "x", "y")(half)["y"]
    assert keras.backend.standardize_dtype(given.dtype) == "bfloat16"


def test_a_copy_has_a_layer_of_its_own_and_the_weights_are_saved(tmp_path):
    head = Head(Projector((6, 5)), "*_features", "*_projected")
    head.build([(None, 4)])
    copy = Head.from_config(head.get_config())
    copy.build_from_config(head.get_build_config())
    assert copy.layer is not head.layer
    assert (copy.reads, copy.gives, copy.name) == (head.reads, head.gives, head.name)
    copy.set_weights(head.get_weights())
    np.testing.assert_array_equal(numpy(copy(X)["*_projected"]), numpy(head(X)["*_projected"]))

    image = keras.Input((4,))
    model = keras.Model(image, head(image))
    model.save(tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(opened(X)["*_projected"]), numpy(model(X)["*_projected"]), rtol=1e-6)


@pytest.mark.parametrize(
    ("reads", "gives", "sentence"),
    [
        ((), "y", "a head's reads are empty"),
        ("x", "", "gives is ''; give the name of a tensor"),
        (("x", "x"), "y", "a head's reads name 'x' twice"),
        ("x", ("y", "y"), "a head's gives name 'y' twice"),
        ("*_*", "*_y", r"'\*_\*' has more than one '\*'"),
        ("x", "*_y", "a head's gives have a '\\*', which stands for each slot, but its reads have none"),
        ("*_x", "y", "a head's reads have a '\\*', which stands for each slot, but its gives have none"),
        ("*_x", ("*_y", "z"), r"would give 'z' once for each slot; write '\*_z'"),
        (("x", "y", "z"), "s", "the head reads 3 tensors, x, y, z, but Both takes 2"),
        (("x", "y"), "s", "head 's' gives 1 tensors, s, but its layer returns 2"),
    ],
)
def test_names_that_cannot_be(reads, gives, sentence):
    with pytest.raises(ValueError, match=sentence):
        Head(Both(), reads, gives)(X, X)
