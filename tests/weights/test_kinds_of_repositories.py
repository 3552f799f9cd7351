"""Folders as others lay them out, with files that are no model here: each is answered with what it is."""

import json
import re

import numpy as np
import pytest
import transformers as hf
from safetensors.numpy import save_file
from shared_case import TESTS
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

import kzoo
from kzoo.presets.foreign import recognise
from kzoo.weights import single_tower
from kzoo.weights.formats import FORMATS

pytestmark = pytest.mark.once
CLIP = json.loads((TESTS / "fixtures" / "hf_clip_tiny" / "config.json").read_text())
BASE = "openai/clip-vit-base-patch32"
PEFT = {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": BASE}}
ADAPTER = f"holds an adapter of PEFT for {BASE} (adapter_config.json), which is no model by itself; merge it there"
ELSEWHERE = "jina_clip eva_clip longclip open_clip blip_model mobileclip2 tips vision-text-dual-encoder".split()
FOREIGN = "CLIPSeg OwlViT GroupViT XCLIP Flava Git BridgeTower InstructBlip Vilt Kosmos2 Pix2Struct".split()
OC = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}


def open_clip(vision=None, text=None, steps=None, **more):
    parts = {"vision_cfg": OC["vision_cfg"] | (vision or {}), "text_cfg": OC["text_cfg"] | (text or {})}
    return {"open_clip_config.json": {"model_cfg": OC | parts | more, "preprocess_cfg": steps or {}}}


def laid_out(folder, files, tensors=None):
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    if tensors:
        (folder / tensors).parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": np.zeros(1, "float32")}, folder / tensors)
    return folder


@pytest.mark.parametrize(
    "files, tensors, sentence",
    [
        (PEFT, "adapter_model.safetensors", ADAPTER),
        (PEFT | {"config.json": CLIP}, "adapter_model.safetensors", ADAPTER),
        ({"config.json": CLIP, "clip-f16.gguf": "x"}, None, "it holds clip-f16.gguf, quantised weights of llama.cpp"),
        (
            {"config.json": CLIP | {"transformers.js_config": {"dtype": "q8"}}, "onnx/model.onnx": "x"},
            None,
            "it holds onnx/model.onnx, a graph of ONNX, not its weights by name",
        ),
        ({"config.json": CLIP, "tf_model.h5": "x"}, None, "it holds tf_model.h5, weights of transformers' TensorFlow"),
        ({"config.json": CLIP, "openvino_model.xml": "x"}, None, "it holds openvino_model.xml, a graph of OpenVINO"),
        ({"config.json": CLIP, "x.mlpackage/Manifest.json": {}}, None, "it holds x.mlpackage, a model of Core ML"),
        ({"config.json": CLIP}, "weights.00.safetensors", "it holds weights.00.safetensors, weights of MLX"),
        (
            {"config.json": CLIP},
            "model.fp16.safetensors",
            "it holds model.fp16.safetensors, a variant; give it the name",
        ),
        ({"config.json": CLIP, "README.md": "x"}, None, "has no model.safetensors: download the weights into it"),
        (
            {"config.json": CLIP | {"quantization": {"group_size": 64, "bits": 4}}},
            "model.safetensors",
            "config.json says quantization={'group_size': 64, 'bits': 4}, which this version cannot build",
        ),
        *(
            (
                {"config.json": CLIP | {"quantization_config": {"quant_method": method}}},
                "model.safetensors",
                f"config.json says quantization_config={{'quant_method': '{method}'}}, which this version cannot build",
            )
            for method in ("bitsandbytes", "gptq", "torchao")
        ),
        (
            {"config.json": CLIP | {"architectures": ["EvaCLIPModel"]}},
            "model.safetensors",
            "says architectures=['EvaCLIPModel']; of model_type 'clip' this version reads CLIPModel",
        ),
        (
            {"config.json": {"_class_name": "UNet2DConditionModel"}},
            "diffusion_pytorch_model.safetensors",
            "holds a UNet2DConditionModel of diffusers, which is no model of pictures and texts",
        ),
        (
            {"model_index.json": {"_class_name": "StableDiffusionPipeline"}, "text_encoder/config.json": {}},
            "text_encoder/model.safetensors",
            "holds a pipeline of diffusers (model_index.json); open a tower in a folder of it, such as text_encoder",
        ),
        (
            {"modules.json": [], "0_CLIPModel/config.json": CLIP},
            "0_CLIPModel/model.safetensors",
            "holds a model of sentence-transformers (modules.json); give the folder of its module",
        ),
        (open_clip({"timm_model_name": "resnet50", "timm_pool": "abs_attn"}), None, "says timm_model_name='resnet50'"),
        (open_clip({"timm_model_name": "vit_base_patch16_224", "timm_pool": "abs_attn"}), None, "timm_pool='abs_attn'"),
        (open_clip({"timm_model_name": "panderm_large"}), None, "says timm_model_name='panderm_large'; of timm's"),
        (open_clip({"input_patchnorm": True}), None, "vision_cfg says input_patchnorm=True, which this version cannot"),
        (open_clip({}, {"qk_norm": True}), None, "text_cfg says qk_norm=True, which this version cannot build"),
        (open_clip({}, {"hf_model_name": "google/gemma-2b"}), None, "says hf_model_name='google/gemma-2b'"),
        (open_clip(steps={"interpolation": "random"}), None, "interpolation"),
        (open_clip(steps={"resize_mode": "longest", "fill_color": 5}), None, "says fill_color=5"),
        ({"open_clip_config.json": OC}, None, "so it is the model_cfg of open_clip alone; write it"),
        ({"open_clip_config.json": {"model_cfg": "ViT-B-32"}}, None, "model_cfg"),
    ],
)
def test_what_it_is_and_what_to_do(files, tensors, sentence, tmp_path):
    folder = laid_out(tmp_path / "folder", files, tensors)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(sentence)):
        kzoo.from_preset(folder)


def refusal_of(config, folder):
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError) as error:
        recognise(folder)
    return str(error.value)


def test_every_other_model_of_transformers_is_refused_by_its_name(tmp_path):
    read = {each.value for each in FORMATS} | set(single_tower.MODEL_TYPES)
    others = [name for name in [*CONFIG_MAPPING_NAMES, *ELSEWHERE] if name not in read]
    assert len(others) > 300
    for model_type in others:
        assert f"of transformers with model_type '{model_type}'; this" in refusal_of(
            {"model_type": model_type}, tmp_path
        )
    for name in FOREIGN:
        config = getattr(hf, f"{name}Config")().to_dict()
        said = refusal_of(json.loads(json.dumps(config, default=str)), tmp_path)
        assert f"model_type '{config['model_type']}'" in said, name


@pytest.mark.parametrize("name", ["BlipModel", "BlipForQuestionAnswering", "CLIPSegModel", "CLIPSomethingElse"])
def test_other_classes_of_a_known_model_type(name, tmp_path):
    model_type = "blip" if name.startswith("Blip") else "clip"
    config = {"model_type": model_type, "architectures": [name], "text_config": {}, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"says architectures=\\['{name}'\\]; "):
        recognise(tmp_path).row()
