"""Folders of models that a stranger may have touched."""

import json
import shutil

import pytest
from shared_case import TESTS, tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny_model(depth=1).save_to_preset(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["fingerprints"]  # which a stranger would make anew
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def clip(tmp_path):
    return shutil.copytree(TESTS / "fixtures" / "hf_clip_tiny", tmp_path / "hf_clip_tiny")
