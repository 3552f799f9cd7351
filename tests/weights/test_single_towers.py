"""Folders of transformers with one tower: the numbers of the library's own class."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.encoders import class_head_from_checkpoint, from_checkpoint
from kzoo.preprocessing import ImageSteps, Preprocessor

CLOSE = {"rtol": 0, "atol": 2e-5}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 72}
VISION = SIZES | {"image_size": 24, "patch_size": 6}
TEXT = SIZES | {"vocab_size": 120, "max_position_embeddings": 11}
NAFLEX = {**SIZES, "patch_size": 6, "num_patches": 16}
CLASSES = {
    "CLIPVisionModel": lambda: hf.CLIPVisionConfig(**VISION, projection_dim=20, hidden_act="gelu"),
    "CLIPVisionModelWithProjection": lambda: hf.CLIPVisionConfig(**VISION, projection_dim=20),
    "CLIPTextModel": lambda: hf.CLIPTextConfig(**TEXT, eos_token_id=118),
    "CLIPTextModelWithProjection": lambda: hf.CLIPTextConfig(**TEXT, projection_dim=20, eos_token_id=2),
    "MetaClip2TextModelWithProjection": lambda: hf.MetaClip2TextConfig(**TEXT, projection_dim=20, eos_token_id=118),
    "SiglipVisionModel": lambda: hf.SiglipVisionConfig(**VISION),
    "SiglipTextModel": lambda: hf.SiglipTextConfig(**TEXT, projection_size=24),
}
HEADS = {
    "CLIPForImageClassification": lambda: hf.CLIPConfig(vision_config=VISION, text_config=TEXT, num_labels=5),
    "SiglipForImageClassification": lambda: hf.SiglipConfig(vision_config=VISION, text_config=TEXT, num_labels=5),
}


def saved(name, config, folder):
    """A random model of a class of transformers, every tensor of it; and where it was saved."""
    torch.manual_seed(0)
    model = getattr(hf, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    ids = generator.integers(3, 118, (4, 11)).astype("int32")
    ids[:, 7], ids[:, 9] = 118, 119
    return {"images": generator.integers(0, 256, (4, 24, 24, 3)).astype("uint8"), "token_ids": ids}


def theirs(model, tower, batch):
    with torch.no_grad():
        if tower.modality == "text":
            return model(input_ids=torch.tensor(batch["token_ids"].astype("int64")))
        mean, std = (255 * np.array(each, "float32") for each in (tower.mean, tower.std))
        pixels = (batch["images"].astype("float32") - mean) / std
        return model(pixel_values=torch.tensor(pixels.transpose(0, 3, 1, 2).copy()))


def ours(tower, batch):
    return {
        key: numpy(value) for key, value in tower(batch["token_ids" if tower.modality == "text" else "images"]).items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_the_numbers_of_the_class(name, batch, tmp_path):
    model = saved(name, CLASSES[name](), tmp_path)
    tower = from_checkpoint(tmp_path)
    expected, got = theirs(model, tower, batch), ours(tower, batch)
    kind = "image" if "Vision" in name else "text"
    embedding = getattr(expected, f"{kind}_embeds", None)
    embedding = expected.pooler_output if embedding is None else embedding
    np.testing.assert_allclose(got["embedding"], embedding.numpy(), **CLOSE)
    np.testing.assert_allclose(got["tokens"], expected.last_hidden_state.numpy(), **CLOSE)
    with pytest.raises(ValueError, match=rf"holds a {name}, one tower .*kzoo.encoders.from_checkpoint\('"):
        kzoo.from_preset(tmp_path)
    with pytest.raises(
        ValueError, match=f"holds a {name}, which has no {'text' if kind == 'image' else 'image'} tower"
    ):
        from_checkpoint(tmp_path, tower="text" if kind == "image" else "image")


@pytest.mark.parametrize("name", HEADS)
def test_a_classifier_is_its_tower_and_its_head(name, batch, tmp_path):
    config = HEADS[name]()
    config.id2label = {number: f"kind {number}" for number in range(5)}
    model = saved(name, config, tmp_path)
    tower, head = from_checkpoint(tmp_path), class_head_from_checkpoint(tmp_path)
    tokens = ours(tower, batch)["tokens"][:, tower.prefix_tokens :]
    np.testing.assert_allclose(
        tokens.mean(axis=1) @ head.kernel + head.bias, theirs(model, tower, batch).logits.numpy(), **CLOSE
    )
    assert head.labels == [f"kind {number}" for number in range(5)]
    with pytest.raises(ValueError, match=f"holds a {name}, one tower and no whole model"):
        kzoo.from_preset(tmp_path)


def test_names_of_older_versions(batch, tmp_path):
    saved("CLIPVisionModel", CLASSES["CLIPVisionModel"](), tmp_path)
    expected = ours(from_checkpoint(tmp_path), batch)["embedding"]
    tensors = load_file(tmp_path / "model.safetensors")
    old = {f"vision_model.{name}": array for name, array in tensors.items()}
    old["vision_model.embeddings.position_ids"] = np.arange(17)[None]
    save_file(old, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"architectures": None, "num_beams": 1, "bad_words_ids": None, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(ours(from_checkpoint(tmp_path), batch)["embedding"], expected)
    (tmp_path / "config.json").write_text(json.dumps(config | {"rotary": True}))
    with pytest.raises(ValueError, match="config.json says rotary=True"):
        from_checkpoint(tmp_path)


def test_a_naflex_tower(tmp_path):
    model = saved("Siglip2VisionModel", hf.Siglip2VisionConfig(**NAFLEX), tmp_path)
    tower = from_checkpoint(tmp_path)
    arrays = tower.samples(2, 0)
    with torch.no_grad():
        mean, std = (np.tile(255 * np.array(each), 36) for each in (tower.mean, tower.std))
        grid = numpy(arrays["image_grid"]).astype("int64")
        mask = np.arange(arrays["images"].shape[1]) < grid.prod(axis=1)[:, None]
        pixels = torch.tensor(((numpy(arrays["images"]) - mean) / std).astype("float32"))
        expected = model(pixels, torch.tensor(mask.astype("int64")), torch.tensor(grid)).pooler_output
    np.testing.assert_allclose(
        numpy(tower(arrays["images"], image_grid=arrays["image_grid"])["embedding"]), expected.numpy(), **CLOSE
    )


def test_sizes_and_dtypes(tmp_path, caplog):
    saved("CLIPVisionModelWithProjection", CLASSES["CLIPVisionModelWithProjection"](), tmp_path)
    tower = from_checkpoint(tmp_path, image_size=(30, 18), dtype="mixed_bfloat16")
    assert (tower.image_size, tower.embed_dim, tower.compute_dtype) == ((30, 18), 20, "bfloat16")
    from_checkpoint(tmp_path, load_weights=False)
    assert "was built with random weights" in caplog.text
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        from_checkpoint(tmp_path)
    assert from_checkpoint(tmp_path, load_weights=False).embed_dim == 20


def test_it_goes_into_a_model(batch, tmp_path):
    saved("CLIPVisionModel", CLASSES["CLIPVisionModel"](), tmp_path / "image")
    saved("SiglipTextModel", hf.SiglipTextConfig(**TEXT, projection_size=32), tmp_path / "text")
    model = kzoo.DualEncoder(from_checkpoint(tmp_path / "image"), from_checkpoint(tmp_path / "text"))
    model.preprocessor = Preprocessor(ImageSteps(24))
    before = numpy(model(batch)["text_embeddings"])
    model.save_to_preset(tmp_path / "both")
    np.testing.assert_allclose(numpy(kzoo.from_preset(tmp_path / "both")(batch)["text_embeddings"]), before, atol=1e-6)


def test_a_tower_of_a_whole_model():
    folder = TESTS / "fixtures" / "hf_clip_tiny"
    tower, whole = from_checkpoint(folder, tower="text"), kzoo.from_preset(folder)
    for weight, expected in zip(tower.weights, whole.text_encoder.weights, strict=True):
        np.testing.assert_array_equal(numpy(weight), numpy(expected))
    with pytest.raises(ValueError, match="has the towers image and text; say which, such as tower='image'"):
        from_checkpoint(folder)
    with pytest.raises(ValueError, match="holds no class of transformers, but one of CLIPForImageClassification"):
        class_head_from_checkpoint(folder)
