"""A model that was filled from files: whether it can compute with what it got."""

import math

import keras

from kzoo.files.numbers import check_finite

METRICS = ("_loss_tracker", "_compile_metrics", "_metrics")
TRAINING = ("optimizer", *METRICS, "_compile_loss")  # beside the layers


def check_kinds(file, variables) -> None:
    """Stops at tensors of a kzoo folder that are no floats, unless the model has variables of that shape which are
    none either: seeds, and what is quantised.

    Args:
        file: `Safetensors` or `Hdf5`.
        variables: all of the model.
    """
    meant = {tuple(each.shape) for each in variables if not str(each.dtype).startswith(("float", "bfloat"))}
    for name, shape in file.shapes.items():
        if name.split("/", 1)[0] not in TRAINING and not file.holds_floats(name) and shape not in meant:
            raise ValueError(f"{name} in {file.path} is of {file.dtypes[name]}, but the model has floats there.")


def check_weights(model, place) -> None:
    """Stops at weights that are NaN or infinite, of a file whose reader does not look at them.

    Args:
        model: a filled kzoo model.
        place: what to call the file in the sentence.
    """
    for weight in model.weights:
        check_finite(keras.ops.convert_to_numpy(weight), f"{weight.path} in {place}")


def check_ranges(model, place) -> None:
    """Stops at a scale of similarities that float32 has no power for."""
    similarity = getattr(model, "similarity", None)
    if similarity is None:
        return
    scale, bias = similarity.numbers()
    if not (math.isfinite(scale) and scale > 0 and math.isfinite(bias)):
        held = next((each for each in (similarity.log_scale, similarity.temperature) if each is not None), None)
        value = "" if held is None else f" ({held.path} is {float(keras.ops.convert_to_numpy(held)):g})"
        raise ValueError(
            f"the similarity head in {place} has a scale of {scale:g} and a bias of {bias:g}{value}; a positive scale "
            "that float32 can hold is expected."
        )
