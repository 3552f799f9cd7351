"""MaMMUT beside arithmetic of its own: one stack of blocks, run for an embedding and for a caption."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from parity import FIXTURES, batch_of, expected_of, opened
from safetensors.numpy import load_file, save_file
from shared_case import numpy

import kzoo
from kzoo.presets.foreign import Checkpoint
from kzoo.weights import open_clip

NAME = "oc4_mammut_tiny"
TEXT = {"context_length": 15, "vocab_size": 256, "width": 16, "heads": 2, "layers": 4, "cross_attn_ratio": 2}
FORK = TEXT | {"does_full_decoding": True}


# -- the arithmetic, in numpy, on the tensors as they are stored --
def normed(x, tensors, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def attended(x, context, tensors, name, heads, hidden):
    """`hidden` is True at the pairs of a query and a key that it does not see."""
    parts = np.split(tensors[f"{name}.in_proj_weight"], 3), np.split(tensors[f"{name}.in_proj_bias"], 3)
    q, k, v = (side @ w.T + b for side, w, b in zip((x, context, context), *parts))
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).swapaxes(1, 2) for each in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + np.where(hidden, -np.inf, 0.0)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ v
    mixed = mixed.swapaxes(1, 2).reshape(x.shape)
    return mixed @ tensors[f"{name}.out_proj.weight"].T + tensors[f"{name}.out_proj.bias"]


def block(x, context, tensors, name, heads, hidden=False):
    y = normed(x, tensors, f"{name}.ln_1")
    context = y if context is None else normed(context, tensors, f"{name}.ln_1_kv")
    x = x + attended(y, context, tensors, f"{name}.attn", heads, hidden)
    y = normed(x, tensors, f"{name}.ln_2") @ tensors[f"{name}.mlp.c_fc.weight"].T + tensors[f"{name}.mlp.c_fc.bias"]
    y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
    return x + y @ tensors[f"{name}.mlp.c_proj.weight"].T + tensors[f"{name}.mlp.c_proj.bias"]


def states(ids, tensors, image_tokens=None, hidden=False):
    x = tensors["text.token_embedding.weight"][ids] + tensors["text.positional_embedding"][: ids.shape[1]]
    for number in range(4):
        x = block(x, None, tensors, f"text.resblocks.{number}", 2, hidden)
        if image_tokens is not None and number % 2 == 0:
            context = image_tokens @ tensors["map_viz2txt_kv"]
            x = block(x, context, tensors, f"text.cross_attn.{number // 2}", 2)
    return normed(x, tensors, "text.ln_final")


def embedded(ids, tensors, masked):
    """`masked`: neither attention nor mean sees padding, as in open_clip 4; else both do, as in LAION's fork."""
    real = np.not_equal(ids, 0) if masked else np.ones_like(ids, bool)
    x = states(ids, tensors, hidden=~real[:, None, None])
    x = (x * real[..., None]).sum(1) / real.sum(1, keepdims=True)
    x = x @ tensors["text.text_projection"] if "text.lm_head" in tensors and "text.text_projection" in tensors else x
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def captioned(ids, tensors, image_tokens):
    later = np.triu(np.ones((ids.shape[1] - 1,) * 2, bool), 1)
    head = tensors.get("text.lm_head", tensors["text.text_projection"] if "text.lm_head" not in tensors else None)
    return states(ids[:, :-1], tensors, image_tokens, later) @ head


def checkpoint(folder, changed, part="multimodal_cfg", drop=(), **model):
    """The fixture with other tensors, and a config in the words of open_clip 4 or of the fork."""
    shutil.copytree(FIXTURES / NAME, folder, dirs_exist_ok=True)
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"] = {key: each for key, each in config["model_cfg"].items() if key != "text_cfg"} | model
    config["model_cfg"][part] = changed
    path.write_text(json.dumps(config))
    tensors = load_file(folder / "open_clip_model.safetensors")
    return tensors, lambda: save_file(tensors, folder / "open_clip_model.safetensors")


def test_the_arithmetic_is_that_of_the_fork():
    tensors, expected = load_file(FIXTURES / NAME / "open_clip_model.safetensors"), expected_of(NAME)
    ids = np.load(FIXTURES / NAME / "inputs.npz")["input_ids"]
    assert np.abs(embedded(ids, tensors, masked=False) - expected["text_embeddings"]).max() < 1e-6
    assert np.abs(captioned(ids, tensors, expected["image_tokens"]) - expected["caption_logits"]).max() < 2e-5


