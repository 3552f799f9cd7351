"""A fixture's model on its inputs, beside what the library it comes from gave."""

import json
from functools import partial

import keras
import numpy as np
from shared_case import TESTS, numpy

import kzoo
from kzoo.models.compiled import compiled
from kzoo.presets.build import build
from kzoo.presets.foreign import recognise

FIXTURES = TESTS / "fixtures"
IMAGE_TOKENS = ("vision_last_hidden", "image_tokens", "image_features")
CHANNELS_LAST = ("oc_swin_tiny",)  # feature maps as (rows, columns, channels)
REQUESTED = ("image_tokens", "text_tokens", "caption_logits", "match_logits")


def opened(name, **changes):
    """A fixture's model; `changes` go into the config of its parts, by name of the part."""
    folder = FIXTURES / name
    if not changes:
        return kzoo.from_preset(folder)
    checkpoint = recognise(folder)
    row = checkpoint.row()
    for part, change in changes.items():
        row[part] = row[part] | change
    model = build(row, preprocessor=checkpoint.preprocessor(row))
    checkpoint.fill(checkpoint.tensors(), model, {})
    return model


def batch_of(model, name):
    """A fixture's inputs as kzoo takes them, and its attention mask if it has one."""
    inputs = np.load(FIXTURES / name / "inputs.npz")
    pixels = inputs["pixel_values"]  # normalised, as the other library takes them
    batch = {"token_ids": inputs["input_ids"].astype("int32")}
    tower = model.image_encoder
    mean, std = np.array(tower.mean), np.array(tower.std)
    if pixels.ndim == 3:  # patches
        mean, std = (np.tile(each, pixels.shape[-1] // 3) for each in (mean, std))
        batch["image_grid"] = inputs["spatial_shapes"].astype("int32")
    else:
        pixels = pixels.transpose(0, 2, 3, 1)
    batch["images"] = (255 * (pixels * std + mean)).astype("float32")
    return batch, inputs["attention_mask"].astype(bool) if "attention_mask" in inputs else None


def outputs_of(model, name):
    """What kzoo gives and what is expected, under kzoo's names; where something is masked, only what is real."""
    batch, mask = batch_of(model, name)
    got = {key: numpy(value) for key, value in called(model)(batch).items()}
    if model.similarity is not None:
        got["logits"] = numpy(model.similarity(got["image_embeddings"], got["text_embeddings"]))
    expected = expected_of(name)
    if "image_grid" in batch:
        real = np.arange(got["image_tokens"].shape[1]) < batch["image_grid"].prod(axis=1)[:, None]
        got["image_tokens"], expected["image_tokens"] = got["image_tokens"][real], expected["image_tokens"][real]
    if mask is not None and "text_tokens" in expected:  # kzoo masks no padding in causal towers
        got["text_tokens"], expected["text_tokens"] = got["text_tokens"][mask], expected["text_tokens"][mask]
    if "caption_logits" in expected and expected["caption_logits"].shape[1] == batch["token_ids"].shape[1]:
        real = mask[:, :-1]  # transformers predicts after the last token, too
        got["caption_logits"] = got["caption_logits"][real]
        expected["caption_logits"] = expected["caption_logits"][:, :-1][real]
    return {key: got[key] for key in expected}, expected


def called(model):
    """The model's call; on jax as one program, where operation by operation each would be one."""
    call = partial(model, outputs=REQUESTED)
    return compiled(model, call) if keras.config.backend() == "jax" else call


def expected_of(name):
    stored = np.load(FIXTURES / name / "outputs.npz")
    names = {
        "image_embeddings": "image_embeds",
        "text_embeddings": "text_embeds",
        "logits": "logits_per_image",
        "image_tokens": next((name for name in IMAGE_TOKENS if name in stored), None),
        "text_tokens": "text_last_hidden" if "text_last_hidden" in stored else "text_tokens",
        "caption_logits": "caption_logits",
        "match_logits": "itm_logits",
    }
    expected = {ours: stored[theirs] for ours, theirs in names.items() if theirs in stored}
    if "logits" in expected and expected["logits"].ndim == 3:  # open_clip keeps an axis of one query
        expected |= {key: expected[key][:, 0] for key in ("image_embeddings", "logits")}
    if "image_tokens" in expected and expected["image_tokens"].ndim == 4:  # a feature map
        tokens = expected["image_tokens"]
        tokens = tokens if name in CHANNELS_LAST else tokens.transpose(0, 2, 3, 1)
        expected["image_tokens"] = tokens.reshape(len(tokens), -1, tokens.shape[-1])
    return expected


def worst(model, name):
    """The largest difference on embeddings, or on caption logits where there are none."""
    got, expected = outputs_of(model, name)
    keys = [key for key in expected if key.endswith("_embeddings")] or ["caption_logits"]
    return max(np.abs(got[key] - expected[key]).max() for key in keys)


def config_of(name):
    (path,) = (
        FIXTURES / name / file
        for file in ("config.json", "open_clip_config.json")
        if (FIXTURES / name / file).is_file()
    )
    return json.loads(path.read_text())
