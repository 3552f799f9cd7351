"""Layers, models, modules of torch and backbones as towers: what is found out, what is asked, what comes back."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

from kzoo.encoders import Input, LayerTower, TextTransformer, as_tower

random = np.random.default_rng(0)


@keras.saving.register_keras_serializable(package="test")
class Words(keras.layers.Layer):
    """A text layer of a user, with tokens."""

    def __init__(self, vocab_size=9, embed_dim=3, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.width = vocab_size, embed_dim
        self.table = keras.layers.Embedding(vocab_size, embed_dim)

    def build(self, token_ids_shape, padding_mask_shape=None):
        self.table.build(token_ids_shape)

    def call(self, token_ids, padding_mask=None, training=None):
        tokens = self.table(token_ids)
        mask = ops.ones_like(token_ids) if padding_mask is None else padding_mask
        return {
            "embedding": ops.sum(tokens * ops.expand_dims(ops.cast(mask, tokens.dtype), -1), axis=1),
            "tokens": tokens,
        }

    def get_config(self):
        return super().get_config() | {"vocab_size": self.vocab_size, "embed_dim": self.width}


def dense(width=6, side=4):
    return keras.Sequential([keras.Input((side,)), keras.layers.Dense(width)])


def convolutional():
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([*layers, keras.layers.Dropout(0.5)])


def built(layer, *shapes):
    layer.build(*shapes)
    return layer


def of_two(names):
    x, y = keras.Input((4,), name="sound"), keras.Input((None, 5), name="motion")
    both = keras.layers.Concatenate()([x, keras.layers.GlobalAveragePooling1D()(y)])
    return keras.Model({"sound": x, "motion": y} if names else [x, y], {"embedding": both, "tokens": y})


@pytest.mark.parametrize(
    "layer, modality, options, inputs, widths",
    [
        (dense, "audio", {}, [Input("audio", (4,), "float32")], (6, None)),
        (dense, None, {}, [Input("features", (4,), "float32")], (6, None)),
        (convolutional, None, {}, [Input("images", (8, 8, 3), "float32")], (4, None)),
        (convolutional, "video", {}, [Input("video", (8, 8, 3), "float32")], (4, None)),
        (lambda: built(keras.layers.Dense(3), (None, 4)), "audio", {}, [Input("audio", (4,), "float32")], (3, None)),
        (
            lambda: keras.layers.Dense(3),
            None,
            {"inputs": [Input("signal", (5,), "float32")]},
            [Input("signal", (5,), "float32")],
            (3, None),
        ),
        (
            lambda: built(Words(), (None, 7)),
            "text",
            {},
            [Input("token_ids", (None,), "int32"), Input("padding_mask", (None,), "bool", True)],
            (3, 3),
        ),
        (
            lambda: of_two(True),
            "scene",
            {},
            [Input("sound", (4,), "float32"), Input("motion", (None, 5), "float32")],
            (9, 5),
        ),
        (
            lambda: of_two(False),
            "scene",
            {},
            [Input("sound", (4,), "float32"), Input("motion", (None, 5), "float32")],
            (9, 5),
        ),
    ],
)
def test_a_layer_declares_what_it_takes_and_gives(layer, modality, options, inputs, widths):
    layer = layer()
    tower = as_tower(layer, modality, **options)
    assert isinstance(tower, LayerTower) and sorted(tower.inputs, key=str) == sorted(inputs, key=str)
    assert (tower.embed_dim, tower.token_dim) == widths
    assert [id(weight) for weight in tower.weights] == [id(weight) for weight in layer.weights]
    arrays = tower.samples(3)
    tower.check(arrays)
    outputs = tower(*arrays.values(), training=False)
    assert outputs["embedding"].shape == (3, widths[0]) and ("tokens" in outputs) == (widths[1] is not None)
    again = LayerTower.from_config(tower.get_config())
    assert again.inputs == tower.inputs and again.get_config() == tower.get_config()
    again.set_weights(tower.get_weights())
    assert not {id(weight) for weight in again.weights} & {id(weight) for weight in tower.weights}
    np.testing.assert_allclose(
        numpy(again(*arrays.values(), training=False)["embedding"]), numpy(outputs["embedding"]), atol=1e-6
    )


def test_what_comes_out_is_what_the_layer_gives():
    layer, x = dense(), random.normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(numpy(as_tower(layer, "audio")(x)["embedding"]), numpy(layer(x)))
    pictures = as_tower(convolutional())
    assert pictures.image_size == (8, 8) and pictures.modality == "image"
    images = pictures.samples(2)["images"]
    assert images.max() > 200.0
    quiet = numpy(pictures(images)["embedding"])
    assert (numpy(pictures(images, training=True)["embedding"]) != quiet).any()  # the dropout hears of it


def test_an_optional_mask_of_a_text_layer_is_read_and_ids_are_checked():
    tower = as_tower(built(Words(), (None, 7)), "text")
    arrays = tower.samples(4)
    whole, masked = tower(*arrays.values()), tower(arrays["token_ids"])
    assert not np.allclose(numpy(whole["embedding"]), numpy(masked["embedding"]))
    with pytest.raises(ValueError, match="other range from 0 to 9, but .* the ids 0 to 8"):
        tower.check({"token_ids": np.full((2, 3), 9)}, {"token_ids": "other"})


def test_whether_it_is_trained_is_said_of_the_layer():
    layer = dense()
    tower = as_tower(layer)
    assert tower.trainable and len(tower.trainable_weights) == 2
    layer.trainable = False
    assert not tower.trainable and tower.trainable_weights == []
    tower.trainable = True
    assert layer.trainable and len(tower.trainable_weights) == 2
    layer.trainable = False
    again = LayerTower.from_config(tower.get_config())
    assert not again.trainable and not again.layer.trainable


def test_a_tower_is_given_back():
    tower = TextTransformer(9, 4, 8, 1, 2, eot_id=2)
    assert as_tower(tower, "text") is tower
    with pytest.raises(
        ValueError, match="the encoder is a TextTransformer, .* declares all itself; leave out embed_dim"
    ):
        as_tower(tower, called="the encoder", embed_dim=8)


def test_a_backbone_of_keras_hub():
    import keras_hub

    backbone = keras_hub.models.ViTBackbone((16, 24, 3), 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    tower = as_tower(backbone, embed_dim=6, mean=0.5, std=0.5)
    assert (tower.kind, tower.embed_dim, tower.image_size) == ("keras_hub", 6, (16, 24))
    with pytest.raises(ValueError, match="ViTBackbone needs mean and std"):
        as_tower(backbone)


def test_a_module_of_torch_on_its_own_backend():
    import torch

    module = torch.nn.Linear(4, 3)
    if keras.config.backend() != "torch":
        with pytest.raises(
            TypeError, match="the layer is of type Linear, but a tower of kzoo, a layer or model of Keras"
        ):
            as_tower(module, embed_dim=3)
        return
    x = random.normal(size=(5, 4)).astype("float32")
    for layer in (module, keras.layers.TorchModuleWrapper(module, output_shape=(None, 3))):
        tower = as_tower(layer, "audio", embed_dim=3)
        tower.check({"audio": x})
        np.testing.assert_allclose(numpy(tower(x)["embedding"]), numpy(module(torch.tensor(x))), atol=1e-6)
        assert len(tower.trainable_weights) == 2
        with pytest.raises(
            ValueError, match=r"the shape of audio, which TorchModuleWrapper reads, is not known; name it"
        ):
            tower.samples(2)
    known = as_tower(module, inputs=[Input("audio", (4,), "float32")], embed_dim=3)
    assert known.samples(2)["audio"].shape == (2, 4)
    assert as_tower(keras.layers.TorchModuleWrapper(module, output_shape=(None, 3))).embed_dim == 3


def test_bad_arguments():
    class Renamed(keras.layers.Layer):
        def call(self, x):
            return {"vector": x}

    renamed = as_tower(built(Renamed(), (None, 4)), embed_dim=4)
    for make, error, sentence in (
        (
            lambda: as_tower(len),
            TypeError,
            "the layer is of type builtin_function_or_method, but a tower of kzoo, a layer",
        ),
        (
            lambda: as_tower(keras.layers.Dense(3), called="b"),
            ValueError,
            r"what b \(Dense\) gives .* no weights yet; build",
        ),
        (
            lambda: as_tower(keras.Sequential([keras.layers.Dense(3)])),
            ValueError,
            r"the layer \(Sequential\) gives .* inputs=",
        ),
        (
            lambda: as_tower(keras.Sequential([keras.Input((4, 4)), keras.layers.Dense(3)])),
            ValueError,
            r"gives \(None, 4, 3\), but an output \(batch, width\) .*, keras.layers.GlobalAveragePooling1D\(\)\]",
        ),
        (lambda: as_tower(dense(), width=3), TypeError, "width"),
        (lambda: as_tower(dense(), "audio").check({}), ValueError, r"there is no 'audio', which LayerTower reads"),
        (
            lambda: as_tower(dense(), "audio").check({"audio": np.zeros((2, 3))}),
            ValueError,
            r"audio have shape \(2, 3\), but this model takes \(batch, 4\) there",
        ),
        (lambda: renamed(np.zeros((2, 4))), ValueError, "Renamed gives vector, but a tower gives"),
    ):
        with pytest.raises(error, match=sentence):
            make()


def test_a_file_opens_again(tmp_path):
    tower, x = as_tower(dense(), "audio"), random.normal(size=(5, 4)).astype("float32")
    inputs = keras.Input((4,))
    keras.Model(inputs, tower(inputs)["embedding"]).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(again(x)), numpy(tower(x)["embedding"]))
