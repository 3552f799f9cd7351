"""Files of checkpoints: shards, half precision, prefixes, and everything that is refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.weights import TensorFiles

IDS = np.array([[510, 7, 8, 511] + [0] * 12])


@pytest.fixture
def folder(tmp_path):
    """A CLIP checkpoint of transformers, to be spoilt."""
    target = tmp_path / "hf_clip_tiny"
    shutil.copytree(TESTS / "fixtures" / "hf_clip_tiny", target)
    return target


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def embed(folder):
    return numpy(kzoo.from_preset(folder)({"token_ids": IDS})["text_embeddings"])


def test_shards_are_joined(folder):
    expected = embed(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:40], "model-00002-of-00002.safetensors": names[40:]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    assert np.array_equal(embed(folder), expected)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model-00002-of-00002.safetensors, which .*index.json"):
        kzoo.from_preset(folder)


def test_an_index_cannot_reach_out_of_its_folder(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {"logit_scale": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"names ../elsewhere.safetensors, which is not a file beside it"):
        kzoo.from_preset(folder)


def test_half_precision_is_read_as_float32(folder):
    import ml_dtypes

    expected = embed(folder)
    tensors = load_file(folder / "model.safetensors")
    for dtype, tolerance in ((np.float16, 2e-3), (ml_dtypes.bfloat16, 2e-2)):
        save_file({name: tensor.astype(dtype) for name, tensor in tensors.items()}, folder / "model.safetensors")
        stored = TensorFiles(folder, "model").read("logit_scale")
        assert stored.dtype == np.float32
        np.testing.assert_allclose(embed(folder), expected, atol=tolerance)


def test_the_prefix_of_data_parallel_training_is_dropped(folder):
    expected = embed(folder)

    def prefix(tensors):
        for name in list(tensors):
            tensors[f"module.{name}"] = tensors.pop(name)

    rewrite(folder, prefix)
    assert np.array_equal(embed(folder), expected)


def test_all_problems_come_in_one_report(folder):
    def spoil(tensors):
        del tensors["text_projection.weight"]
        tensors["visual_projection.weight"] = tensors["visual_projection.weight"][:, :-1].copy()
        tensors["text_model.extra"] = np.zeros(3, "float32")

    rewrite(folder, spoil)
    with pytest.raises(ValueError) as caught:
        kzoo.from_preset(folder)
    report = str(caught.value)
    assert "1 missing: text_projection.weight" in report
    assert (
        "1 of another shape: visual_projection.weight is (24, 47), which makes [(47, 24)] and not [(48, 24)]" in report
    )
    assert "1 left over: text_model.extra" in report


def test_a_truncated_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors cannot be read as safetensors, is it whole"):
        kzoo.from_preset(folder)


def test_pickles_are_never_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="it holds pytorch_model.bin, which can run code when opened"):
        kzoo.from_preset(folder)


def test_no_weights_at_all(folder, caplog):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors: download the weights into it, or build"):
        kzoo.from_preset(folder)
    assert kzoo.from_preset(folder, load_weights=False).count_params() == 84161
    assert "random weights" in caplog.text


def test_a_model_of_another_family_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "align"}))
    with pytest.raises(ValueError, match="model_type 'align'; this version reads clip, siglip, and CLIP of open_clip"):
        kzoo.from_preset(folder)


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        ("vision_config", {"hidden_act": "swish"}, "vision_config says hidden_act='swish'; this version knows"),
        ("vision_config", "none", 'vision_config holds "none", but an object is expected'),
    ],
)
def test_a_config_that_is_not_understood(folder, part, change, sentence):
    config = json.loads((folder / "config.json").read_text())
    config[part] = config[part] | change if isinstance(change, dict) else change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(folder)


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        ("vision_cfg", {"layers": [1, 2, 1, 1]}, "describes a ResNet"),
        ("vision_cfg", {"timm_model_name": "vit_base"}, "says timm_model_name='vit_base', which this version cannot"),
        ("vision_cfg", {"attentional_pool": True}, "says attentional_pool=True"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "says hf_model_name='roberta-base'"),
        ("vision_cfg", {"pool_type": "avg", "final_ln_after_pool": False}, "says final_ln_after_pool=False"),
    ],
)
def test_an_open_clip_config_that_cannot_be_built(tmp_path, part, change, sentence):
    folder = tmp_path / "oc"
    shutil.copytree(TESTS / "fixtures" / "oc_clip_vit_tiny", folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"][part] |= change
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(folder)


def test_image_steps_come_from_the_checkpoint(folder):
    assert kzoo.from_preset(folder).preprocessor.images.resize == "shortest"
    steps = {"size": {"height": 32, "width": 32}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))
    model = kzoo.from_preset(folder)
    assert (model.preprocessor.images.resize, model.preprocessor.images.interpolation) == ("squash", "bilinear")
    assert model.image_encoder.mean == (0.5, 0.5, 0.5) and model.image_encoder.std == (0.25, 0.25, 0.25)
    clipa = kzoo.from_preset(TESTS / "fixtures" / "oc_clipa_tiny")
    assert (clipa.preprocessor.images.resize, clipa.preprocessor.images.interpolation) == ("squash", "bilinear")
    assert clipa.image_encoder.mean == (0.485, 0.456, 0.406)


def test_a_missing_vocabulary_is_said_when_a_text_comes(folder):
    model = kzoo.from_preset(folder)
    with pytest.raises(ValueError, match="the vocabulary of this model comes with .*hf_clip_tiny and is not here"):
        model.encode_text(["a cat"])


def test_a_checkpoint_becomes_a_preset_of_kzoo(folder, tmp_path):
    model = kzoo.from_preset(folder)
    model.save_to_preset(tmp_path / "mine")
    again = kzoo.from_preset(tmp_path / "mine")
    assert np.array_equal(numpy(again({"token_ids": IDS})["text_embeddings"]), embed(folder))
