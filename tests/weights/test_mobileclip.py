"""Apple's own layout of MobileCLIP: its names, its config, and the numbers of the same tensors in open_clip's."""

import json
import math
import re

import numpy as np
import pytest
from parity import FIXTURES, opened
from safetensors.numpy import load_file, save_file
from shared_case import numpy
from wheel import WHEEL, Shapes, config_of

import kzoo
from kzoo.layers.initializers import without_values
from kzoo.presets.build import build
from kzoo.presets.foreign import recognise
from kzoo.weights import check_tensors, mobileclip, open_clip

pytestmark = pytest.mark.once
FIXTURE = FIXTURES / "oc_mobileclip_s_tiny"
CONFIG = {
    "embed_dim": 512,
    "image_cfg": {"image_size": 256, "model_name": "mci1"},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "dim": 512,
        "ffn_multiplier_per_layer": 4.0,
        "n_heads_per_layer": 8,
        "n_transformer_layers": 12,
        "norm_layer": "layer_norm_fp32",
        "causal_masking": False,
        "model_name": "base",
    },
}
NETWORK = {"0.blocks": 0, "1.downsample": 1, "1.blocks": 2, "2.downsample": 3, "2.blocks": 4, "3.downsample": 5}
NETWORK |= {"3.pos_emb": 6, "3.blocks": 7}


def own_name(name):
    """What Apple calls a tensor of open_clip."""
    for theirs, own in {
        r"^visual\.trunk\.stem\.": "image_encoder.model.patch_embed.",
        r"^visual\.trunk\.final_conv\.se\.fc1\.": "image_encoder.model.conv_exp.se.reduce.",
        r"^visual\.trunk\.final_conv\.se\.fc2\.": "image_encoder.model.conv_exp.se.expand.",
        r"^visual\.trunk\.final_conv\.": "image_encoder.model.conv_exp.",
        r"^visual\.trunk\.head\.fc\.weight$": "image_encoder.model.head.proj",
        r"\.conv_kxk\.": ".rbr_conv.",
        r"\.conv_scale\.": ".rbr_scale.",
        r"\.identity\.": ".rbr_skip.",
        r"\.large_conv\.": ".lkb_origin.",
        r"\.mlp\.(?!c_)": ".convffn.",
        r"\.pos_enc\.": ".pe.",
        r"\.gamma$": "",
        r"^text\.token_embedding\.": "text_encoder.embedding_layer.",
        r"^text\.positional_embedding$": "text_encoder.positional_embedding.pos_embed.pos_embed",
        r"^text\.ln_final\.": "text_encoder.final_layer_norm.",
        r"^text\.text_projection$": "text_encoder.projection_layer",
        r"^text\.transformer\.resblocks\.": "text_encoder.transformer.",
        r"\.ln_1\.": ".pre_norm_mha.0.",
        r"\.ln_2\.": ".pre_norm_ffn.0.",
        r"\.attn\.in_proj_": ".pre_norm_mha.1.qkv_proj.",
        r"\.attn\.out_proj\.": ".pre_norm_mha.1.out_proj.",
        r"\.mlp\.c_fc\.": ".pre_norm_ffn.1.",
        r"\.mlp\.c_proj\.": ".pre_norm_ffn.4.",
    }.items():
        name = re.sub(theirs, own, name)
    return re.sub(
        r"^visual\.trunk\.stages\.(\d\.\w+)\.", lambda found: f"image_encoder.model.network.{NETWORK[found[1]]}.", name
    )


def own_tensors(tensors):
    """Tensors of open_clip as Apple has them."""
    own = {own_name(name): tensor for name, tensor in tensors.items() if name != "visual.trunk.head.fc.bias"}
    head, places = "image_encoder.model.head.proj", "text_encoder.positional_embedding.pos_embed.pos_embed"
    return own | {head: np.ascontiguousarray(own[head].T), places: own[places][None, None]}


def renamed(name):
    for pattern, replacement in mobileclip.renames({}):
        name = re.sub(pattern, replacement, name)
    return name


