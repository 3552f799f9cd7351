"""Checkpoints of transformers, open_clip and big_vision against the outputs of their own libraries."""

import numpy as np
import pytest
from parity import FIXTURES, opened, outputs_of, worst
from shared_case import numpy

# the noise of float32 is 1e-7 to 7e-7 on embeddings; a wrong epsilon moves them by 6e-6
EMBEDDINGS, TOKENS, LOGITS = 3e-6, 2e-5, 1e-4
NAMES = sorted(path.name for path in FIXTURES.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_library_it_comes_from(name):
    got, expected = outputs_of(opened(name), name)
    bounds = {"embeddings": EMBEDDINGS, "tokens": TOKENS, "logits": LOGITS}
    for key, value in expected.items():
        size = max(1.0, np.abs(value).max()) if key == "image_tokens" else 1.0  # a feature map of the ResNets is large
        assert got[key].shape == value.shape, key
        np.testing.assert_allclose(got[key], value, rtol=0, atol=bounds[key.split("_")[-1]] * size, err_msg=key)


QUICK, EXACT, TANH = ({"activation": name} for name in ("quick_gelu", "gelu", "gelu_tanh"))


@pytest.mark.once
@pytest.mark.parametrize(
    "name, changes",
    [
        # activations
        ("oc_clip_vit_tiny", {"image_encoder": EXACT}),
        ("oc_clip_vit_tiny", {"text_encoder": EXACT}),
        ("hf_clip_eos_gelu", {"image_encoder": TANH}),
        ("hf_siglip_tiny", {"image_encoder": EXACT}),
        ("hf_siglip_tiny", {"text_encoder": EXACT}),
        ("oc_siglip_tiny", {"image_encoder": EXACT}),
        ("oc_clipa_tiny", {"image_encoder": QUICK}),
        ("oc_convnext_tiny", {"image_encoder": TANH}),
        ("oc_mobileclip_s_tiny", {"image_encoder": TANH}),
        ("oc_mobileclip2_s_tiny", {"image_encoder": TANH}),
        ("hf_chinese_clip_tiny", {"text_encoder": TANH}),
        ("oc_coca_tiny", {"text_decoder": QUICK, "loss": [{"loss": "Captioning"}]}),
        # masks and pools
        ("hf_clip_eos_gelu", {"text_encoder": {"causal": False}}),
        ("hf_siglip_tiny", {"text_encoder": {"causal": True}}),
        ("oc_clipa_tiny", {"image_encoder": {"pool": "class_token"}}),
        ("oc_coca_tiny", {"text_encoder": {"class_mask": "exact"}}),
        ("oc_coca_cascade_tiny", {"image_encoder": {"query_layout": "parallel"}}),
        ("hf_altclip_tiny", {"text_encoder": {"pool": "mean"}}),
        # padding of strided convolutions
        ("hf_align_tiny", {"image_encoder": {"symmetric_padding": []}}),
        # epsilons
        ("hf_siglip_tiny", {"image_encoder": {"epsilon": 1e-5}}),
        ("oc_clip_vit_custom_text", {"image_encoder": {"epsilon": 1e-6}}),
        ("oc_clip_vit_custom_text", {"text_encoder": {"epsilon": 1e-6}}),
        ("hf_align_tiny", {"text_encoder": {"epsilon": 1e-5}}),
        ("hf_align_tiny", {"image_encoder": {"epsilon": 1e-5}}),
        ("oc_swin_tiny", {"image_encoder": {"epsilon": 1e-6}}),
    ],
)
def test_the_tolerance_catches_a_wrong_architecture(name, changes):
    changes.pop("loss", None)
    got, expected = outputs_of(opened(name, **changes), name)
    differences = {key: np.abs(got[key] - expected[key]).max() for key in expected if not key.endswith("tokens")}
    bounds = {"embeddings": EMBEDDINGS, "logits": LOGITS}
    assert any(difference > bounds[key.split("_")[-1]] for key, difference in differences.items()), differences


@pytest.mark.once
@pytest.mark.parametrize(
    "name, tower",
    [
        ("hf_clip_tiny", "image_encoder"),
        ("oc_clip_vit_tiny", "text_encoder"),
        ("hf_chinese_clip_tiny", "text_encoder"),
        ("bv_siglip_stacked", "image_encoder"),
        ("oc_coca_tiny", "text_decoder"),
    ],
)
def test_the_tolerance_catches_swapped_and_untransposed_kernels(name, tower):
    model = opened(name)
    attention = getattr(model, tower).blocks[0].attention
    key, value = numpy(attention.key.kernel), numpy(attention.value.kernel)

    def difference():
        got, expected = outputs_of(model, name)
        return max(np.abs(got[each] - expected[each]).max() for each in expected)

    attention.key.kernel.assign(value)
    attention.value.kernel.assign(key)
    assert difference() > 1e-3
    attention.key.kernel.assign(key.T)
    attention.value.kernel.assign(value)
    assert difference() > LOGITS


def test_convolutions_are_padded_as_torch_pads_them():
    """Keras' "same" pads even sizes on the right only; a stride-2 stem sees that everywhere."""
    model = opened("oc_clip_rn_tiny")
    model.image_encoder.stem[0].pad.padding = ((0, 1), (0, 1))
    assert worst(model, "oc_clip_rn_tiny") > 1e-3


@pytest.mark.parametrize("name", ["hf_clip_tiny", "oc_clip_vit_custom_text"])
def test_one_matmul_for_query_key_and_value_gives_the_same(name):
    fused = {"fused": True}
    assert worst(opened(name, image_encoder=fused, text_encoder=fused), name) < EMBEDDINGS


def test_the_end_of_text_is_found_by_its_id():
    """Rows of this fixture hold larger ids before the end: the position of the largest is another text."""
    name = "hf_clip_eos_gelu"
    model = opened(name)
    ids = np.load(FIXTURES / name / "inputs.npz")["input_ids"]
    tokens = numpy(model({"token_ids": ids}, outputs=("text_tokens",))["text_tokens"])
    pooled = tokens[np.arange(len(ids)), ids.argmax(axis=1)] @ numpy(model.text_encoder.projection.kernel)
    expected = np.load(FIXTURES / name / "outputs.npz")["text_embeds"]
    assert np.abs(pooled / np.linalg.norm(pooled, axis=1, keepdims=True) - expected).max() > 0.1
    with pytest.raises(ValueError, match="row 0 of token_ids has no end-of-text id 511"):
        opened(name, text_encoder={"eot_id": 511})({"token_ids": ids})


def test_epsilon_of_each_config():
    assert opened("hf_siglip_tiny").image_encoder.post_norm.epsilon == 1e-6
    assert opened("oc_siglip_tiny").text_encoder.blocks[0].norm_1.epsilon == 1e-6
    clip = opened("hf_clip_tiny")
    assert clip.text_encoder.final_norm.epsilon == clip.image_encoder.blocks[0].norm_1.epsilon == 1e-5
    align = opened("hf_align_tiny")
    assert align.image_encoder.stem.norm.epsilon == align.image_encoder.blocks[3].expand.norm.epsilon == 1e-3
    assert align.text_encoder.embedding_norm.epsilon == align.text_encoder.blocks[1].mlp_norm.epsilon == 1e-12
    assert opened("hf_altclip_tiny").text_encoder.token_norm.epsilon == 1e-5
    assert opened("oc_clip_rn_tiny").image_encoder.stages[1][0].shortcut.norm.epsilon == 1e-5
    coca = opened("oc_coca_tiny")
    assert coca.image_encoder.query_pool.token_norm.epsilon == coca.text_decoder.final_norm.epsilon == 1e-5


@pytest.mark.parametrize(
    "name, loss",
    [
        ("hf_siglip_tiny", [{"loss": "SigmoidContrastive"}]),
        ("oc_siglip_tiny", [{"loss": "SigmoidContrastive"}]),
        ("hf_align_tiny", [{"loss": "InfoNCE", "label_smoothing": 0.1}]),
        ("oc_coca_tiny", [{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}]),
        ("hf_blip_caption_tiny", [{"loss": "Captioning", "label_smoothing": 0.0}]),
    ],
)
def test_a_checkpoint_brings_its_loss(name, loss):
    model = opened(name)
    assert list(model.loss_spec) == loss
    model.compile("sgd")
    assert model.objective.reads
