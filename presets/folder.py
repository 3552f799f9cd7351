"""The folder that `save_to_preset` writes: config.json, model.weights.h5, tokenizer.json, README.md."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import keras

import kzoo
from kzoo.keras_contact import save_weights_alone
from kzoo.preprocessing import Preprocessor
from kzoo.presets.card import write_card
from kzoo.presets.table import flat
from kzoo.presets.trained import kept_loss

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
LAYERS = ("heads", "projector", "teacher")  # what a row may have beside towers, similarity and decoder
KEYS = ("preset", "similarity", "loss", "preprocessor")


def save_preset(model, folder, optimizer=False) -> None:
    """Write a model so that `from_preset(folder)` opens it on any backend.

    The files are written beside their places and moved there when they are whole: a folder that was there keeps the
    model that it had until then.

    Args:
        model: a kzoo model, with a preprocessor if it reads pictures or texts.
        folder: path; made if it is not there.
        optimizer: whether the state of the training goes with it, see `ContrastiveModel.save_to_preset`.

    Raises:
        ValueError: the model has no preprocessor, is of no kind that a preset can name, or is to be saved with an
            optimizer and has none.
    """
    if model.kind is None:
        raise ValueError(
            f"{type(model).__name__} is of no kind that a preset can name; save it with model.save('model.keras')."
        )
    check_preprocessor(model)
    if optimizer and not model.compiled:
        raise ValueError("the model is not compiled, so there is no optimizer to save; compile it, or save it without.")
    changed = model.check_quantised()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".saving-") as place:
        place = Path(place)
        preprocessor = None if model.preprocessor is None else model.preprocessor.save(place)
        config = model_config(model) | {"source": model.source, "trainings": list(model.trainings)}
        config |= {"loss": kept_loss(model), "preprocessor": preprocessor}
        if changed:
            config["quantised"] = changed
        if optimizer:
            config["compile"] = model.get_compile_config()
            model.save_weights(place / WEIGHTS_FILE)
        else:
            save_weights_alone(model, place / WEIGHTS_FILE)
        (place / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        for path in sorted(place.iterdir()):
            os.replace(path, folder / path.name)
    write_card(model, folder, "kzoo")


def check_preprocessor(model) -> None:
    """Stops with a sentence unless the model can read pictures."""
    if model.preprocessor is None and {"image", "text"} & {tower.modality for tower in model.modalities().values()}:
        raise ValueError("the model has no preprocessor, so a preset of it could read no picture; set one first.")


def model_config(model) -> dict:
    """The architecture of a model in the form of a complete row."""
    towers = {name: _tower_config(tower) for name, tower in model.towers().items()}
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
    config = {}
    if path.is_file():
        try:
            config = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict) or "kzoo" not in config:
        raise ValueError(
            f"{folder} holds no model that kzoo has written ({CONFIG_FILE} with a key 'kzoo', {WEIGHTS_FILE}); "
            "give a folder of model.save_to_preset, or a checkpoint of transformers or open_clip with its config."
        )
    config = flat(config)
    missing = [name for name in KEYS if name not in config]
    if not any(name.endswith("_encoder") for name in config):
        missing.append("image_encoder")
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; the folder is incomplete, save the model again.")
    return config


def read_preprocessor(folder, config) -> Preprocessor | None:
    """The preprocessor of a kzoo folder, None where it has none."""
    if config["preprocessor"] is None:
        return None
    try:
        return Preprocessor.load(folder, config["preprocessor"])
    except FileNotFoundError as error:
        raise ValueError(f"{folder} lacks {Path(error.filename).name}; the folder is incomplete.") from error


def read_weights(model, folder) -> None:
    """Fill a model from the weights file of a kzoo folder; every variable must be in it, in its shape."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; give the folder its weights, or build the model untrained with load_weights=False."
        )
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"the weights in {path} do not fit the model of {CONFIG_FILE} beside them: {error}") from error


def _tower_config(tower):
    return {"kind": tower.kind, **_own_config(tower), **_lock(tower)}


def _lock(layer):
    return {} if layer.trainable else {"trainable": False}


def _own_config(layer):
    return {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype", "trainable")}