@pytest.mark.parametrize("config, tower", [("MobileCLIP-S1", "mci1"), ("MobileCLIP-S2", "mci2")])
def test_names_and_shapes(config, tower, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"image_cfg": {"image_size": 256, "model_name": tower}}))
    checkpoint = recognise(tmp_path)
    assert checkpoint.format is mobileclip.FORMAT
    row = checkpoint.row()
    theirs = open_clip.FORMAT.row(config_of(config, "datacompdr"))
    assert row["image_encoder"] == theirs["image_encoder"] | {"projection_bias": False}
    assert {key: row[key] for key in ("text_encoder", "images", "similarity", "tokenizer")} == {
        "text_encoder": theirs["text_encoder"],
        "images": {"decoding": row["images"]["decoding"]} | theirs["images"],
        "similarity": theirs["similarity"],
        "tokenizer": theirs["tokenizer"],
    }
    shapes = {name: np.broadcast_to(np.float32(0), shape) for name, shape in WHEEL[config]["tensors"].items()}
    stored = {name: tensor.shape for name, tensor in own_tensors(shapes).items()}
    assert sum(name.startswith(("visual", "text.")) for name in stored) == 0
    tensors = Shapes({renamed(name): shape for name, shape in stored.items()})
    assert len(tensors) == len(stored)
    check_tensors(
        mobileclip.entries(checkpoint.config, tensors), open_clip.DROP, without_values(build, row), tensors, "it"
    )


def test_numbers(tmp_path):
    expected = kzoo.from_preset(FIXTURE)
    expected.image_encoder.projection.bias.assign(np.zeros(24, "float32"))  # which Apple's has not
    text = CONFIG["text_cfg"] | {"context_length": 16, "vocab_size": 256, "dim": 32}
    text |= {"n_heads_per_layer": [4, 4], "n_transformer_layers": 2, "ffn_multiplier_per_layer": [4.0, 4.0]}
    image = {"image_size": 64, "model_name": "mci0"}
    (tmp_path / "config.json").write_text(json.dumps({"embed_dim": 24, "image_cfg": image, "text_cfg": text}))
    save_file(own_tensors(load_file(FIXTURE / "open_clip_model.safetensors")), tmp_path / "model.safetensors")
    checkpoint = recognise(tmp_path)
    arguments = json.loads((FIXTURE / "config.json").read_text())["model_args"]
    checkpoint.config["model_cfg"]["vision_cfg"]["timm_model_args"] = arguments  # no released tower is as small
    row, tensors = checkpoint.row(), checkpoint.tensors()
    model = build(row, preprocessor=checkpoint.preprocessor(row))
    checkpoint.check_tensors(tensors, model)
    checkpoint.fill(tensors, model, {})
    batch = {
        "images": np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "uint8"),
        "token_ids": np.load(FIXTURE / "inputs.npz")["input_ids"].astype("int32"),
    }
    for name, got in model(batch).items():
        np.testing.assert_array_equal(numpy(got), numpy(expected(batch)[name]), err_msg=name)
    model.save_to_preset(tmp_path / "open_clip", format="open_clip")
    again = kzoo.from_preset(tmp_path / "open_clip")
    np.testing.assert_array_equal(numpy(again(batch)["image_embeddings"]), numpy(model(batch)["image_embeddings"]))


WIDTH, LENGTH, KERNEL, HEADS = 32, 16, 11, 4