@pytest.mark.one_other
@pytest.mark.parametrize("projected", [False, True])
def test_open_clip_4_masks_padding(projected, tmp_path):
    words = TEXT | ({"proj_type": "linear"} if projected else {})
    tensors, save = checkpoint(tmp_path, words)
    tensors["text.lm_head"] = tensors.pop("text.text_projection")
    if projected:
        tensors["text.text_projection"] = np.random.default_rng(0).normal(size=(16, 16)).astype("float32")
    save()
    model = kzoo.from_preset(tmp_path)
    batch, _ = batch_of(model, NAME)
    got = model(batch, outputs=("text_embeddings", "caption_logits", "image_tokens"))
    ids = batch["token_ids"]
    assert np.abs(numpy(got["text_embeddings"]) - embedded(ids, tensors, masked=True)).max() < 2e-6
    expected = captioned(ids, tensors, numpy(got["image_tokens"]))
    assert np.abs(numpy(got["caption_logits"]) - expected).max() < 2e-5
    given = batch | {"padding_mask": np.not_equal(ids, 0)}
    assert np.abs(numpy(model(given)["text_embeddings"]) - numpy(got["text_embeddings"])).max() < 1e-6
    model.save_to_preset(tmp_path / "written", format="open_clip")
    written = load_file(tmp_path / "written" / "open_clip_model.safetensors")
    assert written.keys() == tensors.keys() and all(np.array_equal(written[name], tensors[name]) for name in tensors)
    assert np.array_equal(*(numpy(each(batch)["text_embeddings"]) for each in (model, kzoo.from_preset(tmp_path))))


@pytest.mark.once
def test_weights_of_the_fork_in_the_words_of_open_clip_4(tmp_path):
    checkpoint(tmp_path, TEXT | {"pool_type": "avg_all", "use_pad_mask": False, "proj_type": "none"})
    model, own = kzoo.from_preset(tmp_path), opened(NAME)
    batch, _ = batch_of(model, NAME)
    one, other = (each(batch) for each in (model, own))
    assert all(np.array_equal(numpy(one[name]), numpy(other[name])) for name in one)


@pytest.mark.one_other
def test_a_step_is_a_row_of_a_call_and_training_moves_both_passes():
    model = opened("oc4_mammut_bare_tiny")
    batch, _ = batch_of(model, "oc4_mammut_bare_tiny")
    outputs = model(batch, outputs=("caption_logits", "image_tokens"))
    memory = model.caption_memory(outputs["image_tokens"])
    cache, logits = model.empty_cache(3, 15), numpy(outputs["caption_logits"])
    for place in range(4):
        step, _, cache = model.caption_step(batch["token_ids"], np.full(3, place, "int32"), cache, memory)
        np.testing.assert_allclose(numpy(step), logits[:, place], atol=2e-5)
    assert model.count_params() == sum(tower.count_params() for tower in model.towers().values()) + 1
    before = [numpy(weight) for weight in model.trainable_variables]
    model.compile("clip_adamw")
    history = model.fit(batch, batch_size=3, epochs=1, verbose=0).history
    assert history.keys() >= {"info_nce", "captioning"}
    same = [weight.path for weight, old in zip(model.trainable_variables, before) if np.array_equal(numpy(weight), old)]
    assert not same


@pytest.mark.once
@pytest.mark.parametrize(
    "part, words, model, sentence",
    [
        ("text_cfg", {"cross_attn_ratio": 2}, {}, "text_cfg says does_full_decoding=False; this version knows True"),
        ("text_cfg", FORK | {"layers": 7}, {}, "says layers=7 and cross_attn_ratio=2, which leaves no equal"),
        ("text_cfg", FORK | {"cross_attn_ratio": 5}, {}, "says layers=4 and cross_attn_ratio=5, which leaves no equal"),
        ("text_cfg", FORK | {"hf_model_name": "roberta-base"}, {}, "hf_model_name='roberta-base', which this version"),
        ("text_cfg", FORK | {"width": 24}, {}, "says width=24, which is that of the text embedding, but embed_dim=16"),
        ("text_cfg", FORK | {"qk_norm": True}, {}, "text_cfg says qk_norm=True"),
        ("multimodal_cfg", TEXT | {"has_mlp": False}, {}, "says has_mlp=False, which this version cannot build"),
        ("multimodal_cfg", TEXT | {"pool_type": "map"}, {}, "says pool_type='map'; this version knows None, 'avg_all'"),
        ("multimodal_cfg", TEXT | {"pool_type": "avg_all"}, {}, "says use_pad_mask=True; this version knows False"),
        ("multimodal_cfg", TEXT | {"use_pad_mask": False}, {}, "says use_pad_mask=False; this version knows True"),
        ("multimodal_cfg", TEXT | {"text_arch": "modern"}, {}, "is of MaMMUT with modern blocks"),
        ("multimodal_cfg", TEXT, {"vision_cfg": {"attentional_pool": True}}, "of open_clip's ViT without attentional"),
        ("multimodal_cfg", TEXT, {"vision_cfg": {"layers": [1, 1, 1, 1]}}, "of open_clip's ViT without attentional"),
    ],
)
def test_what_is_refused(part, words, model, sentence, tmp_path):
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": {}} | model | {part: words}, "preprocess_cfg": {}}
    checkpoint = Checkpoint(tmp_path, "x", open_clip.FORMAT, config)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        checkpoint.row()
