"""Fresh random models of transformers at widths and depths of their own: the same numbers, there and back."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from shared_case import TESTS, numpy

import kzoo
from kzoo.weights.formats import FORMATS

EMBEDDINGS, LOGITS = 3e-6, 1e-4
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "image_size": 24,
}
VISION |= {"patch_size": 6}
TEXT = {"hidden_size": 40, "num_hidden_layers": 1, "num_attention_heads": 5, "intermediate_size": 56, "vocab_size": 120}
BERT = TEXT | {"max_position_embeddings": 14, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SHORT = {"max_position_embeddings": 11}
EFFICIENT = {
    "image_size": 49,
    "width_coefficient": 0.2,
    "depth_coefficient": 0.6,
    "kernel_sizes": [3, 5, 3],
    "in_channels": [32, 16, 40],
    "out_channels": [16, 40, 112],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 3, 1],
    "expand_ratios": [1, 6, 4],
    "depthwise_padding": [3],
    "hidden_dim": 24,
}

FAMILIES = {
    "clip": lambda: hf.CLIPModel(
        hf.CLIPConfig(
            text_config=TEXT | SHORT | {"eos_token_id": 118, "hidden_act": "gelu"},
            vision_config=VISION,
            projection_dim=20,
        )
    ),
    "metaclip_2": lambda: hf.MetaClip2Model(
        hf.MetaClip2Config(
            text_config=TEXT | SHORT | {"eos_token_id": 2},
            vision_config=VISION | {"hidden_act": "gelu"},
            projection_dim=20,
        )
    ),
    "siglip": lambda: hf.SiglipModel(
        hf.SiglipConfig(text_config=TEXT | SHORT | {"projection_size": 32}, vision_config=VISION)
    ),
    "siglip2": lambda: hf.Siglip2Model(
        hf.Siglip2Config(
            text_config=TEXT | SHORT | {"projection_size": 32},
            vision_config={**VISION, "num_patches": 9} | {"image_size": None},
        )
    ),
    "align": lambda: hf.AlignModel(
        hf.AlignConfig(text_config=BERT, vision_config=EFFICIENT, projection_dim=24, temperature_init_value=0.07)
    ),
    "chinese_clip": lambda: hf.ChineseCLIPModel(
        hf.ChineseCLIPConfig(text_config=BERT, vision_config=VISION, projection_dim=20)
    ),
    "altclip": lambda: hf.AltCLIPModel(
        hf.AltCLIPConfig(
            text_config=BERT | {"project_dim": 28, "pad_token_id": 1}, vision_config=VISION, projection_dim=20
        )
    ),
    "blip_retrieval": lambda: hf.BlipForImageTextRetrieval(
        hf.BlipConfig(text_config=BERT, vision_config=VISION, image_text_hidden_size=20)
    ),
    "blip_captions": lambda: hf.BlipForConditionalGeneration(hf.BlipConfig(text_config=BERT, vision_config=VISION)),
}


def random_model(family):
    """A model whose every tensor is random: biases, gains and statistics, too."""
    generator = torch.Generator().manual_seed(7)
    model = FAMILIES[family]().eval()
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point() or tensor.ndim == 0:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(noise.abs() + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(0.1 * noise + (1.0 if "norm" in name.lower() or "bn" in name else 0.0) * ("weight" in name))
        else:
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
            tensor.copy_(noise * (2.0 / fan_in) ** 0.5 if tensor.ndim == 4 else 0.15 * noise)
        if name.endswith("word_embeddings.weight"):  # the row of padding, which some of the classes clear on loading
            tensor[model.config.text_config.pad_token_id] = 0.0
    return model


def inputs_of(model, family):
    """Inputs of both libraries: pictures and ids that end, with padding behind."""
    random = np.random.default_rng(3)
    text = model.config.text_config
    pad = text.pad_token_id or 0
    ids = random.integers(5, 110, (2, 9))
    for row, length in enumerate((9, 6)):
        ids[row, length - 1] = {"clip": 118}.get(family, 2)
        ids[row, length:] = pad
    theirs = {"input_ids": torch.tensor(ids)}
    batch = {"token_ids": ids.astype("int32")}
    if family == "siglip2":
        grid = np.array([[2, 4], [3, 2]])
        patches = random.uniform(-1, 1, (2, 9, 108)).astype("float32")
        mask = np.arange(9) < grid.prod(axis=1)[:, None]
        theirs |= {"pixel_values": torch.tensor(patches), "spatial_shapes": torch.tensor(grid)}
        theirs["pixel_attention_mask"] = torch.tensor(mask.astype("int64"))
        return theirs, batch | {"images": 255 * (0.5 * patches + 0.5), "image_grid": grid.astype("int32")}
    side = model.config.vision_config.image_size
    pixels = random.uniform(-1, 1, (2, side, side, 3)).astype("float32")
    theirs["pixel_values"] = torch.tensor(pixels.transpose(0, 3, 1, 2))
    if family in ("align", "chinese_clip", "altclip", "blip_retrieval", "blip_captions"):
        theirs["attention_mask"] = torch.tensor((ids != pad).astype("int64"))
    return theirs, batch | {"images": pixels}


def theirs_of(model, family, inputs):
    """What transformers gives, under kzoo's names."""
    with torch.no_grad():
        if family == "blip_captions":
            logits = model(**inputs).logits[:, :-1].numpy()
            return {"caption_logits": logits}, inputs["attention_mask"].numpy().astype(bool)[:, :-1]
        if family == "blip_retrieval":
            cosines = model(**inputs, use_itm_head=False).itm_score
            return {"logits": cosines.numpy(), "match_logits": model(**inputs).itm_score.numpy()}, None
        outputs = model(**inputs)
    names = {"image_embeddings": "image_embeds", "text_embeddings": "text_embeds", "logits": "logits_per_image"}
    return {ours: outputs[each].numpy() for ours, each in names.items()}, None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_numbers_there_and_back(family, tmp_path):
    theirs = random_model(family)
    theirs.save_pretrained(tmp_path / "theirs")
    model = kzoo.from_preset(tmp_path / "theirs")
    inputs, batch = inputs_of(theirs, family)
    if "image_grid" not in batch:
        mean, std = np.array(model.image_encoder.mean), np.array(model.image_encoder.std)
        batch["images"] = (255 * (batch["images"] * std + mean)).astype("float32")
    got = {key: numpy(value) for key, value in model(batch, outputs=("match_logits", "caption_logits")).items()}
    if model.similarity is not None:
        got["logits"] = numpy(model.similarity(got["image_embeddings"], got["text_embeddings"]))
    expected, real = theirs_of(theirs, family, inputs)
    for key, value in expected.items():
        bound = EMBEDDINGS if key.endswith("embeddings") else LOGITS
        rows = ... if real is None else real
        np.testing.assert_allclose(got[key][rows], value[rows], rtol=0, atol=bound, err_msg=key)

    model.save_to_preset(tmp_path / "ours", format="transformers")
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    unread = {name for name in report["missing_keys"] if ".pooler." not in name and "num_batches" not in name}
    assert not unread and not report["unexpected_keys"] and not report["mismatched_keys"]
    state, original = again.state_dict(), theirs.state_dict()
    for name, tensor in original.items():
        if ".pooler." not in name and "num_batches" not in name:
            assert torch.equal(state[name], tensor), name


