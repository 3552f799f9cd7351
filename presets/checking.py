"""What is wrong with a folder that should hold a model, all of it at once. Of the model only its shapes are made."""

from copy import deepcopy

import keras
import numpy as np

from kzoo.files.findings import Findings, check_files
from kzoo.files.strict_json import read_json
from kzoo.files.words import said_by
from kzoo.files.writing import readable
from kzoo.keras_contact import build_without_values, give_state
from kzoo.layers.changed import change_again
from kzoo.layers.initializers import empty_weights, without_values
from kzoo.losses.spec import from_spec
from kzoo.models.checks import check_compile
from kzoo.presets import folder as preset_folder
from kzoo.presets import kept, schema
from kzoo.presets.build import build
from kzoo.presets.foreign import recognise
from kzoo.presets.table import flat
from kzoo.training.checkpoints import CHECKPOINTS, Checkpoints
from kzoo.training.optimizers import resolve_optimizer
from kzoo.training.run_state import check_fits, variables_of
from kzoo.weights.fields import problems_of_config
from kzoo.weights.filled import check_kinds

LARGEST_LOG = 88.0  # whose power float32 still has


def problems(folder) -> tuple:
    """Look through a folder in the layout of kzoo, transformers, open_clip or big_vision, or through the checkpoints of
    a training.

    Args:
        folder: path.

    Returns:
        `(layout, problems)`: the name of the library whose layout it is, `"training"`, or None where it is of none;
        list of sentences.

    Example:
        >>> problems("my_clip")
        ('kzoo', [])
    """
    folder, found = readable(folder), Findings()
    check_files(folder, found)
    if found:  # what cannot be read as a file is nothing that could be looked into
        return None, found
    path = folder / preset_folder.CONFIG_FILE
    config = found.attempt(read_json, path, None, False) if path.exists() else None
    if isinstance(config, dict) and "kzoo" in config:
        _check_kzoo(folder, found)
        return "kzoo", found
    if not path.exists() and Checkpoints(folder, 1).series.numbers():
        _check_checkpoints(folder, found)
        return "training", found
    checkpoint = found.attempt(recognise, folder)
    if checkpoint is not None:
        _check_checkpoint(checkpoint, found)
    elif not found:
        found.note(f"{folder} declares no model: it has no config of kzoo, transformers or open_clip.")
    return checkpoint and checkpoint.format.name, found


def _check_kzoo(folder, found):
    before = len(found)
    config = found.attempt(preset_folder.read_config, folder)
    if config is None:
        raw = read_json(folder / preset_folder.CONFIG_FILE, finite=False)
        if isinstance(raw.get("towers", {}), dict):
            for sentence in schema.problems(flat(raw), folder / preset_folder.CONFIG_FILE):
                found.note(sentence)
        return
    preprocessor = found.attempt(preset_folder.read_preprocessor, folder, config)
    file = found.attempt(_check_weights, folder, config, found)
    if file is None:
        file = found.attempt(kept.open_weights, folder, config)
    if file is None:
        return
    if len(found) == before:
        _check_shapes(folder, config, preprocessor, file, found)


def _check_shapes(folder, config, preprocessor, file, found):
    """Whether the file has a tensor for all that the model of the config keeps, and no other."""
    from kzoo.presets.loader import described

    model = found.attempt(described, folder, config, preprocessor)
    if model is None:
        return
    before = len(found)
    if "compile" in config:
        found.attempt(kept.check_state, file)
    beside = _changed("adapters", "frozen")  # paths of what is frozen may be those of adapters
    asked = {
        "loss": _loss,
        "compile": _options,
        "quantised": _changed("quantised"),
        "adapters": beside,
        "frozen": beside,
    }
    for name, made in asked.items():
        if config.get(name):
            found.attempt(_tried, folder, name, made, config, preprocessor)
    model = found.attempt(_restored, folder, config, preprocessor) if len(found) == before else None
    if model is None:
        return
    found.attempt(check_kinds, file, model.variables)
    for sentence in kept.misfits(_shapes(model), file, config):
        found.note(sentence)
    _check_checkpoints(folder / CHECKPOINTS, found, model)


