"""What is not read: pointers, pickles, layouts of others. Each has a sentence that says the way on."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shared_case import TESTS, numpy
from typer.testing import CliRunner

import kzoo
from kzoo.cli import app

pytestmark = pytest.mark.once
FIXTURES = TESTS / "fixtures"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 605157884\n".format("4d7a" * 16)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(FIXTURES / "hf_clip_tiny", tmp_path / "clip")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json", "tokenizer.json"])
def test_a_pointer_of_git_lfs(name, folder):
    (folder / name).write_text(POINTER)
    with pytest.raises(ValueError, match=rf"{name} is a pointer of git LFS.* `git lfs pull` .* `hf download"):
        kzoo.from_preset(folder)


def test_pointers_in_other_layouts(tmp_path):
    big_vision = shutil.copytree(FIXTURES / "bv_siglip_plain", tmp_path / "bv")
    next(path for path in big_vision.glob("*.npz") if path.stem not in ("inputs", "outputs")).write_text(POINTER)
    with pytest.raises(ValueError, match=r"\.npz is a pointer of git LFS"):
        kzoo.from_preset(big_vision)
    ours = tmp_path / "ours"
    kzoo.from_preset(FIXTURES / "hf_clip_tiny").save_to_preset(ours)
    (ours / "model.safetensors").write_text(POINTER)
    with pytest.raises(ValueError, match="model.safetensors is a pointer of git LFS"):
        kzoo.from_preset(ours, verify=False)
    with pytest.raises(ValueError, match="model.safetensors is a pointer of git LFS"):
        kzoo.encoders.from_checkpoint(ours, tower="image")


def command_in(error):
    """The code of the command of a sentence."""
    return re.search(r'safetensors by: (python -c "(.+)")\.?$', str(error.value)).group(2)


def as_pickle(folder, stem, name):
    tensors = load_file(folder / f"{stem}.safetensors")
    torch.save(tensors, folder / name)
    (folder / f"{stem}.safetensors").unlink()


def test_the_library_of_a_pickle_writes_safetensors(folder, tmp_path, monkeypatch):
    expected = kzoo.from_preset(folder)
    as_pickle(folder, "model", "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="from transformers import CLIPModel; CLIPModel.from_pre") as error:
        kzoo.from_preset("clip")
    exec(command_in(error))
    for got, weight in zip(kzoo.from_preset("clip").weights, expected.weights, strict=True):
        np.testing.assert_array_equal(numpy(got), numpy(weight))


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "epoch_32.pt"])
def test_open_clip_writes_safetensors(name, tmp_path, monkeypatch):
    folder = shutil.copytree(FIXTURES / "oc_clip_vit_tiny", tmp_path / "clip")
    expected = load_file(folder / "open_clip_model.safetensors")
    as_pickle(folder, "open_clip_model", name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"it holds {name}, which can run code .* torch.load") as error:
        kzoo.from_preset("clip")
    exec(command_in(error))
    written = load_file(folder / "open_clip_model.safetensors")
    assert written.keys() == expected.keys() and all(torch.equal(written[each], expected[each]) for each in expected)
    kzoo.from_preset("clip")


def test_convert_says_the_command(folder, tmp_path):
    as_pickle(folder, "model", "pytorch_model.bin")
    done = CliRunner().invoke(app, ["convert", str(folder), str(tmp_path / "to")])
    said = "".join((str(done.exception) + done.output).split())
    assert done.exit_code != 0 and "CLIPModel.from_pretrained(" in said and not (tmp_path / "to").exists()


def test_what_a_config_says_is_no_part_of_a_command(folder):
    as_pickle(folder, "model", "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    for named in ("CLIPModel; import os", 'x"; rm', None, 3):
        (folder / "config.json").write_text(json.dumps(config | {"architectures": [named] if named else None}))
        if named in (None,):
            with pytest.raises(
                FileNotFoundError, match="from transformers import AutoModel; AutoModel.from_pretrained"
            ):
                kzoo.from_preset(folder)
        else:
            with pytest.raises(ValueError, match="architectures"):
                kzoo.from_preset(folder)
    (folder / "config.json").write_text(json.dumps(config))
    odd = folder.rename(folder.with_name("a'b"))
    with pytest.raises(FileNotFoundError, match="from_pretrained\\('FOLDER'\\)"):
        kzoo.from_preset(odd)


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({"config.json": {"embed_dim": 512, "audio_cfg": {}, "text_cfg": {}}}, "has audio_cfg, so it is of CLAP"),
        ({"config.json": {"genlip_cfg": {}}}, "has genlip_cfg, so it is of GenLIP"),
        ({"config.json": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}}, "the model_cfg of open_clip alone"),
        ({"config.json": {"architecture": "resnet50", "pretrained_cfg": {}}}, "a tower of timm alone"),
        ({"config.json": {"model_type": "pix2struct"}}, "model_type 'pix2struct'; this version reads clip"),
        ({"config.json": {"model_type": "clap"}}, "model_type 'clap'; this version reads clip"),
        ({"model_index.json": {"_class_name": "StableDiffusionPipeline"}}, "a pipeline of diffusers .*from_checkpoint"),
        ({"modules.json": {}}, "a model of sentence-transformers .* such as 0_CLIPModel"),
        ({"weights.pt": {}}, "holds no model that kzoo has written .* It holds weights.pt, which can run code"),
    ],
    ids=str,
)
def test_other_layouts(files, sentence, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(tmp_path)


def test_a_pickle_by_its_path(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="weights.pt is a file, .* can run code when opened and are never read"):
        kzoo.from_preset(tmp_path / "weights.pt")
