"""A model that was filled from files: whether it can compute with what it got."""

import math

import keras

from kzoo.files.numbers import check_finite


def check_weights(model, place):
    """Stops at weights that are NaN or infinite, and where `check_ranges` does.

    Args:
        model: a filled kzoo model.
        place: what to call the file in the sentence.
    """
    for weight in model.weights:
        check_finite(keras.ops.convert_to_numpy(weight), f"{weight.path} in {place}")
    check_ranges(model, place)


def check_ranges(model, place):
    """Stops at a scale of similarities that float32 has no power for, and at variances below zero."""
    for weight in model.weights:
        if weight.path.endswith("moving_variance"):
            least = float(keras.ops.convert_to_numpy(weight).min())
            if least < 0:
                raise ValueError(f"{weight.path} in {place} holds {least:g}, which is no variance.")
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