UNBUILT = ("dtype", "return_dict", "architectures", "model_type")  # which their own classes do not run with, or need


def another(value):
    """A value of a field that is not this one."""
    if isinstance(value, bool) or value is None:
        return not value if value is not None else 1
    if isinstance(value, (int, float)):
        return 2 * value + 1 if isinstance(value, int) else 0.5 * value + 0.1
    return value[:-1] if isinstance(value, list) else {} if isinstance(value, dict) else "another"


@pytest.mark.once
@pytest.mark.parametrize("family", FAMILIES)
def test_what_changes_no_row_changes_no_number(family):
    theirs = random_model(family)
    config = json.loads(json.dumps(theirs.config.to_dict())) | {"architectures": [type(theirs).__name__]}
    format = next(each for each in FORMATS if each.key == "model_type" and each.value == config["model_type"])
    plain, changed = format.row(config), []
    for part in (config, config["text_config"], config["vision_config"]):
        for name, value in part.items():
            if name in UNBUILT or name in ("text_config", "vision_config"):
                continue
            part[name] = another(value)
            try:
                same = format.row(config) == plain
            except ValueError:
                same = False
            if not same:
                part[name] = value
            elif part[name] != value:
                changed.append(name)
    assert len(changed) > 20 and "output_attentions" in changed and "hidden_size" not in changed
    again = type(theirs)(type(theirs.config).from_dict(config)).eval()
    again.load_state_dict(theirs.state_dict())
    inputs, _ = inputs_of(theirs, family)
    (expected, _), (got, _) = theirs_of(theirs, family, inputs), theirs_of(again, family, inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=EMBEDDINGS, err_msg=f"{name}: {changed}")


def test_patch_embeddings_are_theirs(tmp_path):
    theirs = random_model("clip")
    theirs.save_pretrained(tmp_path)
    model = kzoo.from_preset(tmp_path)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 24, 24, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs.vision_model.embeddings(torch.tensor(pixels.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(numpy(model.image_encoder.embedding(pixels)), expected, rtol=0, atol=EMBEDDINGS)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ({}, {}),
        ({"num_beams": 3, "early_stopping": "never"}, {"strategy": "beam", "num_beams": 3}),
        ({"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}, {"repetition_penalty": 1.3, "no_repeat_ngram": 2}),
    ],
)
def test_captions_are_theirs(theirs, ours):
    folder = TESTS / "fixtures" / "hf_blip_caption_tiny"
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    other, model = hf.BlipForConditionalGeneration.from_pretrained(folder).eval(), kzoo.from_preset(folder)
    mean, std = (numpy(each) for each in (model.image_encoder.mean, model.image_encoder.std))
    pixels = torch.tensor((images / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
    expected = other.generate(pixel_values=pixels, max_length=14, do_sample=False, **theirs).numpy()
    start, end = int(expected[0, 0]), other.config.text_config.sep_token_id
    token_ids, _ = model.generate(images, prefix=[start], end_id=end, max_length=14, **ours)
    np.testing.assert_array_equal(token_ids[:, : expected.shape[1]], expected)
