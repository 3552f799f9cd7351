"""From a name or a folder to a model."""

import logging
import math
from pathlib import Path
from typing import Any

import keras

from kzoo.arguments import COUNT, FLAG, PATH, SIZE, shown, takes
from kzoo.encoders.tower import table_of
from kzoo.files import limits
from kzoo.files.words import said_by
from kzoo.files.writing import readable
from kzoo.handed_over import check_not_traced
from kzoo.keras_contact import untracked
from kzoo.layers.changed import change_again
from kzoo.layers.initializers import TooMany, at_most, built_together, filling, unfilled, without_values
from kzoo.models.any_model import AnyModel
from kzoo.presets import folder as preset_folder
from kzoo.presets import kept
from kzoo.presets.build import build, build_tower, parts_of, with_own_vocabulary
from kzoo.presets.foreign import recognise, weight_files
from kzoo.presets.other_names import means_repository, without_scheme
from kzoo.presets.sizes import resampling, sized, with_table
from kzoo.presets.table import is_preset, read_row
from kzoo.weights import hub, pickles
from kzoo.weights.blocks import check_blocks
from kzoo.weights.filled import check_kinds, check_ranges

logger = logging.getLogger("kzoo")


@takes(
    name=PATH.said("the name of a preset, such as 'clip_base', a folder, or hf://owner/name"),
    load_weights=FLAG,
    image_size=SIZE,
    context_length=COUNT,
    vocab_size=COUNT,
    verify=FLAG,
)
def from_preset(
    name, load_weights=True, image_size=None, context_length=None, dtype=None, vocab_size=None, verify=True
) -> AnyModel:
    """Open a model: architecture, tokenizer, image steps and weights, as one object.

    Args:
        name: a preset of `kzoo.list_presets()`; or a folder that `save_to_preset` wrote; or a folder with a checkpoint
            of transformers (`config.json`, `model.safetensors`), open_clip (`open_clip_config.json`,
            `open_clip_model.safetensors`) or big_vision (`open_clip_config.json`, one `.npz`); or
            `"hf://owner/name[@revision]"`, a repository of the Hugging Face Hub that holds one of these;
            `"owner/name"` alone means it, too, unless there is a folder `owner` here. Local folders never open a
            connection. Names of open_clip mean the preset of that model: `"ViT-B-32"`, with the tag of its weights
            `"ViT-B-32/laion2b_s34b_b79k"`, `"hf-hub:owner/name"`, `"local-dir:folder"`. Without a tag it is the
            preset that is called after the architecture, with its weights; what open_clip builds then, a model with
            random weights, is made by `load_weights=False`.
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
        the model that the preset names: `kzoo.DualEncoder`, `Captioner`, `MatchingEncoder`, `MultiEncoder`,
        `SelfSupervised`.

    Raises:
        ValueError: unknown preset, a folder without a model, weights that do not fit their config or are not those
            that were saved with it, a `vocab_size` beside weights.
        FileNotFoundError: the weights are neither in the folder, in the hub's cache, nor on the hub.
        RuntimeError: within a function that TensorFlow or jax traces.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.save_to_preset("my_clip")
        >>> model = kzoo.from_preset("my_clip")
    """
    check_not_traced(f"the model {name}")
    _check_dtype(dtype)
    name, row, title = without_scheme(str(name)), None, None
    path = _nameable(name)
    if vocab_size is not None and (load_weights or path.is_dir() or not is_preset(name)):
        raise ValueError(
            f"vocab_size is {vocab_size}, which {name} cannot have: weights go with the vocabulary that they were "
            "trained with; take the name of a preset, with load_weights=False."
        )
    if name.startswith(hub.SCHEME):
        path, title = from_hub(name, _weight_files if load_weights else _no_files)
    elif path.is_file():
        how = "kzoo.load_model opens it" if path.suffix == ".keras" else "give the folder that it lies in"
        if pickles.among([path.name]):
            how = "such files can run code when opened and are never read; give a folder with a config beside it"
        raise ValueError(f"{name} is a file, but the name of a preset or a folder is expected; {how}.")
    elif not path.is_dir() and not is_preset(name) and means_repository(name):
        path, title = from_hub(hub.SCHEME + name, _weight_files if load_weights else _no_files)
    elif not path.is_dir():
        row = read_row(name)  # raises for an unknown name, with the nearest ones
        if not load_weights:
            row = row if vocab_size is None else with_own_vocabulary(row, vocab_size)
            row = sized(row, image_size, context_length)
            return _untrained(build(row, dtype, towers=built_together(build_tower, parts_of(row), dtype)), name)
        path = _fetched(row)
    else:
        path, title = readable(path), path.resolve().name
    checkpoint = recognise(path, title)
    if checkpoint is None:
        row = preset_folder.read_config(path)
        preprocessor = preset_folder.read_preprocessor(path, row, verify)
    else:
        row = checked(checkpoint, row)
        preprocessor = checkpoint.preprocessor(row)
    wanted = sized(row, image_size, context_length)
    if not load_weights:
        return _untrained(_bounded(path, limits.PARAMETERS, "kzoo.files.limits", wanted, dtype, preprocessor), path)
    if checkpoint is None:
        written = (path / preset_folder.CONFIG_FILE).read_bytes()
        try:
            with kept.opened(path, row, verify) as file:
                model = _opened(file, path, row, wanted, dtype, preprocessor)
        except ValueError:
            if (path / preset_folder.CONFIG_FILE).read_bytes() == written:
                raise
            # a training has saved its next epoch meanwhile
            return from_preset(name, load_weights, image_size, context_length, dtype, vocab_size, verify)
    else:
        model = _filled(checkpoint, row, wanted, dtype, preprocessor)
    model.source = hub.name_of(path) or row.get("source")
    untracked(model, "trainings", tuple(row.get("trainings", ())))
    return model


