"""From a name or a folder to a model."""

import logging
from pathlib import Path

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.similarity import SimilarityHead
from kzoo.models import DualEncoder
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets import folder as preset_folder
from kzoo.presets.table import is_preset, read_row

logger = logging.getLogger("kzoo")

TOWERS = {tower.kind: tower for tower in (VisionTransformer, TextTransformer)}


def from_preset(name, load_weights=True, image_size=None, dtype=None):
    """Open a model: architecture, tokenizer, image steps and weights, as one object.

    Args:
        name: a preset of `kzoo.list_presets()`, or the path of a folder that `save_to_preset` wrote.
        load_weights: False builds the architecture with random weights and needs no network.
        image_size: side in pixels or `(height, width)`, where it differs from the preset's; only with
            `load_weights=False`.
        dtype: a dtype policy such as `"mixed_bfloat16"`; default `"float32"` or the global policy.

    Returns:
        `kzoo.models.DualEncoder`.

    Raises:
        ValueError: unknown preset, or a folder that does not hold a model of kzoo.
        FileNotFoundError: the weights are not on this machine.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.save_to_preset("my_clip")
        >>> model = kzoo.from_preset("my_clip")
    """
    path = Path(name)
    if is_preset(str(name)) and not path.is_dir():
        row = read_row(str(name))
        if load_weights:
            raise FileNotFoundError(_no_weights(row))
        model = build(row, image_size, dtype)
        logger.warning("%s was built with random weights (load_weights=False).", row["preset"])
        return model
    if not path.is_dir():
        read_row(str(name))  # raises, with the nearest names
    config = preset_folder.read_config(path)
    preprocessor = preset_folder.read_preprocessor(path, config)
    stored = preprocessor.images.image_size
    if load_weights and image_size is not None and as_size(image_size) != stored:
        raise ValueError(
            f"the weights in {path} belong to images of {stored} pixels (height, width), but "
            f"image_size={image_size} was asked for; leave it out, or start anew with load_weights=False."
        )
    model = build(config, image_size, dtype, preprocessor)
    if load_weights:
        preset_folder.read_weights(model, path)
    else:
        logger.warning("%s was built with random weights (load_weights=False).", path)
    return model


def build(row, image_size=None, dtype=None, preprocessor=None):
    """The model of a complete row, with random weights."""
    image_config = row["image_encoder"] | ({} if image_size is None else {"image_size": image_size})
    image_encoder = _tower(image_config, "image_encoder", dtype)
    text_encoder = _tower(row["text_encoder"], "text_encoder", dtype)
    if preprocessor is None:
        preprocessor = Preprocessor(ImageSteps(image_encoder.image_size, **row["images"]), vocabulary=_vocabulary(row))
    preprocessor.images.image_size = image_encoder.image_size
    return DualEncoder(
        image_encoder,
        text_encoder,
        SimilarityHead(name="similarity", **row["similarity"]),
        preprocessor,
        row["loss"],
        name=row["preset"],
        dtype=dtype,
    )


def as_float32(model):
    """The model itself if it computes in float32, else a copy that does, with the same weights."""
    towers = ("image_encoder", "text_encoder")
    if all(getattr(model, name).dtype_policy.name == "float32" for name in towers):
        return model
    copy = build(preset_folder.model_config(model), dtype="float32", preprocessor=model.preprocessor)
    for name in (*towers, "similarity"):
        for new, old in zip(getattr(copy, name).weights, getattr(model, name).weights, strict=True):
            new.assign(old)
    return copy


def _tower(config, name, dtype):
    config = dict(config)
    kind = config.pop("kind")
    if kind not in TOWERS:
        raise ValueError(f"the {name} is of kind {kind!r}; this version knows {', '.join(TOWERS)}.")
    return TOWERS[kind](name=name, dtype=dtype, **config)


def _vocabulary(row):
    """What a preprocessor without a tokenizer needs to know to get one, or to say where it is."""
    context_length = row["text_encoder"]["context_length"]
    if row["tokenizer"]["kind"] == "trained_bpe":
        return {"train": row["text_encoder"]["vocab_size"], "context_length": context_length}
    source = row["weights"]["repo"] if row["weights"] else "CLIP's vocabulary, bpe_simple_vocab_16e6.txt.gz"
    return {"source": source, "context_length": context_length}


def _no_weights(row):
    name, weights = row["preset"], row["weights"]
    if weights is None:
        return (
            f"{name} has no released weights; build it untrained with from_preset({name!r}, load_weights=False), or "
            "open a folder of your own."
        )
    return (
        f"{name}: wanted {weights['file']} of {weights['repo']}, looked for a local folder {name!r}, and there is "
        "none; this version reads no hub. Open a folder that save_to_preset wrote, or build the model untrained "
        f"with from_preset({name!r}, load_weights=False)."
    )
