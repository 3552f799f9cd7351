"""from_preset and save_to_preset: names, folders, options, folders that do not fit."""

import json
import logging

import keras
import numpy as np
import pytest
from shared_case import numpy, tiny_model, toy_pairs

import kzoo
from kzoo.presets.table import read_row

TEXTS = ["a red circle", "a blue square"]


@pytest.fixture
def folder(tmp_path, model):
    model.save_to_preset(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_folder_opens_as_the_same_model(folder, model):
    again = kzoo.from_preset(folder)
    assert np.array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
    images = toy_pairs(3)["images"]
    assert np.array_equal(again.encode_image(images), model.encode_image(images))
    assert again.loss_spec == model.loss_spec and again.name == model.name
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]


def test_a_saved_model_can_be_saved_again_after_training(folder, tmp_path):
    model = kzoo.from_preset(str(folder))
    model.compile("clip_adamw")
    pairs = toy_pairs(8)
    model.fit(kzoo.data.pairs(pairs, model.preprocessor, batch_size=8), verbose=0)
    model.save_to_preset(tmp_path / "again")
    assert np.array_equal(kzoo.from_preset(tmp_path / "again").encode_text(TEXTS), model.encode_text(TEXTS))


def test_without_weights_the_architecture_is_random_and_says_so(folder, caplog, model):
    with caplog.at_level(logging.WARNING, "kzoo"):
        fresh = kzoo.from_preset(folder, load_weights=False, image_size=(16, 32), dtype="mixed_bfloat16")
    assert [record.message for record in caplog.records] == [
        f"{folder} was built with random weights (load_weights=False)."
    ]
    assert fresh.image_encoder.image_size == (16, 32) and fresh.encode_image(toy_pairs(1)["images"]).shape == (1, 12)
    assert fresh.text_encoder.compute_dtype == "bfloat16"
    assert not np.array_equal(fresh.encode_text(TEXTS), model.encode_text(TEXTS))


def test_a_named_preset_without_weights_needs_no_network():
    model = kzoo.from_preset("clip_nano", load_weights=False, image_size=(16, 24))
    assert model.image_encoder.image_size == model.preprocessor.images.image_size == (16, 24)
    assert model.preprocessor.tokenizer is None
    model.preprocessor.adapt(toy_pairs(4)["captions"])
    assert model.encode_text(TEXTS).shape == (2, model.embed_dim)


@pytest.mark.parametrize("name", ["clip_nano_eos", "altclip_nano", "coca_nano"])
def test_an_untrained_preset_learns_a_vocabulary_of_its_own(name, monkeypatch):
    row = read_row(name) | {
        "tokenizer": {"kind": "clip_bpe", "clean": "openai", "pad_id": 1, "start_id": 5, "eot_id": 7}
    }
    row["text_encoder"] |= {
        key: 1 if key == "pad_id" else 7 for key in ("pad_id", "eot_id") if key in row["text_encoder"]
    }
    monkeypatch.setattr("kzoo.presets.loader.read_row", lambda _: row)
    model = kzoo.from_preset(name, load_weights=False, vocab_size=300)
    model.preprocessor.adapt(toy_pairs(8)["captions"])
    assert model.text_encoder.get_config()["vocab_size"] == 300 >= model.preprocessor.tokenizer.vocab_size
    assert model.encode_text(TEXTS).shape == (2, model.embed_dim)
    assert not np.array_equal(*model.encode_text(TEXTS))


@pytest.mark.once
def test_weights_keep_their_vocabulary(folder):
    for name, load_weights in (("clip_base", True), (folder, False)):
        with pytest.raises(ValueError, match="vocab_size is 300, which .* cannot have: weights go with the vocabulary"):
            kzoo.from_preset(name, load_weights=load_weights, vocab_size=300)


def test_named_weights_are_asked_for_with_both_ways_on():
    with pytest.raises(FileNotFoundError) as caught:
        kzoo.from_preset("clip_base")
    sentence = str(caught.value)
    for part in (
        "clip_base has its weights in timm/vit_base_patch32_clip_224.openai",
        "neither in the hub's cache nor could it be downloaded",
        "Open a local folder",
        "load_weights=False",
    ):
        assert part in sentence
    with pytest.raises(FileNotFoundError, match="clip_nano has no released weights; build it untrained"):
        kzoo.from_preset("clip_nano")


