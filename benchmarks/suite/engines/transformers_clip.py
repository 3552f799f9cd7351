"""CLIP of transformers, on torch."""

from benchmarks.suite.cases import TRAINED
from benchmarks.suite.engines.on_torch import Torch
from benchmarks.suite.engines.torchvision_names import make_importable


def imported():
    """The classes of transformers."""
    make_importable()
    from transformers import CLIPConfig, CLIPModel

    return CLIPConfig, CLIPModel


def built(case):
    """The untrained model of a case."""
    CLIPConfig, CLIPModel = imported()
    size = case.numbers
    image = _stack(size.image) | {"image_size": size.image_size, "patch_size": size.patch_size}
    ids = {"bos_token_id": size.start_id, "eos_token_id": size.end_id, "pad_token_id": 0}
    text = _stack(size.text) | {"vocab_size": size.vocab_size, "max_position_embeddings": size.length} | ids
    for each in (image, text):
        each["projection_dim"] = size.embed_dim
    return CLIPModel(CLIPConfig(vision_config=image, text_config=text, projection_dim=size.embed_dim))


def _stack(stack):
    return {
        "hidden_size": stack.width,
        "num_hidden_layers": stack.depth,
        "num_attention_heads": stack.heads,
        "intermediate_size": stack.mlp_dim,
        "hidden_act": "quick_gelu",
    }


def prepare(case, options, about):
    if case.kind == "build":
        return lambda: built(case)
    if case.kind == "open":
        return lambda: _opened(options["made"]["checkpoint"][case.size])
    own, model = Torch(case), built(case)
    about["parameters"] = sum(each.numel() for each in model.parameters())
    own.placed(model, case.kind in TRAINED)
    images, texts = own.images(), own.texts()
    if case.kind in TRAINED:
        return own.step(model, lambda: model(input_ids=texts, pixel_values=images, return_loss=True).loss)

    def encode():
        found = model.get_image_features(images) if case.kind == "image" else model.get_text_features(texts)
        found = getattr(found, "pooler_output", found)  # in transformers 5 an object
        return found / found.norm(dim=-1, keepdim=True)

    return own.without_gradients(encode)


def _opened(folder):
    """A model with every weight read once: what maps a file reads it later."""
    model = imported()[1].from_pretrained(folder)
    for parameter in model.parameters():
        parameter.sum()
    return model
