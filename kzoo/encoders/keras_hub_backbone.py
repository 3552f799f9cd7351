"""What a backbone of keras-hub says of itself: its inputs, its outputs, its sizes."""

import inspect
from typing import Any

import keras
import numpy as np

from kzoo.extras import require
from kzoo.layers.patch_embedding import as_size

TEXT_INPUTS = {"token_ids", "padding_mask", "segment_ids"}


def open_backbone(backbone, dtype) -> Any:
    """The backbone itself, or the one that a config describes, built with the policy `dtype`."""
    models = require("keras_hub", "keras-hub", "A tower of keras-hub").models
    if isinstance(backbone, models.Backbone):
        return backbone
    if not isinstance(backbone, dict):
        raise TypeError(
            f"backbone is of type {type(backbone).__name__}, but a keras_hub.models.Backbone is expected; a task such "
            "as an ImageClassifier has one as its .backbone."
        )
    registered = keras.saving.get_registered_object(backbone.get("registered_name"))
    if not (inspect.isclass(registered) and issubclass(registered, models.Backbone)):
        raise ValueError(
            f"the config names {backbone.get('class_name')!r} as its backbone, which this keras-hub does not have; "
            "install the version that it was saved with."
        )
    config = backbone["config"] | {"dtype": keras.dtype_policies.serialize(keras.dtype_policies.get(dtype))}
    return keras.saving.deserialize_keras_object(backbone | {"config": config})


def takes_images(backbone) -> bool:
    """True for pictures, False for token ids; stops with a sentence for anything else."""
    shapes = {tensor.name: tuple(tensor.shape) for tensor in backbone.inputs}
    if len(shapes) == 1 and len(*shapes.values()) == 4:
        (shape,) = shapes.values()
        if shape[-1] != 3:
            raise ValueError(
                f"{type(backbone).__name__} takes pictures of shape {shape}, but (batch, height, width, 3) is "
                "expected; build it with three channels, channels last."
            )
        return True
    if "token_ids" in shapes and set(shapes) <= TEXT_INPUTS:
        return False
    raise ValueError(
        f"{type(backbone).__name__} takes the inputs {', '.join(sorted(shapes))}, but a tower takes one picture, or "
        "token_ids with perhaps padding_mask and segment_ids; give the part of it that does."
    )


def outputs_of(backbone) -> dict:
    """Symbolic `tokens` of a backbone, and `pooled` where it has a pooled output of its own."""
    output = backbone.output
    if isinstance(output, dict) and set(output) in ({"sequence_output"}, {"sequence_output", "pooled_output"}):
        names = {"sequence_output": "tokens", "pooled_output": "pooled"}
        return {names[name]: tensor for name, tensor in output.items()}
    if len(backbone.outputs) == 1:
        (output,) = backbone.outputs
        if len(output.shape) in (3, 4):
            return {"tokens": output}
        # only pooled: the tokens are what the last layer but the pooling ones returned
        candidates = [operation.output for operation in backbone.operations[1:]]
        tokens = [each for each in candidates if len(getattr(each, "shape", ())) in (3, 4)]
        if returns_only_pooled(backbone) and tokens:
            return {"tokens": tokens[-1], "pooled": output}
    names = ", ".join(output) if isinstance(output, dict) else f"{len(backbone.outputs)} without such names"
    raise ValueError(
        f"{type(backbone).__name__} has the outputs {names}, but a tower has one, or sequence_output with "
        "pooled_output; give the part of it that does."
    )


def returns_only_pooled(backbone) -> bool:
    """Whether a backbone pools its tokens and keeps them to itself."""
    return len(backbone.outputs) == 1 and len(backbone.outputs[0].shape) == 2


def tokens_before_patches(backbone, image_size, tokens_shape) -> int:
    """How many class and register tokens stand before the patches in `(batch, length, width)`."""
    grid = patch_grid(backbone, image_size)
    if grid is None or len(tokens_shape) != 3 or tokens_shape[1] is None:
        return 0
    return max(0, tokens_shape[1] - grid[0] * grid[1])


def patch_grid(backbone, image_size) -> tuple | None:
    """Rows and columns of the patches of a backbone that says how large one is, else None."""
    patch_size = getattr(backbone, "patch_size", None)
    if patch_size is None:
        return None
    return tuple(side // patch for side, patch in zip(image_size, as_size(patch_size)))


def image_size_of(backbone, image_size) -> tuple[int, int]:
    """`(height, width)` of the pictures: the backbone's own, or the one that is asked for."""
    fixed = tuple(backbone.inputs[0].shape[1:3])
    if image_size is None and None in fixed:
        raise ValueError(f"{type(backbone).__name__} takes pictures of any size; say which with image_size.")
    size = fixed if image_size is None else as_size(image_size)
    if any(side not in (None, wanted) for side, wanted in zip(fixed, size)):
        raise ValueError(
            f"image_size is {size}, but {type(backbone).__name__} was built for {fixed}; build it for the other size."
        )
    return size


def vocab_size_of(backbone, vocab_size) -> int:
    """Rows of the token table: the backbone's own word, or the one that is given where it says nothing."""
    said = getattr(backbone, "vocabulary_size", None) or getattr(backbone, "vocab_size", None)  # the second: ELECTRA
    if said is None and vocab_size is None:
        raise ValueError(f"{type(backbone).__name__} does not say how many ids it knows; say it with vocab_size.")
    if said is not None and vocab_size not in (None, said):
        raise ValueError(f"vocab_size is {vocab_size}, but {type(backbone).__name__} has {said} ids; leave it out.")
    return said or vocab_size


def context_length_of(backbone, context_length) -> int:
    """Most ids of a text: the one that is asked for, or as many as the backbone has positions for."""
    limit = getattr(backbone, "max_sequence_length", None)
    length = context_length or limit
    if length is None:
        raise ValueError(f"{type(backbone).__name__} takes texts of any length; say which with context_length.")
    if limit is not None and length > limit:
        raise ValueError(
            f"context_length is {length}, but {type(backbone).__name__} has positions for {limit} ids; choose at most "
            "as many."
        )
    return length


def per_channel(value, name) -> tuple:
    """Three numbers from one, or from three."""
    values = np.ravel(np.asarray(value, "float64")).tolist()
    if len(values) not in (1, 3):
        raise ValueError(f"{name} has {len(values)} values, but a number or one for each of 3 channels is expected.")
    return tuple(values * 3)[:3]