def mixed_text_tensors():
    """The text tower of MobileCLIP-S0 with one block, small and random, as Apple's code names and shapes it."""
    random = np.random.default_rng(5)

    def norm(name, offset=1.0):
        return {f"{name}.weight": offset + random.normal(0, 0.2, WIDTH), f"{name}.bias": random.normal(0, 0.2, WIDTH)}

    def batch_norm(name):
        statistics = {"running_mean": random.normal(0, 0.3, WIDTH), "running_var": random.uniform(0.5, 2, WIDTH)}
        return norm(name) | {f"{name}.{each}": value for each, value in statistics.items()}

    def linear(name, rows, columns, *ones):
        shape = (rows, columns, *ones)
        return {f"{name}.weight": random.normal(0, columns**-0.5, shape), f"{name}.bias": random.normal(0, 0.1, rows)}

    found = {"embedding_layer.weight": random.normal(0, 1, (256, WIDTH))}
    found["positional_embedding.pos_embed.pos_embed"] = random.normal(0, 1, (1, 1, LENGTH, WIDTH))
    found |= {"projection_layer": random.normal(0, 0.2, (WIDTH, 24))} | norm("final_layer_norm")
    for place in (0, 2):
        mixer, mlp = f"transformer.{place}.token_mixer", f"transformer.{place}.convffn"
        for name in (f"{mixer}.mixer.rbr_skip", f"{mixer}.mixer.rbr_conv.0.bn", f"{mixer}.norm.rbr_skip"):
            found |= batch_norm(name)
        for name in (f"{mixer}.mixer.rbr_conv.0.conv.weight", f"{mlp}.conv.conv.weight"):
            found[name] = random.normal(0, 0.3, (WIDTH, 1, 1, KERNEL))
        for name in (f"{mixer}.layer_scale", f"transformer.{place}.layer_scale"):
            found[name] = random.normal(0, 0.7, (WIDTH, 1, 1))
        found |= batch_norm(f"{mlp}.conv.bn") | linear(f"{mlp}.fc1", 4 * WIDTH, WIDTH, 1, 1)
        found |= linear(f"{mlp}.fc2", WIDTH, 4 * WIDTH, 1, 1)
    attention, mlp = "transformer.1.pre_norm_mha", "transformer.1.pre_norm_ffn"
    found |= norm(f"{attention}.0") | linear(f"{attention}.1.qkv_proj", 3 * WIDTH, WIDTH)
    found |= linear(f"{attention}.1.out_proj", WIDTH, WIDTH) | norm(f"{mlp}.0")
    found |= linear(f"{mlp}.1", 4 * WIDTH, WIDTH) | linear(f"{mlp}.4", WIDTH, 4 * WIDTH)
    return {f"text_encoder.{name}": value.astype("float32") for name, value in found.items()}


