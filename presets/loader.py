"""From a name or a folder to a model."""

import logging
from functools import partial
from pathlib import Path

import keras

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.similarity import SimilarityHead
from kzoo.models import DualEncoder
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets import folder as preset_folder
from kzoo.presets.foreign import recognise, weight_stems
from kzoo.presets.table import read_row
from kzoo.weights import hub
from kzoo.weights.positions import resize_grid, resize_sequence

logger = logging.getLogger("kzoo")

TOWERS = {tower.kind: tower for tower in (VisionTransformer, TextTransformer)}


def from_preset(name, load_weights=True, image_size=None, context_length=None, dtype=None):
    """Open a model: architecture, tokenizer, image steps and weights, as one object.

    Args:
        name: a preset of `kzoo.list_presets()`; or a folder that `save_to_preset` wrote; or a folder with a CLIP or
            SigLIP checkpoint of transformers or open_clip (`config.json` with `model.safetensors`, or
            `open_clip_config.json` with `open_clip_model.safetensors`); or `"hf://owner/name[@revision]"`, a
            repository of the Hugging Face Hub that holds one of these. Local folders never open a connection.
        load_weights: False builds the architecture with random weights and needs no network.
        image_size: side in pixels or `(height, width)`, where it differs from the preset's. The position table of
            loaded weights is then resampled (bicubic, antialiased).
        context_length: ids per text, where it differs from the preset's; the table is resampled linearly.
        dtype: a dtype policy such as `"mixed_bfloat16"`; default `"float32"` or the global policy.

    Returns:
        `kzoo.models.DualEncoder`.

    Raises:
        ValueError: unknown preset, a folder without a model, weights that do not fit their config.
        FileNotFoundError: the weights are neither in the folder, in the hub's cache, nor on the hub.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.save_to_preset("my_clip")
        >>> model = kzoo.from_preset("my_clip")
    """
    name, path, row, title = str(name), Path(name), None, None
    if name.startswith(hub.SCHEME):
        repo, revision = hub.split_name(name)
        title = repo.partition("/")[2]
        path = hub.fetch(repo, revision, _weight_stems if load_weights else _no_stems, name)
    elif not path.is_dir():
        row = read_row(name)  # raises for an unknown name, with the nearest ones
        if not load_weights:
            return _untrained(build(_sized(row, image_size, context_length), dtype), name)
        path = _fetched(row)
    checkpoint = recognise(path, title)
    if checkpoint is not None:
        row = _checked(checkpoint, row)
        preprocessor, fill = checkpoint.preprocessor(row), checkpoint.fill
    else:
        row = preset_folder.read_config(path)
        preprocessor = preset_folder.read_preprocessor(path, row)
        fill = partial(preset_folder.read_weights, folder=path)
    sized = _sized(row, image_size, context_length)
    if not load_weights:
        return _untrained(build(sized, dtype, preprocessor), path)
    model = build(row, dtype, preprocessor)
    fill(model)
    if sized != row:
        stored, model = model, build(sized, dtype, preprocessor)
        copy_weights(stored, model)
    return model


def _sized(row, image_size, context_length):
    """The row with another image size and context length, where they are given and differ."""
    row = row | {name: dict(row[name]) for name in ("image_encoder", "text_encoder")}
    if image_size is not None and as_size(image_size) != as_size(row["image_encoder"]["image_size"]):
        row["image_encoder"]["image_size"] = image_size
    if context_length is not None:
        row["text_encoder"]["context_length"] = context_length
    return row


def _untrained(model, name):
    logger.warning("%s was built with random weights (load_weights=False).", name)
    return model


def _fetched(row):
    """The folder with a preset's released weights."""
    name, weights = row["preset"], row["weights"]
    if weights is None:
        raise FileNotFoundError(
            f"{name} has no released weights; build it untrained with from_preset({name!r}, load_weights=False), or "
            "open a folder of your own."
        )
    wanted = f"{name} has its weights in {weights['repo']} on the Hugging Face Hub"
    return hub.fetch(weights["repo"], weights.get("revision"), _weight_stems, wanted)


def _weight_stems(folder):
    return weight_stems(folder) or [preset_folder.WEIGHTS_FILE.partition(".")[0]]


def _no_stems(folder):
    return []


def _checked(checkpoint, row):
    """The row that describes a checkpoint: of the table where it was opened by name, else of its own config."""
    if row is None:
        return checkpoint.row()
    checkpoint.check(row)
    return row


def build(row, dtype=None, preprocessor=None):
    """The model of a complete row, with random weights."""
    image_encoder = _tower(row["image_encoder"], "image_encoder", dtype)
    text_encoder = _tower(row["text_encoder"], "text_encoder", dtype)
    if preprocessor is None:
        preprocessor = Preprocessor(ImageSteps(image_encoder.image_size, **row["images"]), vocabulary=_vocabulary(row))
    preprocessor.resize(image_encoder.image_size, text_encoder.context_length)
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
    if all(getattr(model, name).dtype_policy.name == "float32" for name in ("image_encoder", "text_encoder")):
        return model
    copy = build(preset_folder.model_config(model), dtype="float32", preprocessor=model.preprocessor)
    copy_weights(model, copy)
    return copy


def copy_weights(source, model):
    """Give a model the weights of another of the same architecture; position tables of other sizes are resampled."""
    for name in ("image_encoder", "text_encoder", "similarity"):
        for new, old in zip(getattr(model, name).weights, getattr(source, name).weights, strict=True):
            if tuple(new.shape) == tuple(old.shape):
                new.assign(old)
    grids = (each.image_encoder.embedding.grid for each in (source, model))
    old, new = (each.image_encoder.embedding.position_embedding for each in (source, model))
    new.assign(resize_grid(keras.ops.convert_to_numpy(old), *grids))
    old, new = (each.text_encoder.position_embedding for each in (source, model))
    new.assign(resize_sequence(keras.ops.convert_to_numpy(old), new.shape[0]))


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
