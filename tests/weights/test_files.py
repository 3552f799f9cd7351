"""Files of checkpoints: shards, half precision, prefixes, and everything that is refused."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.weights import TensorFiles

pytestmark = pytest.mark.once
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
    with pytest.raises(ValueError, match=r"names ../elsewhere.safetensors, which is no safetensors file beside it"):
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
        tensors["module.logit_scale"] = tensors["logit_scale"]

    rewrite(folder, spoil)
    with pytest.raises(ValueError) as caught:
        kzoo.from_preset(folder)
    report = str(caught.value)
    assert "1 missing: text_projection.weight" in report
    assert "1 of another shape: visual_projection.weight is (24, 47), which does not make [(48, 24)]" in report
    assert "1 left over: text_model.extra" in report
    assert "1 twice there: logit_scale" in report


def test_a_tensor_of_the_right_size_in_another_shape(folder):
    def spoil(tensors):
        tensors["visual_projection.weight"] = tensors["visual_projection.weight"].T.copy()
        tensors["text_projection.weight"] = tensors["text_projection.weight"].reshape(-1)

    rewrite(folder, spoil)
    with pytest.raises(ValueError) as caught:
        kzoo.from_preset(folder)
    report = str(caught.value)
    assert "visual_projection.weight is (48, 24), which makes [(24, 48)] and not [(48, 24)]" in report
    assert "text_projection.weight is (768,), which makes [(768,)] and not [(32, 24)]" in report


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
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "flava"}))
    sentence = "model_type 'flava'; this version reads clip, metaclip_2, siglip, .*, blip, and models of open_clip"
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(folder)
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "blip", "architectures": ["BlipModel"]}))
    with pytest.raises(ValueError, match=r"says architectures=\['BlipModel'\]; this version reads BLIP as"):
        kzoo.from_preset(folder)


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        ("vision_config", {"hidden_act": "selu"}, "vision_config says hidden_act='selu'; this version knows"),
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
        ("vision_cfg", {"layers": [1, 2, 1, 1]}, "do not fit the model .* missing: visual.bn1.weight"),
        (
            "vision_cfg",
            {"timm_model_name": "vit_base"},
            "says timm_model_name='vit_base'; of timm's towers",
        ),
        ("vision_cfg", {"pos_embed_type": "rope"}, "says pos_embed_type='rope'; this version knows 'learnable', 'sin_"),
        ("vision_cfg", {"scale_heads": True}, "says scale_heads=True, which this version cannot build"),
        ("vision_cfg", {"attentional_pool": "other"}, "says attentional_pool='other'; this version knows True"),
        ("text_cfg", {"hf_model_name": "t5-base"}, "says hf_model_name='t5-base'; this version knows roberta-base"),
        ("text_cfg", {"pool_type": "first"}, "says pool_type='first'; this version knows 'argmax'"),
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


def test_a_link_out_of_the_folder_is_refused(folder):
    for name in ("model.safetensors", "config.json"):
        original = folder / name
        original.rename(folder.parent / name)
        original.symlink_to(folder.parent / name)
        with pytest.raises(ValueError, match=f"{name} is a link to .*, outside of the folder; nothing there is opened"):
            kzoo.from_preset(folder)
        original.unlink()
        (folder.parent / name).rename(original)
    (folder / "weights").mkdir()
    (folder / "model.safetensors").rename(folder / "weights" / "real.safetensors")
    (folder / "model.safetensors").symlink_to("weights/real.safetensors")
    assert kzoo.from_preset(folder).count_params() == 84161


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        # nothing of these sizes is ever allocated: names and shapes are compared first
        ("text_config", {"vocab_size": 10**12}, "vocab_size=1000000000000, but a whole number from 1 to 4,194,304 is"),
        (
            "text_config",
            {"vocab_size": 4 * 10**6, "eos_token_id": 511},
            r"token_embedding.weight is \(512, 32\), which does not make",
        ),
        ("vision_config", {"hidden_size": 3 * 10**7}, "hidden_size=30000000, but a whole number from 1 to 262,144 is"),
        ("vision_config", {"hidden_size": 3 * 2**16}, "of another shape"),
        ("vision_config", {"num_hidden_layers": 10**9}, "layers=1000000000, but a whole number from 0 to 4,096 is"),
        ("vision_config", {"num_hidden_layers": 4096}, "depth=4096, but the file holds 78 tensors"),
        ("vision_config", {"num_attention_heads": 5}, "describes what cannot be built: num_heads=5 does not divide"),
    ],
)
def test_a_config_that_asks_for_the_moon(folder, part, change, sentence):
    config = json.loads((folder / "config.json").read_text())
    config[part] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(folder)
    with keras.StatelessScope():  # leaving one, Keras gives values to the weights that have none yet
        pass


@pytest.fixture
def arrays(tmp_path):
    """A SigLIP of big_vision, to be spoilt, without the fixture's inputs and outputs."""
    for name in ("model.npz", "open_clip_config.json"):
        shutil.copy(TESTS / "fixtures" / "bv_siglip_plain" / name, tmp_path)
    return tmp_path


