"""Checkpoints of open_clip and transformers, opened by `from_preset`, against the outputs of their own libraries."""

import numpy as np
import pytest
from shared_case import TESTS, numpy

import kzoo
from kzoo.presets.build import build
from kzoo.presets.foreign import recognise

# the noise of float32 is 3e-7 to 6e-7; a wrong epsilon moves embeddings by 6e-6
TOLERANCE, LOGITS = 3e-6, 1e-4
FIXTURES = (
    "hf_clip_eos_gelu",
    "hf_clip_legacy_fp16",
    "hf_clip_tiny",
    "hf_siglip_tiny",
    "oc_clip_vit_custom_text",
    "oc_clip_vit_tiny",
    "oc_clipa_tiny",
)


def opened(name, image=(), text=()):
    """A fixture's model, with changes to the config of its towers."""
    folder = TESTS / "fixtures" / name
    if not image and not text:
        return kzoo.from_preset(folder)
    checkpoint = recognise(folder)
    row = checkpoint.row()
    row["image_encoder"] |= dict(image)
    row["text_encoder"] |= dict(text)
    model = build(row, preprocessor=checkpoint.preprocessor(row))
    checkpoint.fill(model)
    return model


def outputs_of(model, name):
    """Embeddings, logits and tokens on a fixture's inputs, and what the other library gave."""
    folder = TESTS / "fixtures" / name
    inputs, expected = (np.load(folder / f"{file}.npz") for file in ("inputs", "outputs"))
    mean, std = np.array(model.image_encoder.mean), np.array(model.image_encoder.std)
    pixels = inputs["pixel_values"].transpose(0, 2, 3, 1)  # normalised, as the other library takes them
    batch = {
        "images": (255 * (pixels * std + mean)).astype("float32"),
        "token_ids": inputs["input_ids"].astype("int32"),
    }
    outputs = model(batch, outputs=("image_tokens", "text_tokens"))
    images, texts = (numpy(outputs[f"{side}_embeddings"]) for side in ("image", "text"))
    logits = numpy(model.similarity(outputs["image_embeddings"], outputs["text_embeddings"]))
    tokens = {side: numpy(outputs[f"{side}_tokens"]) for side in ("image", "text")}
    return images, texts, logits, tokens, inputs, expected


def worst(model, name):
    images, texts, _, _, _, expected = outputs_of(model, name)
    return max(np.abs(images - expected["image_embeds"]).max(), np.abs(texts - expected["text_embeds"]).max())


@pytest.mark.parametrize("name", FIXTURES)
def test_equal_to_the_library_it_comes_from(name):
    images, texts, logits, tokens, inputs, expected = outputs_of(opened(name), name)
    if "vision_last_hidden" in expected:
        np.testing.assert_allclose(tokens["image"], expected["vision_last_hidden"], atol=2e-5)
        real = (
            inputs["attention_mask"].astype(bool) if "attention_mask" in inputs else np.s_[:]
        )  # kzoo masks no padding
        np.testing.assert_allclose(tokens["text"][real], expected["text_last_hidden"][real], atol=2e-5)
    np.testing.assert_allclose(images, expected["image_embeds"], atol=TOLERANCE)
    np.testing.assert_allclose(texts, expected["text_embeds"], atol=TOLERANCE)
    np.testing.assert_allclose(logits, expected["logits_per_image"], atol=LOGITS)


@pytest.mark.parametrize("name", ["hf_clip_tiny", "oc_clip_vit_custom_text"])
def test_one_matmul_for_query_key_and_value_gives_the_same(name):
    fused = {"fused": True}
    assert worst(opened(name, fused, fused), name) < TOLERANCE


QUICK, EXACT, TANH = ({"activation": name} for name in ("quick_gelu", "gelu", "gelu_tanh"))


@pytest.mark.parametrize(
    "name, image, text",
    [
        ("oc_clip_vit_tiny", EXACT, {}),
        ("oc_clip_vit_tiny", {}, EXACT),
        ("hf_clip_eos_gelu", TANH, {}),
        ("hf_clip_eos_gelu", {}, {"causal": False}),
        ("hf_siglip_tiny", EXACT, {}),
        ("hf_siglip_tiny", {"epsilon": 1e-5}, {}),
        ("hf_siglip_tiny", {}, {"causal": True}),
        ("oc_clip_vit_custom_text", {"epsilon": 1e-6}, {}),
        ("oc_clip_vit_custom_text", {}, {"epsilon": 1e-6}),
        ("oc_clipa_tiny", {"pool": "class_token"}, {}),
        ("oc_clipa_tiny", QUICK, {}),
    ],
)
def test_the_tolerance_catches_a_wrong_architecture(name, image, text):
    assert worst(opened(name, image, text), name) > TOLERANCE


@pytest.mark.parametrize("tower", ["image_encoder", "text_encoder"])
@pytest.mark.parametrize("name", ["hf_clip_tiny", "oc_clip_vit_tiny"])
def test_the_tolerance_catches_swapped_and_untransposed_kernels(name, tower):
    model = opened(name)
    attention = getattr(model, tower).blocks[0].attention
    key, value = numpy(attention.key.kernel), numpy(attention.value.kernel)
    attention.key.kernel.assign(value)
    attention.value.kernel.assign(key)
    assert worst(model, name) > 1e-3
    attention.key.kernel.assign(key.T)
    attention.value.kernel.assign(value)
    assert worst(model, name) > 1e-4


def test_the_end_of_text_is_found_by_its_id():
    """Rows of this fixture hold larger ids before the end: the position of the largest is another text."""
    model = opened("hf_clip_eos_gelu")
    _, texts, _, tokens, inputs, _ = outputs_of(model, "hf_clip_eos_gelu")
    largest = inputs["input_ids"].argmax(axis=1)
    pooled = tokens["text"][np.arange(len(largest)), largest] @ numpy(model.text_encoder.projection.kernel)
    assert np.abs(pooled / np.linalg.norm(pooled, axis=1, keepdims=True) - texts).max() > 0.1
    with pytest.raises(ValueError, match="row 0 of token_ids has no end-of-text id 511"):
        worst(opened("hf_clip_eos_gelu", text={"eot_id": 511}), "hf_clip_eos_gelu")


def test_epsilon_of_each_config():
    assert opened("hf_siglip_tiny").image_encoder.post_norm.epsilon == 1e-6
    assert opened("hf_clip_tiny").text_encoder.final_norm.epsilon == 1e-5
    assert opened("oc_clip_vit_tiny").image_encoder.blocks[0].norm_1.epsilon == 1e-5


def test_a_siglip_checkpoint_brings_its_loss():
    model = opened("hf_siglip_tiny")
    assert model.loss_spec == ({"loss": "SigmoidContrastive"},)
    assert model.similarity.bias is not None
