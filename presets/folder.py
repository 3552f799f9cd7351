"""The folder that `save_to_preset` writes: config.json, model.safetensors, tokenizer.json, README.md."""

import json

import keras

import kzoo
from kzoo.files import disk
from kzoo.files.schema import shown
from kzoo.files.strict_json import check_content, read_json
from kzoo.files.writing import writing
from kzoo.preprocessing import Preprocessor
from kzoo.presets import schema
from kzoo.presets.card import write_card
from kzoo.presets.kept import WEIGHTS_FILE, write_weights
from kzoo.presets.table import flat
from kzoo.presets.trained import kept_loss
from kzoo.weights import pickles

CONFIG_FILE = "config.json"
LAYERS = ("heads", "projector", "teacher")  # what a row may have beside towers, similarity and decoder
KEYS = ("preset", "similarity", "loss", "preprocessor")


def save_preset(model, folder, optimizer=False, overwrite=False, beside=None) -> None:
    """Write a model so that `from_preset(folder)` opens it on any backend.

    A folder that was there keeps the model that it had until the new one is whole; see `kzoo.files.writing`.

    Args:
        model: a kzoo model, with a preprocessor if it reads pictures or texts.
        folder: path; made if it is not there.
        optimizer: whether the state of the training goes with it, see `ContrastiveModel.save_to_preset`.
        overwrite: whether a model in another layout may be replaced.
        beside: dict of names of further files -> bytes, which are written and replaced together with the model.

    Raises:
        ValueError: the model has no preprocessor, is of no kind that a preset can name, or is to be saved with an
            optimizer and has none.
        OSError: the folder cannot be written, or holds something else.
    """
    if model.kind is None:
        raise ValueError(
            f"{type(model).__name__} is of no kind that a preset can name; save it with model.save('model.keras')."
        )
    check_preprocessor(model)
    if optimizer and not model.compiled:
        raise ValueError("the model is not compiled, so there is no optimizer to save; compile it, or save it without.")
    if optimizer and not model.optimizer.built:  # before a first step; what is opened is
        model.optimizer.build(model.trainable_variables)
    changes = model.changes()
    with writing(folder, "kzoo", overwrite) as place:
        preprocessor = None if model.preprocessor is None else model.preprocessor.save(place)
        config = model_config(model) | {"source": model.source, "trainings": list(model.trainings)}
        config |= {"loss": kept_loss(model), "preprocessor": preprocessor} | changes
        if optimizer:
            config["compile"] = model.get_compile_config()
        config["fingerprints"] = write_weights(model, place, optimizer)
        files = {CONFIG_FILE: (json.dumps(config, indent=2) + "\n").encode()} | (beside or {})
        for name, content in files.items():
            disk.write(place / name, content)
        write_card(model, place, "kzoo", instead_of=folder)


def check_preprocessor(model) -> None:
    """Stops with a sentence unless the model can read pictures."""
    if model.preprocessor is None and {"image", "text"} & {tower.modality for tower in model.modalities().values()}:
        raise ValueError("the model has no preprocessor, so a preset of it could read no picture; set one first.")


def model_config(model, in_place=None) -> dict:
    """The architecture of a model in the form of a complete row.

    Args:
        model: a kzoo model.
        in_place: name of a tower -> one that stands in its place.
    """
    towers = {name: _tower_config(tower) for name, tower in (model.towers() | (in_place or {})).items()}
    layers = {name: model.get_config().get(name) for name in LAYERS}
    # False is a part that was left out on purpose, where the default would be one
    layers = {name: keras.saving.serialize_keras_object(part) for name, part in layers.items() if part or part is False}
    return {
        "kzoo": kzoo.__version__,
        "preset": model.name,
        "model": model.kind,
        **towers,
        **layers,
        "similarity": model.similarity and _own_config(model.similarity) | _lock(model.similarity),
        "loss": list(model.loss_spec),
        "layout": dict(model.layout),
    }


def read_config(folder) -> dict:
    """The config of a kzoo folder; stops with a sentence for any other folder."""
    path = folder / CONFIG_FILE
    config = read_json(path, finite=False) if path.exists() else {}
    if not isinstance(config, dict) or "kzoo" not in config:
        held = pickles.among(each.name for each in folder.iterdir())
        raise ValueError(
            f"{folder} holds no model that kzoo has written ({CONFIG_FILE} with a key 'kzoo', {WEIGHTS_FILE}); "
            "give a folder of model.save_to_preset, or a checkpoint of transformers or open_clip with its config."
            f"{f' It holds {held[0]}, which can run code when opened and is never read.' if held else ''}"
        )
    # the record of a training may hold what diverged; nothing is computed from it
    check_content({name: value for name, value in config.items() if name != "trainings"}, path)
    if not isinstance(config.get("towers", {}), dict):
        raise ValueError(f"{path} says towers={shown(config['towers'])}, but an object is expected.")
    config = flat(config)
    missing = [name for name in KEYS if name not in config]
    if not any(name.endswith("_encoder") for name in config):
        missing.append("image_encoder")
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; the folder is incomplete, save the model again.")
    schema.check(config, path)
    return config


def read_preprocessor(folder, config, verify=True) -> Preprocessor | None:
    """The preprocessor of a kzoo folder, None where it has none.

    Args:
        folder: path.
        config: content of its config.
        verify: whether the vocabulary must be the one that was saved.
    """
    if config["preprocessor"] is None:
        return None
    try:
        return Preprocessor.load(folder, config["preprocessor"], verify)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error


def _tower_config(tower):
    return {"kind": tower.kind, **_own_config(tower), **_lock(tower)}


def _lock(layer):
    return {} if layer.trainable else {"trainable": False}


def _own_config(layer):
    return {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype", "trainable")}
