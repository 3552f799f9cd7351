"""From a name or a folder to a model."""

import logging
from functools import partial
from pathlib import Path

import keras

from kzoo.encoders.tower import table_of
from kzoo.files.writing import readable
from kzoo.keras_contact import untracked
from kzoo.layers.changed import quantise_again
from kzoo.layers.initializers import empty_weights, without_values
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.positions import resize_grid, resize_sequence
from kzoo.presets import folder as preset_folder
from kzoo.presets import kept
from kzoo.presets.build import build, parts_of, with_own_vocabulary
from kzoo.presets.foreign import recognise, weight_files
from kzoo.presets.table import is_preset, read_row
from kzoo.weights import hub

logger = logging.getLogger("kzoo")


def from_preset(
    name, load_weights=True, image_size=None, context_length=None, dtype=None, vocab_size=None, verify=True
):
    """Open a model: architecture, tokenizer, image steps and weights, as one object.

    Args:
        name: a preset of `kzoo.list_presets()`; or a folder that `save_to_preset` wrote; or a folder with a checkpoint
            of transformers (`config.json`, `model.safetensors`), open_clip (`open_clip_config.json`,
            `open_clip_model.safetensors`) or big_vision (`open_clip_config.json`, one `.npz`); or
            `"hf://owner/name[@revision]"`, a repository of the Hugging Face Hub that holds one of these. Local
            folders never open a connection.
        load_weights: False builds the architecture with random weights and needs no network.
        image_size: side in pixels or `(height, width)`, where it differs from the preset's. The position table of
            loaded weights is then resampled (bicubic, antialiased).
        context_length: ids per text, where it differs from the preset's; the table is resampled linearly.
        dtype: a dtype policy such as `"mixed_bfloat16"`; default `"float32"` or the global policy.
        vocab_size: most ids of a vocabulary of its own, which the untrained model of a preset then learns by
            `model.preprocessor.adapt(captions)`, in place of the one that its released weights were trained with.
        verify: whether weights and vocabulary of a folder of kzoo's must be those that its config was saved with, by
            their fingerprints. False takes what fits, for those who have put another file there.

    Returns:
        `kzoo.models.DualEncoder`, or what of it the preset says: `Captioner`, `MatchingEncoder`.

    Raises:
        ValueError: unknown preset, a folder without a model, weights that do not fit their config or are not those
            that were saved with it, a `vocab_size` beside weights.
        FileNotFoundError: the weights are neither in the folder, in the hub's cache, nor on the hub.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.save_to_preset("my_clip")
        >>> model = kzoo.from_preset("my_clip")
    """
    name, path, row, title = str(name), Path(name), None, None
    if vocab_size is not None and (load_weights or not is_preset(name) or path.is_dir()):
        raise ValueError(
            f"vocab_size is {vocab_size}, which {name} cannot have: weights go with the vocabulary that they were "
            "trained with; take the name of a preset, with load_weights=False."
        )
    if name.startswith(hub.SCHEME):
        repo, revision = hub.split_name(name)
        title = repo.partition("/")[2]
        path = hub.fetch(repo, revision, _weight_files if load_weights else _no_files, name)
    elif not path.is_dir():
        row = read_row(name)  # raises for an unknown name, with the nearest ones
        if not load_weights:
            row = row if vocab_size is None else with_own_vocabulary(row, vocab_size)
            return _untrained(build(_sized(row, image_size, context_length), dtype), name)
        path = _fetched(row)
    else:
        path, title = readable(path), path.resolve().name
    checkpoint = recognise(path, title)
    if checkpoint is None:
        row = preset_folder.read_config(path)
        preprocessor = preset_folder.read_preprocessor(path, row, verify)
    else:
        row = _checked(checkpoint, row)
        preprocessor = checkpoint.preprocessor(row)
    sized = _sized(row, image_size, context_length)
    if not load_weights:
        return _untrained(build(sized, dtype, preprocessor), path)
    if checkpoint is None:
        written = (path / preset_folder.CONFIG_FILE).read_bytes()
        try:
            with kept.fingerprints(path, row, verify):
                model = _opened(path, row, sized, dtype, preprocessor)
        except ValueError:
            if (path / preset_folder.CONFIG_FILE).read_bytes() == written:
                raise
            # a training has saved its next epoch meanwhile
            return from_preset(name, load_weights, image_size, context_length, dtype, vocab_size, verify)
    else:
        model = _filled(checkpoint, row, sized, dtype, preprocessor)
    model.source = hub.name_of(path) or row.get("source")
    untracked(model, "trainings", tuple(row.get("trainings", ())))
    return model