def _filled(checkpoint, row, wanted, dtype, preprocessor):
    """The model of a checkpoint, in memory once: names and shapes are compared before anything is allocated."""
    tensors = checkpoint.tensors()
    check_depth(row, len(tensors), checkpoint.folder)
    made, stored = unfilled_as_stored(build, checkpoint.folder, row, wanted, dtype, preprocessor)
    checkpoint.check_tensors(tensors, stored)
    with filling(made) as model:
        checkpoint.fill(tensors, model, resampling(stored, model))
    check_ranges(model, checkpoint.folder)
    return model


def unfilled_as_stored(function, folder, row, wanted, *args) -> tuple:
    """What is to get its values from a folder, in names and shapes alone.

    Args:
        function: that builds it of a row and of `args`.
        folder: path.
        row: what the config of the folder describes.
        wanted: the row in the size that is wanted.
        *args: of the function.

    Returns:
        tuple of `Unfilled`, in the wanted size, and what it builds in the size that is stored: the same, if that is
        wanted.

    Raises:
        ValueError: it cannot be built.
    """
    if wanted == row:
        made = unfilled(built_by, function, folder, row, *args)
        return made, made.built
    stored = without_values(built_by, function, folder, row, *args)
    return unfilled(function, wanted, *args), stored


def described(folder, row, preprocessor=None, count=None, dtype=None) -> Any:
    """The model that the config in a folder describes, in names and shapes alone.

    Args:
        folder: path.
        row: complete row.
        preprocessor: of the model.
        count: of the tensors in the folder, where known.
        dtype: as in `from_preset`.

    Raises:
        ValueError: it cannot be built.
    """
    if count is not None:
        check_depth(row, count, folder)
    return without_values(_built, folder, row, dtype, preprocessor)


def _built(folder, *args):
    """What `build` makes of a row that a folder gave."""
    return built_by(build, folder, *args)


def built_by(function, folder, *args) -> Any:
    """What a function makes of a config that a folder gave.

    Raises:
        ValueError: it cannot be built; the sentence names the folder.
    """
    try:
        return function(*args)
    except (ImportError, TooMany):
        raise  # a library that is not installed; what is larger than its file
    except Exception as error:  # the layers of a config, and Keras itself, raise what they like
        raise ValueError(f"the config in {folder} describes what cannot be built: {said_by(error)}.") from error


def _bounded(folder, count, holder, *args):
    """As `_built`, with so many parameters at most."""
    try:
        with at_most(count, holder):
            return _built(folder, *args)
    except TooMany as error:
        raise ValueError(f"the weights in {folder} do not fit the model of config.json beside them: {error}") from error


def check_depth(row, count, folder) -> None:
    """A config that asks for more blocks than the file has tensors is wrong, and would take for ever to build."""
    for name, part in parts_of(row).items():
        check_blocks(part, count, folder, name)


