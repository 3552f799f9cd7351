"""Models written as other libraries store them, and read back."""

import json

import numpy as np
import pytest
from parity import FIXTURES
from safetensors.numpy import load_file
from shared_case import TESTS, numpy, tiny_model, toy_pairs

import kzoo

NAMES = sorted(path.name for path in FIXTURES.iterdir() if not path.name.startswith("bv_"))
FILES = {"transformers": "model.safetensors", "open_clip": "open_clip_model.safetensors"}
DROPPED = ("position_ids", "num_batches_tracked", "pooler.dense.weight", "pooler.dense.bias")  # carry no parameter


def equal_weights(model, other):
    return all(np.array_equal(numpy(one), numpy(two)) for one, two in zip(model.weights, other.weights, strict=True))


def embeddings(model):
    height, width = model.image_encoder.image_size
    random = np.random.default_rng(0)
    ids = np.full((2, model.text_encoder.context_length), 3)
    ids[:, 5] = model.text_encoder.eot_id if model.text_encoder.pool == "end_of_text" else 4
    outputs = model({"images": random.integers(0, 256, (2, height, width, 3), "uint8"), "token_ids": ids})
    return [numpy(value) for value in outputs.values()]


@pytest.mark.parametrize("name", NAMES)
def test_the_round_trip_gives_equal_bytes(name, tmp_path):
    format = "transformers" if name.startswith("hf_") else "open_clip"
    model = kzoo.from_preset(FIXTURES / name)
    model.save_to_preset(tmp_path / "theirs", format=format)
    original, written = (load_file(folder / FILES[format]) for folder in (FIXTURES / name, tmp_path / "theirs"))
    assert written.keys() == {key for key in original if not key.endswith(DROPPED)}
    for key, tensor in written.items():
        stored = original[key].astype("float32")  # one of the files is in half precision
        assert tensor.shape == stored.shape and tensor.tobytes() == stored.tobytes(), key
    assert equal_weights(kzoo.from_preset(tmp_path / "theirs"), model)
    model.save_to_preset(tmp_path / "ours")
    again = kzoo.from_preset(tmp_path / "ours")
    assert type(again) is type(model) and equal_weights(again, model)
    assert again.get_config()["loss"] == model.get_config()["loss"]
    for part, tower in model.towers().items():
        assert json.dumps(again.towers()[part].get_config()) == json.dumps(tower.get_config()), part


def test_big_vision_is_read_and_not_written(tmp_path):
    model = kzoo.from_preset(FIXTURES / "bv_siglip_plain")
    with pytest.raises(ValueError, match="format 'big_vision' is unknown; choose one of kzoo, transformers, open_clip"):
        model.save_to_preset(tmp_path / "out", format="big_vision")
    model.save_to_preset(tmp_path / "out", format="transformers")
    assert equal_weights(kzoo.from_preset(tmp_path / "out"), model)


@pytest.mark.parametrize("name, format", [("oc_clip_vit_tiny", "transformers"), ("hf_clip_eos_gelu", "open_clip")])
def test_from_one_library_to_the_other(name, format, tmp_path):
    model = kzoo.from_preset(TESTS / "fixtures" / name)
    model.save_to_preset(tmp_path, format=format)
    for got, expected in zip(embeddings(kzoo.from_preset(tmp_path)), embeddings(model)):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_image_steps_and_vocabulary_go_along(tmp_path):
    model = tiny_model(activation="quick_gelu")
    model.preprocessor.images.resize = "squash"
    model.save_to_preset(tmp_path, format="open_clip")
    again = kzoo.from_preset(tmp_path)
    kept = model.preprocessor.images.get_config() | {"decoding": "as_trained"}  # what that library makes of pictures
    assert again.preprocessor.images.get_config() == kept
    pairs = toy_pairs(3)
    np.testing.assert_array_equal(
        again.preprocessor(texts=pairs["captions"])["token_ids"],
        model.preprocessor(texts=pairs["captions"])["token_ids"],
    )
    assert np.array_equal(again.encode_text(pairs["captions"]), model.encode_text(pairs["captions"]))


@pytest.mark.parametrize(
    "options, format, sentence",
    [
        ({"layer_scale": 0.1}, "transformers", r"clip has no image_encoder with layer_scale=0.1, only None"),
        ({"image_size": (16, 24)}, "transformers", r"square images only, but this model takes 16 x 24 pixels"),
        ({"dropout": 0.1}, "open_clip", r"open_clip has no image_encoder with dropout=0.1, only 0.0"),
        (
            {"mask_token": True},
            "open_clip",
            r"open_clip has no image_encoder with mask_token=True, only False",
        ),
        ({}, "transformers", r"clip has no text_encoder with eot_id=2, only 319"),
        ({}, "timm", r"format 'timm' is unknown; choose one of kzoo, transformers, open_clip"),
    ],
)
def test_what_a_format_cannot_say_is_refused(options, format, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        tiny_model(**options).save_to_preset(tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_transformers_knows_what_the_file_is(tmp_path):
    kzoo.from_preset(TESTS / "fixtures" / "hf_siglip_tiny").save_to_preset(tmp_path, format="transformers")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "siglip" and config["vision_config"]["hidden_act"] == "gelu_pytorch_tanh"
