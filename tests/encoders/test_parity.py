"""Both towers against checkpoints and outputs of open_clip, at 2e-5 on embeddings and 1e-4 on logits."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from shared_case import TESTS, numpy

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.models import DualEncoder

# the pixels of the fixtures are already normalised
AS_IS = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}


def open_fixture(name, **towers):
    """A model with the weights of a fixture, and the fixture's arrays."""
    folder = TESTS / "fixtures" / name
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    vision, text = config["vision_cfg"], config["text_cfg"]
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    image_encoder = VisionTransformer(
        vision["image_size"],
        vision["patch_size"],
        vision["width"],
        vision["layers"],
        vision["width"] // vision["head_width"],
        mlp_dim=int(vision["width"] * vision.get("mlp_ratio", 4.0)),
        embed_dim=config["embed_dim"],
        layer_scale=vision.get("ls_init_value"),
        name="image_encoder",
        **({"activation": activation} | AS_IS | towers),
    )
    text_encoder = TextTransformer(
        text["vocab_size"],
        text["context_length"],
        text["width"],
        text["layers"],
        text["heads"],
        mlp_dim=int(text["width"] * text.get("mlp_ratio", 4.0)),
        embed_dim=config["embed_dim"],
        eot_id=text.get("eos_id", text["vocab_size"] - 1),
        projection_bias=text.get("proj_bias", False),
        name="text_encoder",
        **({"activation": activation} | towers),
    )
    model = DualEncoder(image_encoder, text_encoder, SimilarityHead(name="similarity"))
    left = assign(
        model, load_file(folder / "open_clip_model.safetensors"), "text." if config.get("custom_text") else ""
    )
    assert not left, f"tensors of the file that were not used: {sorted(left)}"
    return model, np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")


def assign(model, tensors, prefix):
    """Put open_clip's tensors where they belong; returns those that found no place."""
    image, text = model.image_encoder, model.text_encoder

    def put(variable, name, transform=lambda x: x):
        variable.assign(transform(tensors.pop(name)).reshape(variable.shape))

    def norm(layer, name):
        put(layer.gamma, f"{name}.weight")
        put(layer.beta, f"{name}.bias")

    def dense(layer, name):
        put(layer.kernel, f"{name}.weight", np.transpose)
        put(layer.bias, f"{name}.bias")

    def block(layer, name):
        norm(layer.norm_1, f"{name}.ln_1")
        norm(layer.norm_2, f"{name}.ln_2")
        parts = (layer.attention.query, layer.attention.key, layer.attention.value)
        weights = np.split(tensors.pop(f"{name}.attn.in_proj_weight"), 3)
        biases = np.split(tensors.pop(f"{name}.attn.in_proj_bias"), 3)
        for part, weight, bias in zip(parts, weights, biases):
            part.kernel.assign(weight.T)
            part.bias.assign(bias)
        dense(layer.attention.out, f"{name}.attn.out_proj")
        dense(layer.mlp_up, f"{name}.mlp.c_fc")
        dense(layer.mlp_down, f"{name}.mlp.c_proj")
        if layer.scale_1 is not None:
            put(layer.scale_1.gain, f"{name}.ls_1.gamma")
            put(layer.scale_2.gain, f"{name}.ls_2.gamma")

    put(image.embedding.kernel, "visual.conv1.weight", lambda x: x.transpose(2, 3, 1, 0))
    put(image.embedding.class_embedding, "visual.class_embedding")
    put(image.embedding.position_embedding, "visual.positional_embedding")
    norm(image.pre_norm, "visual.ln_pre")
    norm(image.post_norm, "visual.ln_post")
    put(image.projection.kernel, "visual.proj")
    for index, layer in enumerate(image.blocks):
        block(layer, f"visual.transformer.resblocks.{index}")
    put(text.token_embedding, f"{prefix}token_embedding.weight")
    put(text.position_embedding, f"{prefix}positional_embedding")
    norm(text.final_norm, f"{prefix}ln_final")
    if text.projection.use_bias:
        dense(text.projection, f"{prefix}text_projection")
    else:
        put(text.projection.kernel, f"{prefix}text_projection")
    for index, layer in enumerate(text.blocks):
        block(layer, f"{prefix}transformer.resblocks.{index}")
    put(model.similarity.log_scale, "logit_scale")
    return set(tensors)


def outputs_of(model, inputs):
    batch = {
        "images": inputs["pixel_values"].transpose(0, 2, 3, 1),
        "token_ids": inputs["input_ids"].astype("int32"),
    }
    embeddings = {name: numpy(value) for name, value in model(batch).items()}
    return *embeddings.values(), numpy(model.similarity(*map(np.asarray, embeddings.values())))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["oc_clip_vit_tiny", "oc_clip_vit_custom_text"])
def test_equal_to_open_clip(name, fused):
    model, inputs, expected = open_fixture(name, fused=fused)
    images, texts, logits = outputs_of(model, inputs)
    np.testing.assert_allclose(images, expected["image_embeds"], atol=3e-6)
    np.testing.assert_allclose(texts, expected["text_embeds"], atol=3e-6)
    np.testing.assert_allclose(logits, expected["logits_per_image"], atol=1e-4)


@pytest.mark.parametrize(
    "name, mistake",
    [
        ("oc_clip_vit_tiny", {"activation": "gelu"}),
        ("oc_clip_vit_custom_text", {"activation": "gelu_tanh"}),
        ("oc_clip_vit_custom_text", {"epsilon": 1e-6}),
    ],
)
def test_the_tolerance_catches_a_wrong_activation_or_epsilon(name, mistake):
    model, inputs, expected = open_fixture(name, **mistake)
    images, texts, _ = outputs_of(model, inputs)
    worst = max(np.abs(images - expected["image_embeds"]).max(), np.abs(texts - expected["text_embeds"]).max())
    assert worst > 6e-6