def _filled(checkpoint, row, sized, dtype, preprocessor):
    """The model of a checkpoint, in memory once: names and shapes are compared before anything is allocated."""
    tensors = checkpoint.tensors()
    _check_depth(row, len(tensors), checkpoint.folder)
    try:
        stored = without_values(build, row, dtype)
    except ValueError as error:
        raise ValueError(f"the config in {checkpoint.folder} describes what cannot be built: {error}") from error
    checkpoint.check_tensors(tensors, stored)
    with empty_weights():
        model = build(sized, dtype, preprocessor)
    checkpoint.fill(tensors, model, _resampling(stored, model))
    return model


def _check_depth(row, count, folder):
    """A config that asks for more blocks than the file has tensors is wrong, and would take for ever to build."""
    for name, part in parts_of(row).items():
        depth = part.get("depth", 0)
        if not isinstance(depth, int) or depth > count:
            raise ValueError(f"the config in {folder} says {name} depth={depth}, but the file holds {count} tensors.")


def _opened(path, row, sized, dtype, preprocessor):
    """The model of a kzoo folder; where it is to have another size, through one of the size that was saved."""
    with empty_weights():
        model = build(row, dtype, preprocessor)
    changed = row.get("quantised", {})
    quantise_again(model, changed)
    goes_on = "compile" in row and sized == row
    if goes_on:
        model.compile_from_config(row["compile"])
    kept.read_weights(model, path, row, partly="compile" in row and not goes_on)
    if sized == row:
        return model
    stored = model
    with empty_weights():
        model = build(sized, dtype, preprocessor)
    quantise_again(model, changed)
    adapt = _resampling(stored, model)
    tables = {id(table_of(part)): path for path, part in _with_table(stored)}
    for old, new in zip(stored.weights, model.weights, strict=True):
        array = keras.ops.convert_to_numpy(old)
        new.assign(adapt[tables[id(old)]](array) if id(old) in tables else array)
    return model


def _with_table(model):
    """`(path of its position table, part)` of every tower and decoder of a model that has one."""
    for name, part in model.towers().items():
        if part.position_path is not None:
            yield f"{name}.{part.position_path}", part


def _resampling(stored, model):
    """Path of a position table -> function that resamples it from the size that is stored to the model's."""
    functions = {}
    for (path, old), (_, new) in zip(_with_table(stored), _with_table(model)):
        if old.position_grid is not None:
            functions[path] = partial(resize_grid, grid=old.position_grid, new_grid=new.position_grid)
        else:
            functions[path] = partial(resize_sequence, length=table_of(new).shape[0], extra=new.position_tail)
    return functions


def _sized(row, image_size, context_length):
    """The row with another image size and context length, where they are given and differ."""
    row = row | {name: dict(part) for name, part in parts_of(row).items()}
    image = row.get("image_encoder", {})
    if image_size is not None:
        if "image_size" not in image:
            raise ValueError(f"{row['preset']} takes pictures of any shape, so image_size={image_size} has no meaning.")
        if as_size(image_size) != as_size(image["image_size"]):
            image["image_size"] = image_size
    if context_length is not None:
        for part in parts_of(row).values():
            if "context_length" in part:
                part["context_length"] = context_length
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
    return hub.fetch(weights["repo"], weights.get("revision"), _weight_files, wanted)


def _weight_files(folder):
    return weight_files(folder) or [kept.WEIGHTS_FILE, kept.H5_FILE]


def _no_files(folder):
    return []


def _checked(checkpoint, row):
    """The row that describes a checkpoint: of the table where it was opened by name, else of its own config."""
    if row is None:
        return checkpoint.row()
    checkpoint.check(row)
    return row
