"""A layer once more, with weights of its own."""

from contextlib import nullcontext
from typing import Any

import keras

from kzoo.layers.changed import copy_weights


def copy_of(layer, scope=None) -> Any:
    """A copy of a built layer or model with the weights that it has now, locked where the layer is.

    LoRA is merged into the weights of the copy, and what is quantised becomes plain again.

    Args:
        layer: built, with a config.
        scope: what stands before the paths of the copy's weights.

    Raises:
        ValueError: the layer has no weights yet.
    """
    if not layer.built:
        raise ValueError(f"{layer.name} has no weights yet; build it before it is copied.")
    with keras.name_scope(scope) if scope else nullcontext():
        clones = isinstance(layer, keras.Model)  # of which some share layers, and from_config would share them too
        copy = keras.models.clone_model(layer) if clones else type(layer).from_config(layer.get_config())
        if not copy.built:
            copy.build_from_config(layer.get_build_config())
    copy_weights(layer, copy)
    if not layer.trainable:
        copy.trainable = False
    return copy
