"""Adapters as files: what PEFT has written, with what it gives, and the way back.

`peft/` was written by PEFT 0.21.2 on the tiny checkpoints of `tests/fixtures`, with drawn numbers; `outputs.npz` beside
each is what transformers 5 gives with it on the inputs of the fixture.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from parity import batch_of, opened
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy, tiny_model

from kzoo.adaptation import LoRA, adapters, add_adapter, load_adapter, merge, save_adapter
from kzoo.encoders import ResNet
from kzoo.paths import parameters

PEFT = Path(__file__).parent / "peft"
CASES = {"clip_lora": "hf_clip_tiny", "clip_dora": "hf_clip_tiny", "siglip_lora": "hf_siglip_tiny"}
CASES["clip_patterns"] = "hf_clip_tiny"  # ranks and alphas of single layers, rank stabilised
MARKS = {"clip_patterns": pytest.mark.once}
TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def differences(model, fixture, case):
    got, wanted = model(batch_of(model, fixture)[0]), np.load(PEFT / case / "outputs.npz")
    pairs = {"image_embeddings": "image_embeds", "text_embeddings": "text_embeds"}
    unit = {name: wanted[name] / np.linalg.norm(wanted[name], axis=-1, keepdims=True) for name in wanted}
    return max(np.abs(numpy(got[ours]) - unit[theirs]).max() for ours, theirs in pairs.items())


@pytest.mark.parametrize("case", [pytest.param(each, marks=MARKS.get(each, ())) for each in CASES])
def test_what_peft_has_written_gives_its_numbers_and_is_written_back(case, tmp_path):
    fixture = CASES[case]
    model = opened(fixture)
    assert differences(model, fixture, case) > 0.01
    paths = load_adapter(model, PEFT / case, name="theirs")
    assert differences(model, fixture, case) < 1e-5
    stored = load_file(PEFT / case / TENSORS)
    assert len(paths) == len({name.partition(".lora_")[0] for name in stored})
    save_adapter(model, tmp_path / "again", name="theirs")
    again = load_file(tmp_path / "again" / TENSORS)
    assert again.keys() == stored.keys() and all(np.array_equal(again[name], stored[name]) for name in stored)
    config, theirs = (json.loads((folder / CONFIG).read_text()) for folder in (tmp_path / "again", PEFT / case))
    same = ("peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "bias", "fan_in_fan_out")
    assert {name: config[name] for name in same} == {name: theirs[name] for name in same}
    merge(model)
    assert differences(model, fixture, case) < 1e-5


@pytest.mark.once
def test_a_model_that_transformers_has_not_goes_by_its_own_paths(tmp_path):
    tower = ResNet(32, depths=(1, 1, 1, 1), width=8, embed_dim=8)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    add_adapter(tower, LoRA(2, alpha=5, targets="**", rank_stabilized=True))
    for each in parameters(tower):
        if each.path.endswith(".b"):
            each.variable.assign(np.random.default_rng(1).normal(0.0, 0.1, each.variable.shape))
    wanted = numpy(tower(images)["embedding"])
    save_adapter(tower, tmp_path)
    again = ResNet(32, depths=(1, 1, 1, 1), width=8, embed_dim=8)
    before = [each for each in parameters(tower) if ".adapters." not in each.path]
    for each, other in zip(before, parameters(again), strict=True):
        other.variable.assign(each.variable)
    assert np.abs(numpy(again(images)["embedding"]) - wanted).max() > 1e-4
    load_adapter(again, tmp_path)
    assert np.abs(numpy(again(images)["embedding"]) - wanted).max() < 1e-5


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(PEFT / "clip_lora", tmp_path / "adapter"))


def tensors(change):
    def changed(folder):
        found = load_file(folder / TENSORS)
        change(found)
        save_file(found, folder / TENSORS)

    return changed


def config(**changes):
    def changed(folder):
        content = json.loads((folder / CONFIG).read_text()) | changes
        (folder / CONFIG).write_text(json.dumps(content))

    return changed


QUERY = "base_model.model.text_model.encoder.layers.0.self_attn.q_proj"
BROKEN = {
    "has no adapter_config.json": lambda folder: (folder / CONFIG).unlink(),
    "has no adapter_model.safetensors": lambda folder: (folder / TENSORS).unlink(),
    "peft_type='IA3', but LORA alone": config(peft_type="IA3"),
    "bias='all'": config(bias="all"),
    "init_lora_weights='pissa'": config(init_lora_weights="pissa"),
    r"q_proj.lora_A.weight has shape \(2, .*\), but \(4,": config(rank_pattern={"q_proj": 4}),
    "rank_pattern=4, but an object": config(rank_pattern=4),
    r"describes no adapter: alpha is 'x' \(str\)": config(alpha_pattern={"q_proj": "x"}),
    "alpha_pattern has the pattern '\\(', which is no regular expression": config(alpha_pattern={"(": 2}),
    "has the pattern .* which is not read: it is long, or repeats much": config(rank_pattern={"(a*)*b": 2}),
    "modules_to_save": config(modules_to_save=["logit_scale"]),
    "says r=0, but a whole number from 1": config(r=0),
    "says lora_alpha='x', but a number above 0": config(lora_alpha="x"),
    "says lora_dropout=1, but a number from 0 up to 1": config(lora_dropout=1),
    "rank is 25, but .* has a side of 24": config(r=25),
    r"adapter of another model: .*lora_A.weight has shape \(2, .*\), but \(3,": config(r=3),
    "use_dora=True, but its tensors": config(use_dora=True),
    r"lacks lora_B.weight of text_model.*q_proj": tensors(lambda found: found.pop(f"{QUERY}.lora_B.weight")),
    "this one has no layer text_model.encoder.layers.9.self_attn.q_proj; the nearest are": tensors(
        lambda found: found.update(
            {name.replace("layers.0", "layers.9"): value for name, value in found.items() if name.startswith(QUERY)}
        )
    ),
    "which is none of LoRA": tensors(lambda found: found.update({f"{QUERY}.weight": np.zeros((2, 2), "float32")})),
    "use_rslora='1', but true or false": config(use_rslora="1"),
    "base_model_name_or_path=8, but a string": config(base_model_name_or_path=8),
    r"says lora_alpha=1e\+300, but": config(lora_alpha=1e300),
    r"changes weights of text_model.* by up to .*, with lora_alpha=1000000000000.0; that is none": lambda folder: (
        config(lora_alpha=1e12)(folder),
        tensors(lambda found: found[f"{QUERY}.lora_B.weight"].fill(1e6))(folder),
    ),
    r"q_proj.lora_A.weight in .* holds 1e\+30, more than any adapter": tensors(
        lambda found: found[f"{QUERY}.lora_A.weight"].fill(1e30)
    ),
    r"q_proj.lora_B.weight in .* holds .*e\+3., more": tensors(
        lambda found: found.update({f"{QUERY}.lora_B.weight": found[f"{QUERY}.lora_B.weight"] * np.float32(1e32)})
    ),
    r"says a \\x1b\[2J=1, which this version does not read": config(**{"a\n\x1b[2J": 1}),
    "is of int64, but floats are expected": tensors(
        lambda found: found.update({f"{QUERY}.lora_A.weight": found[f"{QUERY}.lora_A.weight"].astype("int64")})
    ),
    "holds nan": tensors(lambda found: found[f"{QUERY}.lora_A.weight"].fill(np.nan)),
}


@pytest.mark.once
@pytest.mark.parametrize("sentence", BROKEN)
def test_an_adapter_that_does_not_fit_is_refused_whole(sentence, folder, once_opened):
    model = once_opened
    before = [each.path for each in parameters(model)]
    BROKEN[sentence](folder)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load_adapter(model, folder)
    assert [each.path for each in parameters(model)] == before and adapters(model) == []
    assert all(each.variable.trainable for each in parameters(model) if each.trains)


@pytest.fixture(scope="module")
def once_opened():
    return opened("hf_clip_tiny")


@pytest.mark.once
def test_the_base_and_the_place_are_looked_at(folder, once_opened, tmp_path):
    other = tiny_model(depth=1)
    with pytest.raises(ValueError, match="adapter of another model|has a side of"):
        load_adapter(other, PEFT / "clip_dora")
    model = opened("hf_clip_tiny")
    model.source = "hf://somebody/else@main"
    with pytest.raises(ValueError, match="kzoo/hf_clip_tiny, but the weights of this model are from somebody/else"):
        load_adapter(model, folder)
    load_adapter(model, folder, any_base=True)
    with pytest.raises(ValueError, match="no adapter 'x', but default"):
        save_adapter(model, tmp_path / "x", name="x")
    with pytest.raises(FileExistsError, match="holds a model of transformers"):
        copied = shutil.copytree(TESTS / "fixtures" / "hf_clip_tiny", tmp_path / "m")
        save_adapter(model, copied)