def test_an_npz_file_under_its_own_name_and_without_the_prefix(arrays):
    expected = kzoo.from_preset(arrays)
    stored = dict(np.load(arrays / "model.npz"))
    (arrays / "model.npz").unlink()
    assert all(name.startswith("params/") for name in stored)
    stored = {name.removeprefix("params/"): array for name, array in stored.items()}
    np.savez_compressed(arrays / "webli_en_b16.npz", **stored)
    model = kzoo.from_preset(arrays)
    for one, other in zip(model.weights, expected.weights, strict=True):
        assert np.array_equal(numpy(one), numpy(other)), one.path
    np.savez(arrays / "another.npz", a=np.zeros(1))
    with pytest.raises(FileNotFoundError, match="has no open_clip_model.safetensors"):
        kzoo.from_preset(arrays)


def test_pickled_arrays_are_never_opened(arrays):
    stored = dict(np.load(arrays / "model.npz"))
    np.savez(arrays / "model.npz", **stored | {"t": np.array([print], dtype=object)})
    with pytest.raises(ValueError, match=r"model.npz cannot be read as npz, .* \(t.npy holds Python objects"):
        kzoo.from_preset(arrays)


def test_a_truncated_npz_file(arrays):
    path = arrays / "model.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.npz cannot be read as npz, is it whole"):
        kzoo.from_preset(arrays)


def test_an_array_that_claims_to_be_larger_than_it_is(arrays):
    """The header says a terabyte, the file holds a few bytes: found before anything is allocated."""
    with zipfile.ZipFile(arrays / "model.npz", "a") as archive, archive.open("bomb.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
        file.write(b"0" * 64)
    with pytest.raises(ValueError, match=r"bomb.npy says \(1000000, 1000000\) of float32, which is not what it holds"):
        kzoo.from_preset(arrays)


def test_older_spellings_are_read(tmp_path):
    """open_clip moves a custom text tower from the root to `text.`; AltCLIP's vision blocks are called two ways."""
    vision = "vision_model.encoder.layer"
    for name, file, change in (
        ("oc_clip_vit_custom_text", "open_clip_model.safetensors", lambda name: name.removeprefix("text.")),
        ("hf_altclip_tiny", "model.safetensors", lambda name: name.replace(f"{vision}s.", f"{vision}.")),
    ):
        folder = tmp_path / name
        shutil.copytree(TESTS / "fixtures" / name, folder)
        tensors = load_file(folder / file)
        renamed = {change(key): tensor for key, tensor in tensors.items()}
        assert renamed.keys() != tensors.keys()
        save_file(renamed, folder / file)
        model, expected = kzoo.from_preset(folder), kzoo.from_preset(TESTS / "fixtures" / name)
        for one, other in zip(model.weights, expected.weights, strict=True):
            assert np.array_equal(numpy(one), numpy(other)), one.path
