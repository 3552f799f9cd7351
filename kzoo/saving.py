"""Opening a `.keras` file of a model of kzoo."""

from pathlib import Path

import keras

# Keras finds the classes in a file by the names under which they are registered, as these rooms are imported
from kzoo import encoders, layers, losses, models, training  # noqa: F401
from kzoo.adaptation.prompts import cocoop, coop, fedpgp, maple, mvlpt, vpt  # noqa: F401
from kzoo.arguments import FLAG, PATH, takes
from kzoo.files.opening import check_pointer
from kzoo.files.words import said_by
from kzoo.keras_contact import OF_TRAINING, left_over
from kzoo.layers.initializers import at_most
from kzoo.models.any_model import AnyModel
from kzoo.weights.filled import check_kinds, check_weights
from kzoo.weights.keras_file import weights_in


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
        ValueError: no file that `model.save` wrote, or one with other numbers than a model can have; what
            `keras.saving.load_model` says, such as of classes that it does not know.

    Example:
        >>> model.save("my_clip.keras")
        >>> model = kzoo.load_model("my_clip.keras")
    """
    if Path(filepath).is_dir():
        raise ValueError(f"{filepath} is a folder, but a file .keras is expected; kzoo.from_preset opens folders.")
    if "://" in str(filepath):
        return keras.saving.load_model(filepath, custom_objects, compile, safe_mode)
    path = Path(filepath)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; give one that model.save('model.keras') wrote.")
    if not path.name.endswith((".keras", ".h5", ".hdf5")):
        raise ValueError(f"{path} is no file of Keras by its ending; give one that ends in .keras.")
    check_pointer(path)
    if path.suffix != ".keras":
        return keras.saving.load_model(filepath, custom_objects, compile, safe_mode)
    held = weights_in(path)
    try:
        with at_most(2 * held.count(), path.name):  # two numbers of int4 are one in the file
            model = keras.saving.load_model(filepath, custom_objects, compile, safe_mode)
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # layers of a config, Keras and h5py raise whatever a file makes them stumble over
        raise ValueError(f"{path} cannot be opened: {said_by(error)}.") from error
    check_kinds(held, model.variables)
    check_weights(model, path)
    if hasattr(model, "towers"):  # of others Keras alone knows what they keep
        left = [name for name in left_over(model, held.shapes) if name.partition("/")[0] not in OF_TRAINING]
        if left:
            raise ValueError(f"{path} has {len(left)} tensors for which its model has no place, such as {left[0]}.")
    return model
