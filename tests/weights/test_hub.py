"""Names on the hub, from a cache laid out as the hub's client leaves it, without a network."""

import json
import shutil

import numpy as np
import pytest
from shared_case import TESTS, numpy, tiny_model

import kzoo
from kzoo.presets import table

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IDS = np.array([[510, 7, 8, 511] + [0] * 12])


@pytest.fixture
def cache(offline):
    """The empty cache of the hub's client."""
    return offline


def put(cache, repo, folder, revision="main"):
    """Lay a folder into the cache: blobs, a snapshot of links to them, a reference."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for made in (home / "blobs", home / "refs", snapshot):
        made.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(sorted(folder.iterdir())):
        blob = home / "blobs" / f"{index:040x}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    (home / "refs" / revision).write_text(COMMIT)
    return snapshot


def embed(model):
    return numpy(model({"token_ids": IDS})["text_embeddings"])


@pytest.mark.parametrize("fixture", ["hf_clip_tiny", "hf_siglip_tiny", "oc_clip_vit_tiny"])
def test_checkpoints_open_by_name(cache, fixture):
    put(cache, "owner/some.model-1", TESTS / "fixtures" / fixture)
    local = kzoo.from_preset(TESTS / "fixtures" / fixture)
    model = kzoo.from_preset("hf://owner/some.model-1")
    assert np.array_equal(embed(model), embed(local))
    assert model.name == "some_model_1"


def test_a_model_of_kzoo_opens_by_name(cache, tmp_path):
    model = tiny_model()
    model.save_to_preset(tmp_path / "mine")
    put(cache, "me/mine", tmp_path / "mine")
    again = kzoo.from_preset("hf://me/mine")
    assert np.array_equal(again.encode_text(["a red circle"]), model.encode_text(["a red circle"]))


def test_a_revision_is_pinned(cache):
    put(cache, "owner/model", TESTS / "fixtures" / "hf_clip_tiny", revision="v1")
    for revision in ("v1", COMMIT):
        assert kzoo.from_preset(f"hf://owner/model@{revision}").count_params() == 84161
    with pytest.raises(FileNotFoundError, match="hf://owner/model@v2: owner/model is neither in the hub's cache"):
        kzoo.from_preset("hf://owner/model@v2")


def test_a_name_that_is_none():
    with pytest.raises(ValueError, match="hf://model is no name on the hub; expected hf://owner/name"):
        kzoo.from_preset("hf://model")


@pytest.fixture
def preset_of_a_fixture(monkeypatch):
    """A table whose preset `small` has its weights in the repository owner/small, which holds oc_clip_vit_tiny."""
    family = json.loads((table.TABLES / "clip.json").read_text())
    family["presets"] = {
        "small": family["presets"]["clip_nano"]
        | {
            "text_encoder": {"activation": "quick_gelu", "eot_id": 511},
            "tokenizer": {"kind": "clip_bpe", "clean": "openai", "pad_id": 0},
            "weights": {"repo": "owner/small"},
        }
    }
    family["defaults"]["image_encoder"] |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    monkeypatch.setattr(table, "_families", lambda: {"clip": family})
    table._places.cache_clear()
    yield family
    monkeypatch.undo()
    table._places.cache_clear()


def test_a_preset_opens_its_weights(cache, preset_of_a_fixture):
    config = json.loads((TESTS / "fixtures" / "oc_clip_vit_tiny" / "open_clip_config.json").read_text())
    statistics = config["preprocess_cfg"]
    preset_of_a_fixture["defaults"]["image_encoder"] |= {key: statistics[key] for key in ("mean", "std")}
    put(cache, "owner/small", TESTS / "fixtures" / "oc_clip_vit_tiny")
    model = kzoo.from_preset("small")
    assert model.name == "small"
    assert np.array_equal(embed(model), embed(kzoo.from_preset(TESTS / "fixtures" / "oc_clip_vit_tiny")))


def test_a_checkpoint_that_is_not_what_the_table_says(cache, preset_of_a_fixture):
    put(cache, "owner/small", TESTS / "fixtures" / "oc_clip_vit_tiny")
    preset_of_a_fixture["presets"]["small"]["image_encoder"] = {"activation": "gelu"}
    with pytest.raises(ValueError, match=r"small has image_encoder \w+=.*, but the checkpoint in .* says"):
        kzoo.from_preset("small")
