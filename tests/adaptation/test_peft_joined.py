"""Adapters of query, key and value where a file has them as one layer, as transformers' BLIP does."""

import json

import numpy as np
import pytest
from parity import opened
from safetensors.numpy import load_file, save_file
from shared_case import numpy

from kzoo.adaptation import LoRA, add_adapter, load_adapter, merge, save_adapter
from kzoo.encoders import ConvNeXt
from kzoo.layers.adapted import updates_of
from kzoo.paths import layers, parameters

pytestmark = pytest.mark.once
ATTENTION = "image_encoder.blocks.0.attention"
PARTS = [f"{ATTENTION}.{name}" for name in ("query", "key", "value")]
TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def model():
    return opened("hf_blip_itm_tiny")


def kernels(model):
    known = {path: layer for path, layer, _ in layers(model)}
    return np.concatenate([numpy(known[path].kernel) for path in PARTS], axis=1)


def fused(folder, before):
    """The kernel of all three with what a file adds, as PEFT adds it, and the number of its modules."""
    tensors, config = load_file(folder / TENSORS), json.loads((folder / CONFIG).read_text())
    (module,) = {name.split(".lora_")[0] for name in tensors if ".0.self_attn.qkv" in name}
    a, b = (tensors[f"{module}.lora_{each}.weight"] for each in "AB")
    own = {key: config[key] for key in ("r", "lora_alpha")}
    for key, table in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        (own[key],) = [*config[table].values()] or [own[key]]
    assert a.shape[0] == b.shape[1] == own["r"]
    updated = before.T + own["lora_alpha"] / own["r"] * b @ a
    if config["use_dora"]:
        lengths = tensors[f"{module}.lora_magnitude_vector"]
        updated *= (lengths / np.linalg.norm(updated, axis=1))[:, None]
    return updated.T, a.shape[0]


@pytest.mark.parametrize("decomposed", [False, True])
def test_three_layers_with_ranks_of_their_own_are_one_in_the_file(model, tmp_path, decomposed):
    before, random = kernels(model), np.random.default_rng(3)
    config = LoRA(2, targets=[f"{ATTENTION}.{{query,value}}"], decomposed=decomposed, rank_pattern={"**.value": 3})
    add_adapter(model, config)
    for each in parameters(model):
        if each.path.endswith((".a", ".b", ".magnitude")):
            each.variable.assign(numpy(each.variable) + random.normal(0.0, 0.1, each.variable.shape))
    save_adapter(model, tmp_path / "qkv")
    wanted, rank = fused(tmp_path / "qkv", before)
    assert rank == 5
    again = opened("hf_blip_itm_tiny")
    load_adapter(again, tmp_path / "qkv")
    known = {path: layer for path, layer, _ in layers(again)}
    assert [next(iter(updates_of(known[path]).values())).rank for path in PARTS] == [2, 1, 3]
    for each in (model, again):
        merge(each)
        np.testing.assert_allclose(kernels(each), wanted, atol=1e-6)


def test_one_update_of_all_three_is_read_and_written_back(model, tmp_path):
    add_adapter(model, LoRA(2, alpha=6, targets=[f"{ATTENTION}.{{query,key,value}}"]))
    save_adapter(model, tmp_path)
    tensors, random = load_file(tmp_path / TENSORS), np.random.default_rng(4)
    (module,) = {name.split(".lora_")[0] for name in tensors}
    width = kernels(model).shape[0]
    theirs = {"A": random.normal(size=(2, width)), "B": random.normal(0.0, 0.1, size=(3 * width, 2))}
    theirs = {f"{module}.lora_{name}.weight": each.astype("float32") for name, each in theirs.items()}
    save_file(theirs, tmp_path / TENSORS)
    content = json.loads((tmp_path / CONFIG).read_text()) | {"r": 2, "lora_alpha": 6, "rank_pattern": {}}
    (tmp_path / CONFIG).write_text(json.dumps(content | {"alpha_pattern": {}}))
    model = opened("hf_blip_itm_tiny")
    before = kernels(model)
    assert load_adapter(model, tmp_path) == PARTS
    save_adapter(model, tmp_path / "again")
    again = load_file(tmp_path / "again" / TENSORS)
    assert again.keys() == theirs.keys() and all(np.array_equal(again[name], theirs[name]) for name in again)
    merge(model)
    np.testing.assert_allclose(kernels(model), fused(tmp_path, before)[0], atol=1e-6)


def test_an_adapter_of_a_convolution_of_groups_is_refused(tmp_path):
    tower = ConvNeXt(32, depths=(1, 1, 1, 1), widths=(4, 4, 8, 8), embed_dim=8)
    add_adapter(tower, LoRA(2, targets="**"))
    save_adapter(tower, tmp_path)
    path, layer = next((path, each) for path, each, _ in layers(tower) if getattr(each, "depth_multiplier", None))
    size = layer.kernel.shape[0]
    theirs = {"A": np.ones((2, 1, size, size), "float32"), "B": np.ones((4, 2, 1, 1), "float32")}
    save_file(
        {f"base_model.model.{path}.lora_{name}.weight": each for name, each in theirs.items()}, tmp_path / TENSORS
    )
    other = ConvNeXt(32, depths=(1, 1, 1, 1), widths=(4, 4, 8, 8), embed_dim=8)
    with pytest.raises(ValueError, match="which is a convolution of groups, whose kernel is no matrix"):
        load_adapter(other, tmp_path)
