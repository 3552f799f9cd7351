"""Text towers of transformers inside of open_clip's models: options and poolers that no fixture has."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy

import kzoo
from kzoo.encoders.t5 import T5Encoder, buckets_of

EMBEDDINGS = 3e-6
FIXTURE = TESTS / "fixtures" / "oc_nllb_tiny"
MT5 = {"vocab_size": 90, "d_model": 24, "d_kv": 5, "d_ff": 30, "num_layers": 2, "num_heads": 3, "dropout_rate": 0.0}
M2M = {"vocab_size": 90, "encoder_layers": 1, "encoder_ffn_dim": 30, "decoder_layers": 1, "dropout": 0.0}
M2M |= {"encoder_attention_heads": 3, "decoder_attention_heads": 3}
BERT = {"vocab_size": 90, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 30}
BERT |= {"max_position_embeddings": 20, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TOWERS = {  # config, pooler, projection
    "mt5_plain": (hf.MT5Config(**MT5, feed_forward_proj="relu"), "mean_pooler", "linear"),
    "mt5_far": (
        hf.MT5Config(**MT5, relative_attention_num_buckets=8, relative_attention_max_distance=9, pad_token_id=3),
        "cls_pooler",
        "mlp",
    ),
    "mt5_alone": (hf.MT5Config(**MT5, feed_forward_proj="gated-silu"), "mean_pooler", None),
    "m2m100_gelu": (
        hf.M2M100Config(**M2M, d_model=24, activation_function="gelu", scale_embedding=False),
        "mean_pooler",
        "mlp",
    ),
    "m2m100_odd": (hf.M2M100Config(**M2M, d_model=27, pad_token_id=2), None, "linear"),
    "bert_pooler": (hf.BertConfig(**BERT), None, "linear"),
    "xlm_roberta": (hf.XLMRobertaConfig(**BERT, pad_token_id=1), "cls_pooler", "mlp"),
}


def checkpoint(folder, config, pooler, projection, embed_dim=24):
    """A model of open_clip with a random text tower, on the image tower of a fixture; and that tower."""
    torch.manual_seed(5)
    whole = hf.AutoModel.from_config(config)
    tower = (whole.encoder if config.is_encoder_decoder else whole).eval()
    with torch.no_grad():
        for name, tensor in tower.named_parameters():
            tensor.copy_(0.2 * torch.randn(tensor.shape) + ("norm" in name.lower() and tensor.ndim == 1))
    tensors = {name: each for name, each in load_file(FIXTURE / "open_clip_model.safetensors").items()}
    tensors = {name: each for name, each in tensors.items() if not name.startswith("text.")}
    state = {f"text.transformer.{name}": each.numpy() for name, each in tower.state_dict().items()}
    width, random = tower.config.hidden_size, np.random.default_rng(0)
    hidden = (width + embed_dim) // 2
    layers = {"mlp": {"0": (hidden, width), "2": (embed_dim, hidden)}, "linear": {"": (embed_dim, width)}, None: {}}
    layers = {f"text.proj.{n}.weight".replace("..", "."): shape for n, shape in layers[projection].items()}
    layers = {name: random.normal(size=shape).astype("float32") for name, shape in layers.items()}
    (folder / "text_tower").mkdir(parents=True)
    save_file(tensors | state | layers, folder / "open_clip_model.safetensors")
    (folder / "text_tower" / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    model = json.loads((FIXTURE / "open_clip_config.json").read_text())
    model["model_cfg"]["text_cfg"] = {"hf_model_name": "text_tower", "hf_tokenizer_name": "text_tower"}
    model["model_cfg"]["text_cfg"] |= {"hf_pooler_type": pooler, "hf_proj_type": projection}
    (folder / "open_clip_config.json").write_text(json.dumps(model))
    return tower, layers


def texts(config):
    ids = np.random.default_rng(1).integers(4, 90, (3, 18))
    for row, length in enumerate((18, 11, 3)):
        ids[row, length:] = config.pad_token_id
    return ids


def theirs(tower, layers, ids, pooler):
    """What open_clip makes of ids: the tower, its pooler, the projection."""
    mask = torch.tensor(ids != tower.config.pad_token_id).long()
    with torch.no_grad():
        outputs = tower(input_ids=torch.tensor(ids), attention_mask=mask)
        tokens = outputs.last_hidden_state
        if pooler == "mean_pooler":
            pooled = (tokens * mask.unsqueeze(-1)).sum(1) / mask.sum(-1, keepdim=True)
        else:
            pooled = outputs.get("pooler_output", tokens[:, 0])
        kernels = [torch.tensor(each) for each in layers.values()]
        if len(kernels) == 2:
            pooled = torch.nn.functional.gelu(pooled @ kernels[0].T)
        return tokens.numpy(), (pooled @ kernels[-1].T if kernels else pooled).numpy()


@pytest.mark.parametrize("name", TOWERS)
def test_equal_to_transformers_there_and_back(name, tmp_path):
    config, pooler, projection = TOWERS[name]
    tower, layers = checkpoint(tmp_path / "theirs", config, pooler, projection)
    model, ids = kzoo.from_preset(tmp_path / "theirs"), texts(config)
    tokens, embeddings = theirs(tower, layers, ids, pooler)
    got = model({"token_ids": ids.astype("int32")}, outputs=("text_tokens", "text_features"))
    np.testing.assert_allclose(numpy(got["text_tokens"]), tokens, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(numpy(got["text_features"]), embeddings, rtol=1e-5, atol=2e-5)
    model.save_to_preset(tmp_path / "ours", format="open_clip")
    before, after = (load_file(tmp_path / each / "open_clip_model.safetensors") for each in ("theirs", "ours"))
    before = {name: each for name, each in before.items() if ".pooler." not in name or pooler in (None, "cls_pooler")}
    assert before.keys() == after.keys() and all(np.array_equal(before[each], after[each]) for each in before)
    again = kzoo.from_preset(tmp_path / "ours")
    assert again.text_encoder.get_config() == model.text_encoder.get_config()


@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (32, 20), (6, 3), (64, 1000)])
def test_the_rows_of_distances_are_those_of_transformers(num_buckets, max_distance):
    distances = np.arange(-1500, 1500)
    attention = hf.models.mt5.modeling_mt5.MT5Attention
    expected = attention._relative_position_bucket(torch.tensor(distances), True, num_buckets, max_distance)
    np.testing.assert_array_equal(buckets_of(distances, num_buckets, max_distance), expected.numpy())


def test_a_distance_that_has_a_row_of_its_own():
    with pytest.raises(ValueError, match="max_distance is 8, but the first 8 distances of num_buckets=32 have a row"):
        T5Encoder(50, 8, width=16, depth=1, num_heads=2, max_distance=8)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            {"hf_pooler_type": "max_pooler"},
            "hf_pooler_type='max_pooler'; this version knows 'mean_pooler'",
        ),
        ({"hf_proj_type": "conv"}, "hf_proj_type='conv'; this version knows 'mlp' and 'linear'"),
    ],
)
def test_what_open_clip_has_not_is_refused(change, sentence, tmp_path):
    checkpoint(tmp_path / "theirs", *TOWERS["mt5_plain"])
    file = tmp_path / "theirs" / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"] |= change
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(tmp_path / "theirs")


@pytest.mark.parametrize(
    "part, change, sentence",
    [
        (
            "multimodal_cfg",
            {"width": 64},
            "multimodal_cfg says width=64, but the tokens of vision_cfg have 32 channels",
        ),
        ("text_cfg", {"width": 64}, "multimodal_cfg says width=32, but the tokens of text_cfg have 64 channels"),
        (
            "vision_cfg",
            {"timm_model_name": "vit_nano_patch8_siglip_32", "timm_pool": "map"},
            "only the ViT of open_clip gives them",
        ),
    ],
)
def test_a_captioner_whose_towers_do_not_fit_its_decoder(part, change, sentence, tmp_path):
    config = json.loads((TESTS / "fixtures" / "oc_coca_plain_tiny" / "open_clip_config.json").read_text())
    config["model_cfg"][part] |= change
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        kzoo.from_preset(tmp_path)


def test_a_text_tower_that_looks_ahead_writes_no_captions():
    model = kzoo.from_preset(TESTS / "fixtures" / "oc_coca_roberta_tiny")
    assert not model.can_write
    with pytest.raises(ValueError, match="writes no captions: its decoder reads the tokens of a BertEncoder, which"):
        model.generate(np.zeros((1, 32, 32, 3), "uint8"), prefix=[0], end_id=None)
