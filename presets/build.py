"""From a complete row to a model."""

from kzoo import encoders
from kzoo.keras_contact import untracked
from kzoo.layers.similarity import SimilarityHead
from kzoo.models import Captioner, DualEncoder, MatchingEncoder
from kzoo.preprocessing import ImageSteps, PatchSteps, Preprocessor
from kzoo.presets import folder as preset_folder

TOWERS = {
    tower.kind: tower
    for tower in (
        encoders.BertDecoder,
        encoders.BertEncoder,
        encoders.EfficientNet,
        encoders.MultimodalDecoder,
        encoders.NaFlexVisionTransformer,
        encoders.ResNet,
        encoders.TextDecoder,
        encoders.TextTransformer,
        encoders.VisionTransformer,
    )
}
TOWERS["keras_hub"] = encoders.from_keras_hub
MODELS = {model.kind: model for model in (DualEncoder, Captioner, MatchingEncoder)}
PARTS = ("image_encoder", "text_encoder", "text_decoder")  # towers that a row may have


def build(row, dtype=None, preprocessor=None):
    """The model of a complete row, with random weights."""
    towers = {name: _tower(row[name], name, dtype) for name in PARTS if row.get(name)}
    token_tower = towers.get("text_encoder") or towers["text_decoder"]
    if preprocessor is None:
        preprocessor = Preprocessor(image_steps(row), vocabulary=vocabulary_of(row))
    preprocessor.resize(getattr(towers["image_encoder"], "image_size", None), token_tower.context_length)
    similarity = row["similarity"]
    model = MODELS[row.get("model", DualEncoder.kind)](
        **({"text_encoder": None} | towers),
        similarity=None if similarity is None else _similarity(similarity),
        preprocessor=preprocessor,
        loss=row["loss"],
        name=row["preset"],
        dtype=dtype,
    )
    untracked(model, "layout", row.get("layout", {}))
    return model


def image_steps(row):
    """The image steps of a row."""
    image = row["image_encoder"]
    options = {name: value for name, value in row["images"].items() if name != "kind"}
    if image["kind"] == "naflex_vit":
        return PatchSteps(image["patch_size"], image["max_patches"], **options)
    return ImageSteps(image["image_size"], **options)


def vocabulary_of(row):
    """What a preprocessor without a tokenizer needs to know to get one, or to say where it is."""
    token_tower, rules = row.get("text_encoder") or row["text_decoder"], row["tokenizer"]
    known = {name: token_tower[name] for name in ("context_length", "vocab_size")} | {"rules": rules}
    if rules["kind"] == "trained_bpe":
        return known | {"train": token_tower["vocab_size"]}
    return known | {"source": row["weights"]["repo"] if row.get("weights") else "its checkpoint"}


def as_float32(model):
    """The model itself if it computes in float32, else a copy that does, with the same weights."""
    if all(tower.dtype_policy.name == "float32" for tower in model.towers().values()):
        return model
    copy = build(preset_folder.model_config(model), dtype="float32", preprocessor=model.preprocessor)
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(old)
    return copy


def _tower(config, name, dtype):
    config = dict(config)
    kind, trainable = config.pop("kind"), config.pop("trainable", True)
    if kind not in TOWERS:
        raise ValueError(f"the {name} is of kind {kind!r}; this version knows {', '.join(TOWERS)}.")
    return _locked(TOWERS[kind](name=name, dtype=dtype, **config), trainable)


def _similarity(config):
    config = dict(config)
    trainable = config.pop("trainable", True)
    return _locked(SimilarityHead(name="similarity", **config), trainable)


def _locked(layer, trainable):
    """The layer, locked after it was built: of one that is made locked, Keras would leave the sub-layers open."""
    if not trainable:
        layer.trainable = False
    return layer