def test_folders_that_hold_something_else(tmp_path):
    with pytest.raises(ValueError, match="holds no model that kzoo has written"):
        kzoo.from_preset(tmp_path)
    (tmp_path / "config.json").write_text('{"layers": 2}')
    with pytest.raises(ValueError, match="holds no model that kzoo has written"):
        kzoo.from_preset(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        kzoo.from_preset(tmp_path)


def test_files_and_folders_that_another_function_opens(folder):
    with pytest.raises(ValueError, match="model.safetensors is a file, .*; give the folder that it lies in"):
        kzoo.from_preset(folder / "model.safetensors")
    (folder / "model.keras").write_bytes(b"")
    with pytest.raises(ValueError, match="model.keras is a file, .*; kzoo.load_model opens it"):
        kzoo.from_preset(folder / "model.keras")
    with pytest.raises(ValueError, match="is a folder, but a file .keras is expected; kzoo.from_preset opens folders"):
        kzoo.load_model(folder)


def test_incomplete_folders(folder):
    (folder / "tokenizer.json").rename(folder / "kept.json")
    with pytest.raises(ValueError, match=r"lacks tokenizer.json; the folder is incomplete"):
        kzoo.from_preset(folder)
    (folder / "kept.json").rename(folder / "tokenizer.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors is not there"):
        kzoo.from_preset(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["similarity"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="lacks similarity; the folder is incomplete"):
        kzoo.from_preset(folder)


def change_width(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_encoder"]["width"] = 32
    (folder / "config.json").write_text(json.dumps(config))


def test_weights_that_do_not_fit_the_config(folder):
    change_width(folder)
    with pytest.raises(ValueError, match="do not fit the model of config.json"):
        kzoo.from_preset(folder)


def test_opening_draws_no_number_and_leaves_none_to_be_drawn(folder, monkeypatch):
    def refused(seed):
        raise AssertionError("a number was drawn")

    monkeypatch.setattr(np.random, "default_rng", refused)
    kzoo.from_preset(folder)
    change_width(folder)
    with pytest.raises(ValueError, match="do not fit the model of config.json"):
        kzoo.from_preset(folder)
    with keras.StatelessScope():  # at whose end Keras gives values to what waits for them
        keras.ops.zeros(1)


def test_what_is_opened_in_a_scope_of_another_has_its_weights(folder, model):
    with keras.StatelessScope():
        again = kzoo.from_preset(folder)
    assert np.array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))


def traced(function):
    """Calls a function while the backend traces it; at once on torch, which traces none."""
    if keras.config.backend() == "jax":
        import jax

        jax.jit(lambda x: (function(), x)[1])(1.0)
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.function(lambda: (function(), tf.zeros(()))[1], autograph=False)()
    else:
        function()


def test_a_model_is_not_made_while_a_function_is_traced(folder):
    for make in (
        lambda: kzoo.from_preset(folder),
        lambda: kzoo.from_preset("clip_nano", load_weights=False),
        lambda: kzoo.encoders.from_checkpoint(folder, "image"),
    ):
        if keras.config.backend() == "torch":
            traced(make)
        else:
            with pytest.raises(RuntimeError, match=r"cannot be made within (tf\.function|jax\.jit).*make it before"):
                traced(make)


@keras.saving.register_keras_serializable("kzoo_tests")
class OfArrays(keras.layers.Layer):
    """Makes variables in the ways that there are."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kernel = self.add_weight(shape=(3, 4), initializer=keras.initializers.Constant(0.5))
        self.table = keras.Variable(np.arange(4, dtype="float32"), trainable=False)
        self.count = keras.Variable(7, trainable=False)
        self.assigned = self.add_weight(shape=(4,), initializer="zeros")
        self.assigned.assign(self.table * 2.0)
        self.built = True

    def call(self, x):
        return keras.ops.matmul(x, self.kernel) + self.table + self.assigned


def test_a_layer_of_somebody_else_may_make_variables_of_arrays(tmp_path):
    def tower(name):
        tower_inputs = [kzoo.encoders.Input(name, (3,), "float32")]
        return kzoo.encoders.as_tower(OfArrays(), name, inputs=tower_inputs, embed_dim=4)

    model = kzoo.MultiEncoder({"audio": tower("audio"), "gene": tower("gene")})
    model.save_to_preset(tmp_path / "as_made")
    model.towers()["gene_encoder"].layer.table.assign([4.0, 3.0, 2.0, 1.0])
    model.save_to_preset(tmp_path / "changed")
    for name in ("changed", "as_made"):
        again = kzoo.from_preset(tmp_path / name)
        wanted = [0.0, 1.0, 2.0, 3.0] if name == "as_made" else [4.0, 3.0, 2.0, 1.0]
        layer = again.towers()["gene_encoder"].layer
        assert numpy(layer.table).tolist() == wanted and numpy(layer.count) == 7 and layer.count.dtype == "int32"
        assert numpy(layer.assigned).tolist() == [0.0, 2.0, 4.0, 6.0]
        layer.table.assign(layer.table + 1.0)
    assert len(again.weights) == len(model.weights)


def test_a_quantised_folder(tmp_path):
    model = tiny_model()
    for block in model.image_encoder.blocks:
        block.mlp_up.quantize("int8")
    model.save_to_preset(tmp_path)
    images = toy_pairs(3)["images"]
    again = kzoo.from_preset(tmp_path)
    assert np.array_equal(again.encode_image(images), model.encode_image(images))
    if keras.config.backend() == "torch":  # which had kept the floats beside them
        held = {name: str(each.dtype) for name, each in again.image_encoder.named_parameters()}
        assert {held[name] for name in held if name.endswith("mlp_up/kernel")} == {"torch.int8"}
    larger = kzoo.from_preset(tmp_path, image_size=24)
    assert larger.image_encoder.blocks[0].mlp_up.quantization_mode == "int8"
    kernels = [each.image_encoder.blocks[1].mlp_up.kernel for each in (larger, model)]
    assert np.array_equal(*map(numpy, kernels)) and larger.encode_image(images).shape == (3, 12)


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="model.safetensors cannot be read as safetensors, is it whole"):
        kzoo.from_preset(folder)
    with pytest.raises(ValueError, match="model.safetensors cannot be read as safetensors, is it whole"):
        kzoo.from_preset(folder, verify=False)


def test_unknown_keys_of_a_config_are_named(folder):
    config = json.loads((folder / "config.json").read_text())
    config["image_encoder"]["register_tokens"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="VisionTransformer does not know the argument 'register_tokens'"):
        kzoo.from_preset(folder)
    config["image_encoder"] = {"kind": "squeezenet"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match="the image_encoder is of kind 'squeezenet'; this version knows bert_decoder, bert, .*, vit"
    ):
        kzoo.from_preset(folder)


def test_a_model_without_a_preprocessor_cannot_be_a_preset(tmp_path):
    model = tiny_model()
    model.preprocessor = None
    with pytest.raises(ValueError, match="the model has no preprocessor"):
        model.save_to_preset(tmp_path)
