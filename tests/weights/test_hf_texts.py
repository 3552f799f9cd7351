"""Text towers of transformers inside of open_clip's models: options and poolers that no fixture has."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy
from wheel import Shapes

import kzoo
from kzoo.encoders.t5 import T5Encoder, buckets_of
from kzoo.layers.initializers import without_values
from kzoo.presets.build import build, complete
from kzoo.presets.foreign import Checkpoint
from kzoo.weights import open_clip
from kzoo.weights.fields import Fields
from kzoo.weights.open_clip_tokenizer import read_tokenizer

pytestmark = pytest.mark.once  # the fixtures are compared on each backend
BIOMEDICAL = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
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


def test_a_caption_that_the_decoder_cannot_write_is_none_to_learn():
    """CoCa with RoBERTa: its decoder has a column for fewer ids than its text tower has rows."""
    model = kzoo.from_preset(TESTS / "fixtures" / "oc_coca_roberta_tiny")
    batch = {"images": np.zeros((2, 32, 32, 3), "uint8"), "token_ids": np.array([[0, 87, 2], [0, 88, 2]], "int32")}
    model.compile("adamw")
    with pytest.raises(ValueError, match="token_ids have 88, but the decoder of .* writes the ids 0 to 87 alone"):
        model.fit(batch, batch_size=2, verbose=0)
    model.compile("adamw", loss="InfoNCE")
    assert np.isfinite(model.evaluate(batch, batch_size=2, verbose=0)["loss"])


def tokenizer_of(**text):
    """Rules of the tokenizer of a model of open_clip whose `text_cfg` says this."""
    return read_tokenizer(Fields({"hf_tokenizer_name": "text_tower"} | text, "text_cfg"))


@pytest.mark.parametrize(
    "text, rules",
    [
        ({"hf_tokenizer_name": "google/mt5-base"}, {"kind": "sentencepiece", "pad_id": 0}),
        ({"hf_tokenizer_name": "facebook/nllb-200-distilled-600M"}, {"kind": "nllb", "pad_id": 1}),
        ({"hf_model_name": "google/mt5-xl"}, {"kind": "sentencepiece", "pad_id": 0}),
        ({"hf_model_name": "facebook/nllb-200-3.3B"}, {"kind": "nllb", "pad_id": 1}),
        ({"hf_model_name": "xlm-roberta-large"}, {"kind": "xlm_roberta", "pad_id": 1}),
        ({"hf_model_name": "roberta-large"}, {"kind": "roberta_bpe", "pad_id": 1}),
        ({"hf_tokenizer_name": BIOMEDICAL}, {"kind": "wordpiece", "pad_id": 0}),
        ({"hf_tokenizer_name": "bert-base-cased"}, {"kind": "wordpiece", "pad_id": 0, "lowercase": False}),
        ({"hf_tokenizer_name": "timm/ViT-B-16-SigLIP2"}, {"kind": "gemma", "pad_id": 0}),
        ({"hf_tokenizer_name": "timm/ViT-B-16-SigLIP-i18n-256"}, {"kind": "sentencepiece", "pad_id": 1}),
    ],
)
def test_the_vocabulary_of_a_tower_is_known_by_the_name_of_either(text, rules):
    assert tokenizer_of(**text) == {"clean": "whitespace"} | rules


def test_the_language_of_texts_is_read_and_written(tmp_path):
    checkpoint(tmp_path / "theirs", *TOWERS["m2m100_odd"])
    file = tmp_path / "theirs" / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"] |= {"tokenizer_kwargs": {"language": "fra_Latn"}, "context_length": 12}
    file.write_text(json.dumps(config))
    model = kzoo.from_preset(tmp_path / "theirs")
    assert model.preprocessor.rules()["language"] == "fra_Latn" and model.text_encoder.context_length == 12
    model.save_to_preset(tmp_path / "ours", format="open_clip")
    written = json.loads((tmp_path / "ours" / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    assert written["tokenizer_kwargs"] == {"language": "fra_Latn"} and written["hf_model_name"] == "text_tower"


def test_biomed_clip(tmp_path):
    """BiomedCLIP's config, which names its towers by the hub's names, and the names and shapes of its tensors."""
    text = {"hf_model_name": BIOMEDICAL, "hf_tokenizer_name": BIOMEDICAL, "hf_proj_type": "mlp", "context_length": 256}
    vision = {"timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False, "timm_pool": ""}
    model = {
        "embed_dim": 512,
        "vision_cfg": vision | {"timm_proj": "linear", "image_size": 224},
        "text_cfg": text | {"hf_pooler_type": "cls_last_hidden_state_pooler"},
    }
    checkpoint = Checkpoint(tmp_path, "biomed", open_clip.FORMAT, {"model_cfg": model, "preprocess_cfg": {}})
    row = checkpoint.row()
    built = without_values(build, row)
    checkpoint.check_tensors(Shapes(biomedical_tensors()), built)
    assert row["tokenizer"] == {"kind": "wordpiece", "clean": "whitespace", "pad_id": 0}
    assert (row["text_encoder"]["pool"], row["text_encoder"]["hidden_dim"]) == ("first", 640)
    row = row | {"model": "dual_encoder", "similarity": {"bias": None}}
    row |= {part: complete(row[part]) for part in ("image_encoder", "text_encoder")}
    row["image_encoder"]["image_size"] = [224, 224]
    written = open_clip.FORMAT.write_config(row)
    assert list(written) == ["open_clip_config.json"]
    again = written["open_clip_config.json"]["model_cfg"]
    assert again["text_cfg"] == model["text_cfg"]
    assert again["vision_cfg"]["timm_model_name"] == "vit_base_patch16_224"
    assert again["vision_cfg"]["timm_pool"] == "token"  # which is that tower's own, ""


def biomedical_tensors():
    """Name -> shape of BERT's base, a ViT of timm's with 16 pixels a patch, and what open_clip puts behind them."""

    def dense(name, out, width):
        return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}

    def norm(name):
        return {f"{name}.weight": (768,), f"{name}.bias": (768,)}

    bert, trunk = "text.transformer", "visual.trunk"
    tensors = {"logit_scale": (), "text.proj.0.weight": (640, 768), "text.proj.2.weight": (512, 640)}
    for table, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        tensors[f"{bert}.embeddings.{table}_embeddings.weight"] = (rows, 768)
    tensors |= norm(f"{bert}.embeddings.LayerNorm") | norm(f"{trunk}.norm")
    tensors |= {f"{trunk}.cls_token": (1, 1, 768), f"{trunk}.pos_embed": (1, 197, 768)}
    tensors |= {f"{trunk}.patch_embed.proj.weight": (768, 3, 16, 16), f"{trunk}.patch_embed.proj.bias": (768,)}
    tensors["visual.head.proj.weight"] = (512, 768)
    for number in range(12):
        layer, block = f"{bert}.encoder.layer.{number}", f"{trunk}.blocks.{number}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            tensors |= dense(f"{layer}.{name}", 768, 768)
        tensors |= dense(f"{layer}.intermediate.dense", 3072, 768) | dense(f"{layer}.output.dense", 768, 3072)
        tensors |= norm(f"{layer}.attention.output.LayerNorm") | norm(f"{layer}.output.LayerNorm")
        tensors |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        tensors |= dense(f"{block}.attn.qkv", 2304, 768) | dense(f"{block}.attn.proj", 768, 768)
        tensors |= dense(f"{block}.mlp.fc1", 3072, 768) | dense(f"{block}.mlp.fc2", 768, 3072)
    return tensors