def _restored(folder, config, preprocessor):
    """The model as it was saved, without values: quantised, and compiled where its training goes on."""
    from kzoo.presets.loader import built_by

    options = _options(config, preprocessor) if "compile" in config else None

    def restored():
        model = build(config, preprocessor=preprocessor)
        change_again(model, config)
        if options is not None:
            model.compile(**options)
            build_without_values(model.optimizer, model.trainable_variables)
        return model

    return without_values(built_by, restored, folder)


def _shapes(model):
    """Names and shapes of all that a model keeps in its file, which are made for a moment, one by one."""
    shapes = {}

    def note(name, array):
        shapes[name] = array.shape

    with empty_weights():
        give_state(model, note, training=True)
    return shapes


def _check_checkpoints(folder, found, model=None):
    """The checkpoints of a training, which are those of a model where it is known."""
    checkpoints = Checkpoints(folder, 1)
    for number in checkpoints.series.numbers():
        read = found.attempt(checkpoints.read, number)
        if read is not None and model is not None and model.compiled:
            variables = {name: each for name, each in variables_of(model).items() if not name.startswith("metrics/")}
            found.attempt(check_fits, read[1], variables, checkpoints.series.path(number))


def _tried(folder, name, made, *of_model):
    """What the config of a folder asks for, made without memory."""
    try:
        made(*of_model)
    except Exception as error:  # losses, optimizers and layers, also those of others, raise what they like
        place = folder / preset_folder.CONFIG_FILE
        raise ValueError(f"{place} says under {name!r} what cannot be done: {said_by(error)}.") from error


def _loss(config, preprocessor):
    without_values(from_spec, config["loss"])


def _options(config, preprocessor):
    """What `compile` is to be given; an optimizer counts its steps, so it is made with values."""
    options = {name: each for name, each in deepcopy(config["compile"]).items() if name != "epochs_made"}
    without_values(keras.saving.deserialize_keras_object, deepcopy(options.get("loss")))  # which Keras takes apart
    options = keras.saving.deserialize_keras_object(options)
    check_compile(options)
    resolve_optimizer(options.get("optimizer"))
    return options


def _changed(*names):
    """The model of a config, changed by some of what is said there."""

    def made(config, preprocessor):
        wanted = {name: config[name] for name in names if name in config}
        without_values(lambda: change_again(build(config, preprocessor=preprocessor), wanted))

    return made


def _check_checkpoint(checkpoint, found):
    from kzoo.presets.loader import described

    row = found.attempt(checkpoint.row)
    if row is None:
        for sentence in problems_of_config(checkpoint.config, checkpoint.format.file):
            found.note(sentence)
    else:
        found.attempt(checkpoint.preprocessor, row)
    tensors = found.attempt(checkpoint.tensors)
    if tensors is None:
        return
    model = None if row is None else found.attempt(described, checkpoint.folder, row, None, len(tensors))
    if model is not None:
        found.attempt(checkpoint.check_tensors, tensors, model)
    for name in tensors:
        if tensors.holds_floats(name):
            array = found.attempt(tensors.read, name)
            _check_scale(name, array, tensors.folder, found)


def _check_numbers(file, found):
    """NaN and infinities in the weights of a kzoo folder."""
    for name in file.shapes:
        if file.holds_floats(name):
            array = found.attempt(file.read, name)
            if array is not None:
                found.attempt(kept.check_numbers, file.path, name, array)
                _check_scale(name, array, file.path, found)


def _check_scale(name, array, place, found):
    of_scale = name.endswith("logit_scale") or name == "similarity/vars/0"
    if array is not None and of_scale and np.size(array) == 1 and float(np.ravel(array)[0]) > LARGEST_LOG:
        found.note(f"{name} in {place} is {float(np.ravel(array)[0]):g}, whose power no float32 can be.")


def _check_weights(folder, config, found):
    """The file of the weights, whose numbers are looked into."""
    with kept.opened(folder, config) as file:
        _check_numbers(file, found)
    return file