def mixed_text(tensors, token_ids):
    """The embeddings of texts by that tower, in float64 and step by step."""
    t = {name.removeprefix("text_encoder."): value.astype("float64") for name, value in tensors.items()}

    def batch_norm(name, x):
        mean, variance = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        return (x - mean) / np.sqrt(variance + 1e-5) * t[f"{name}.weight"] + t[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return centred / spread * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(name, x):
        weight = t[f"{name}.weight"]
        return x @ weight.reshape(weight.shape[:2]).T + t[f"{name}.bias"]

    def convolution(name, x):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (KERNEL // 2, KERNEL // 2), (0, 0))), KERNEL, axis=1
        )
        return np.einsum("blck,ck->blc", windows, t[f"{name}.weight"][:, 0, 0])

    def gelu(x):
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))

    def mixer(name, x):
        mixed = f"{name}.token_mixer"
        branches = batch_norm(f"{mixed}.mixer.rbr_conv.0.bn", convolution(f"{mixed}.mixer.rbr_conv.0.conv", x))
        branches += batch_norm(f"{mixed}.mixer.rbr_skip", x) - batch_norm(f"{mixed}.norm.rbr_skip", x)
        x = x + t[f"{mixed}.layer_scale"][:, 0, 0] * branches
        hidden = batch_norm(f"{name}.convffn.conv.bn", convolution(f"{name}.convffn.conv.conv", x))
        hidden = linear(f"{name}.convffn.fc2", gelu(linear(f"{name}.convffn.fc1", hidden)))
        return x + t[f"{name}.layer_scale"][:, 0, 0] * hidden

    def block(name, x):
        query, key, value = (
            each.reshape(*each.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)
            for each in np.split(
                linear(f"{name}.pre_norm_mha.1.qkv_proj", norm(f"{name}.pre_norm_mha.0", x)), 3, axis=-1
            )
        )
        scores = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]))
        seen = (scores / scores.sum(axis=-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + linear(f"{name}.pre_norm_mha.1.out_proj", seen)
        hidden = gelu(linear(f"{name}.pre_norm_ffn.1", norm(f"{name}.pre_norm_ffn.0", x)))
        return x + linear(f"{name}.pre_norm_ffn.4", hidden)

    x = t["embedding_layer.weight"][token_ids] + t["positional_embedding.pos_embed.pos_embed"][0]
    x = norm("final_layer_norm", mixer("transformer.2", block("transformer.1", mixer("transformer.0", x))))
    return x[np.arange(len(x)), token_ids.argmax(axis=1)] @ t["projection_layer"]


def test_the_text_tower_with_convolutions(tmp_path):
    text = CONFIG["text_cfg"] | {"context_length": LENGTH, "vocab_size": 256, "dim": WIDTH, "model_name": "mct"}
    text |= {"n_heads_per_layer": HEADS, "n_transformer_layers": 1}
    image = {"image_size": 64, "model_name": "mci0"}
    (tmp_path / "config.json").write_text(json.dumps({"embed_dim": 24, "image_cfg": image, "text_cfg": text}))
    images = own_tensors(load_file(FIXTURE / "open_clip_model.safetensors"))
    texts = mixed_text_tensors()
    rest = {name: each for name, each in images.items() if not name.startswith("text_encoder.")}
    save_file(rest | texts, tmp_path / "model.safetensors")
    checkpoint = recognise(tmp_path)
    checkpoint.config["model_cfg"]["vision_cfg"]["timm_model_args"] = json.loads((FIXTURE / "config.json").read_text())[
        "model_args"
    ]  # no released tower is as small
    row, tensors = checkpoint.row(), checkpoint.tensors()
    model = build(row, preprocessor=checkpoint.preprocessor(row))
    checkpoint.check_tensors(tensors, model)
    checkpoint.fill(tensors, model, {})
    ids = np.random.default_rng(1).integers(1, 255, (3, LENGTH))
    ids[np.arange(3), [4, 15, 9]] = 255
    expected = mixed_text(texts, ids)
    tower = model.text_encoder
    outputs = [numpy(each(ids.astype("int32"), training=False)["embedding"]) for each in (tower, tower.for_export())]
    for got in outputs:
        np.testing.assert_allclose(got, expected, atol=3e-5, rtol=1e-5)
    assert np.abs(expected).max() > 1 and tower.count_params() > tower.for_export().count_params()
    with pytest.raises(
        ValueError, match="cannot be written in the format of open_clip: it has no model of fastvit and"
    ):
        model.save_to_preset(tmp_path / "open_clip", format="open_clip")


def own_tensors_of_vit(tensors):
    """The same of MobileCLIP-B, whose head has no bias there."""
    own = {}
    for name, tensor in tensors.items():
        for theirs, its in {
            r"^visual\.trunk\.patch_embed\.backbone\.(\d)\.conv": r"image_encoder.model.patch_emb.\1.block.conv",
            r"^visual\.trunk\.patch_embed\.backbone\.(\d)\.bn": r"image_encoder.model.patch_emb.\1.block.norm",
            r"^visual\.trunk\.pos_embed": "image_encoder.model.pos_embed.pos_embed.pos_embed",
            r"^visual\.trunk\.head\.weight": "image_encoder.model.classifier.proj",
            r"^visual\.trunk\.norm": "image_encoder.model.post_transformer_norm",
            r"^visual\.trunk\.blocks\.(\d+)\.norm1": r"image_encoder.model.transformer.\1.pre_norm_mha.0",
            r"^visual\.trunk\.blocks\.(\d+)\.attn\.qkv": r"image_encoder.model.transformer.\1.pre_norm_mha.1.qkv_proj",
            r"^visual\.trunk\.blocks\.(\d+)\.attn\.proj": r"image_encoder.model.transformer.\1.pre_norm_mha.1.out_proj",
            r"^visual\.trunk\.blocks\.(\d+)\.norm2": r"image_encoder.model.transformer.\1.pre_norm_ffn.0",
            r"^visual\.trunk\.blocks\.(\d+)\.mlp\.fc1": r"image_encoder.model.transformer.\1.pre_norm_ffn.1",
            r"^visual\.trunk\.blocks\.(\d+)\.mlp\.fc2": r"image_encoder.model.transformer.\1.pre_norm_ffn.4",
            r"^visual\.trunk\.": "image_encoder.model.",
        }.items():
            name = re.sub(theirs, its, name)
        own[name] = tensor
    del own["image_encoder.model.head.bias"]
    head, places = "image_encoder.model.classifier.proj", "image_encoder.model.pos_embed.pos_embed.pos_embed"
    own |= {head: np.ascontiguousarray(own[head].T), places: own[places][None]}
    texts = {name: each for name, each in own.items() if name.startswith("text.")}
    rest = {name: each for name, each in own.items() if name not in texts}
    named = {own_name(name): each for name, each in texts.items()}
    where = "text_encoder.positional_embedding.pos_embed.pos_embed"
    return rest | named | {where: named[where][None, None]}


def test_the_vit_begins_a_pixel_before_the_picture(tmp_path):
    """Its numbers were compared with Apple's own code; timm's tower gives them for pictures that are moved so."""
    name = "oc_mobileclip_b_tiny"
    expected = opened(name, image_encoder={"epsilon": 1e-5})
    expected.image_encoder.projection.bias.assign(np.zeros(24, "float32"))
    text = CONFIG["text_cfg"] | {"context_length": 16, "vocab_size": 256, "dim": 32, "causal_masking": True}
    text |= {"n_heads_per_layer": 4, "n_transformer_layers": 2}
    config = {"embed_dim": 24, "image_cfg": {"image_size": 224, "model_name": "vit_b16"}, "text_cfg": text}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(
        own_tensors_of_vit(load_file(FIXTURES / name / "open_clip_model.safetensors")), tmp_path / "model.safetensors"
    )
    checkpoint = recognise(tmp_path)
    arguments = json.loads((FIXTURES / name / "config.json").read_text())["model_args"]
    checkpoint.config["model_cfg"]["vision_cfg"] |= {"timm_model_args": arguments, "image_size": 64}
    row, tensors = checkpoint.row(), checkpoint.tensors()
    model = build(row, preprocessor=checkpoint.preprocessor(row))
    checkpoint.check_tensors(tensors, model)
    checkpoint.fill(tensors, model, {})
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "uint8")
    ids = np.load(FIXTURES / name / "inputs.npz")["input_ids"][:2].astype("int32")
    moved = np.pad(images, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, :64, :64]
    got, theirs = model({"images": images, "token_ids": ids}), expected({"images": moved, "token_ids": ids})
    for output in theirs:
        np.testing.assert_allclose(numpy(got[output]), numpy(theirs[output]), atol=1e-6, err_msg=output)
    with pytest.raises(ValueError, match="cannot be written in the format of open_clip"):
        model.save_to_preset(tmp_path / "open_clip", format="open_clip")


def test_branches_that_are_merged_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    names = (
        "image_encoder.model.patch_embed.0.reparam_conv.weight",
        "image_encoder.model.network.1.proj.0.lkb_reparam.bias",
    )
    for name in names:
        others = {f"image_encoder.{number}": np.zeros(1, "float32") for number in range(99)}
        save_file({name: np.zeros(1, "float32")} | others, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=r"reparam_conv\..*: its branches are merged"):
            kzoo.from_preset(tmp_path)


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        (None, {"audio_cfg": {}}, "config.json says audio_cfg={}; this version knows embed_dim, image_cfg, text_cfg"),
        (
            "image_cfg",
            {"model_name": "mci3"},
            "says model_name='mci3'; this version knows 'mci0', 'mci1', 'mci2', 'vit_b16'",
        ),
        ("image_cfg", {"model_name": "vit_b16"}, "says image_size=256; this version builds that tower for 224 alone"),
        ("image_cfg", {"patch": 3}, "image_cfg says patch=3; this version knows image_size, model_name"),
        ("text_cfg", {"model_name": "mcx"}, "text_cfg says model_name='mcx'; this version knows 'base', 'mct'"),
        ("text_cfg", {"model_name": "mct", "causal_masking": True}, "text_cfg says causal_masking=True, which this"),
        ("text_cfg", {"no_pos_embedding": True}, "text_cfg says no_pos_embedding=True, which this version cannot"),
        ("text_cfg", {"norm_layer": "batch_norm"}, "text_cfg says norm_layer='batch_norm'"),
        ("text_cfg", {"n_heads_per_layer": [8] * 11}, r"n_heads_per_layer=\[8, .*; this version builds blocks that"),
        ("text_cfg", {"ffn_multiplier_per_layer": [4.0] * 11 + [2.0]}, "blocks that are all alike"),
        ("text_cfg", {"dim": "512"}, "text_cfg says dim='512', but"),
    ],
)
def test_what_is_refused(part, change, sentence, tmp_path):
    config = CONFIG | (change if part is None else {part: CONFIG[part] | change})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        recognise(tmp_path)