def _opened(file, path, row, wanted, dtype, preprocessor):
    """The model of a kzoo folder; where it is to have another size, through one of the size that was saved."""
    check_depth(row, len(file.shapes), path)
    made = unfilled(_built, path, row, dtype, preprocessor)
    if row.get("quantised"):
        _check_size(made.built, file, path)
    goes_on = "compile" in row and wanted == row
    with filling(made) as model:
        _apply(path, change_again, model, row)
        if not goes_on:
            _read(model, file, row)
    if goes_on:  # an optimizer is made for weights that have values
        _apply(path, model.compile_from_config, row["compile"])
        kept.check_state(file)
        _read(model, file, row)
    check_ranges(model, file.path)
    if wanted == row:
        return model
    stored, tables = model, {id(table_of(part)): path for path, part in with_table(model)}
    with filling(unfilled(build, wanted, dtype, preprocessor)) as model:
        change_again(model, row)
        adapt = resampling(stored, model)
        for old, new in zip(stored.weights, model.weights, strict=True):
            array = keras.ops.convert_to_numpy(old)
            new.assign(adapt[tables[id(old)]](array) if id(old) in tables else array)
    return model


def _read(model, file, row):
    check_kinds(file, model.variables)
    kept.read_weights(model, file, row, partly="compile" in row and not model.compiled)


def _check_size(model, file, path):
    """Stops where a model is larger than its file, before its weights are looked at to quantise them."""
    count = 2 * file.count()  # two numbers of int4 are one in the file
    needed = sum(math.prod(weight.shape) for weight in model.weights)
    if needed > count:
        raise ValueError(
            f"the weights in {path} do not fit the model of config.json beside them: it has {needed:,} parameters, but "
            f"{file.path.name} holds {count:,} numbers."
        )


def _apply(folder, change, *args):
    """Do to a model what the config in a folder says of it."""
    try:
        change(*args)
    except Exception as error:  # as above
        raise ValueError(f"the config in {folder} asks for what cannot be done: {said_by(error)}.") from error


def _check_dtype(dtype):
    if dtype is None:
        return
    try:
        keras.dtype_policies.get(dtype)
    except Exception as error:  # of Keras, of whatever kind
        wrong = ValueError if isinstance(dtype, str) else TypeError
        raise wrong(
            f"dtype is {shown(dtype)}; give a policy such as 'float32', 'bfloat16' or 'mixed_bfloat16'."
        ) from error


def _nameable(name):
    """The path that a name may be."""
    path = Path(name)
    try:
        path.exists()
    except OSError as error:  # too long for every disk, or in a folder that may not be looked into
        raise ValueError(f"there is no preset, and no folder, {name[:60]!r}...: {said_by(error.strerror)}.") from error
    return path


def _untrained(model, name):
    logger.warning("%s was built with random weights (load_weights=False).", name)
    return model


def _fetched(row):
    """The folder with a preset's released weights."""
    name, weights = row["preset"], row["weights"]
    if weights is None:
        lacking = f"the released weights of {name} are {row['unread']}" if "unread" in row else None
        raise FileNotFoundError(
            f"{lacking or f'{name} has no released weights'}; build it untrained with from_preset({name!r}, "
            "load_weights=False), or open a folder of your own."
        )
    wanted = f"{name} has its weights in {weights['repo']} on the Hugging Face Hub"
    return hub.fetch(weights["repo"], weights.get("revision"), _weight_files, wanted)


def from_hub(name, weights) -> tuple:
    """Folder and title of `"hf://owner/name[@revision]"`; `weights` as in `hub.fetch`."""
    repo, revision = hub.split_name(name)
    return hub.fetch(repo, revision, weights, name), repo.partition("/")[2]


def _weight_files(folder):
    return weight_files(folder) or [kept.WEIGHTS_FILE, kept.H5_FILE]


def _no_files(folder):
    return []


def checked(checkpoint, row) -> dict:
    """The row that describes a checkpoint: of the table where it was opened by name, else of its own config.

    Args:
        checkpoint: of the folder.
        row: of the table, or None.

    Raises:
        ValueError: the config describes another model than the row.
    """
    if row is None:
        return checkpoint.row()
    checkpoint.check(row)
    images = checkpoint.images(row)
    for name in sorted(images.keys() | row["images"].keys()):
        if images.get(name) != row["images"].get(name):
            logger.warning(
                "%s: the table says %s=%r of pictures, but its repository says %r; they are read as that says.",
                *(row["preset"], name, row["images"].get(name), images.get(name)),
            )
    return row | {"images": images}
