"""Opening a `.keras` file of a model of kzoo."""

import zipfile
from pathlib import Path

import keras

# Keras finds the classes in a file by the names under which they are registered, as these rooms are imported
from kzoo import encoders, layers, losses, models, training  # noqa: F401
from kzoo.adaptation.prompts import cocoop, coop, fedpgp, maple, mvlpt, vpt  # noqa: F401
from kzoo.arguments import FLAG, PATH, takes
from kzoo.files.opening import check_pointer
from kzoo.models.any_model import AnyModel


@takes(filepath=PATH, compile=FLAG, safe_mode=FLAG)
def load_model(filepath, custom_objects=None, compile=True, safe_mode=True) -> AnyModel:
    """Open a file that `model.save("model.keras")` wrote, of a model of kzoo or of one with parts of kzoo in it.

    `keras.saving.load_model` alone knows the classes of kzoo only once their rooms are imported, as this does.

    Args:
        filepath, custom_objects, compile, safe_mode: as in `keras.saving.load_model`.

    Returns:
        the model, with its optimizer and its loss where it was compiled and `compile` is True.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, TypeError: as `keras.saving.load_model` does.

    Example:
        >>> model.save("my_clip.keras")
        >>> model = kzoo.load_model("my_clip.keras")
    """
    if Path(filepath).is_dir():
        raise ValueError(f"{filepath} is a folder, but a file .keras is expected; kzoo.from_preset opens folders.")
    if "://" not in str(filepath):
        if not Path(filepath).exists():
            raise FileNotFoundError(f"there is no file {filepath}; give one that model.save('model.keras') wrote.")
        check_pointer(filepath)
        if not str(filepath).endswith((".keras", ".h5", ".hdf5")):
            raise ValueError(f"{filepath} is no file of Keras by its ending; give one that ends in .keras.")
        if str(filepath).endswith(".keras") and not zipfile.is_zipfile(filepath):
            raise ValueError(f"{filepath} is no file that model.save wrote, or not the whole of it; save it anew.")
    return keras.saving.load_model(filepath, custom_objects, compile, safe_mode)
