"""Towers by the names of their modalities: what each reads of a batch, and its embedding."""

import inspect

from keras import ops


def input_names(tower, first):
    """Names of a batch's arrays that a tower takes, by position, where the first is called `first`.

    A tower that reads more finds it behind that name: `"view_1"`, `"view_1_padding_mask"`.
    """
    text = ("token_ids", "padding_mask") if hasattr(tower, "vocab_size") else ("images",)
    return (first, *(f"{first}_{name}" for name in getattr(tower, "reads", text)[1:]))


def embedding_of(tower, arrays, training=None, any_size=False):
    """What a tower makes of its arrays, None where one is not there: float tensor `(batch, embed_dim)`.

    A locked tower runs as in inference. `any_size` goes to towers that know it.
    """
    options = {"any_size": True} if any_size and takes_any_size(tower) else {}
    outputs = tower(*arrays, training=training and tower.trainable, **options)
    return outputs["embedding"] if isinstance(outputs, dict) else outputs


def takes_any_size(tower):
    """Whether a tower can be asked to take pictures of another size than its own."""
    return "any_size" in inspect.signature(tower.call).parameters


def embed_dim_of(tower, name):
    """Channels of a tower's embedding; stops with a sentence where it does not say."""
    if hasattr(tower, "embed_dim"):
        return tower.embed_dim
    shape = getattr(tower, "output_shape", None) if tower.built else None
    shape = shape.get("embedding") if isinstance(shape, dict) else shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(
            f"the width of what {name} ({type(tower).__name__}) gives is not known; expected a tower of kzoo, a keras "
            "model that was built, with an output (batch, width), or a layer with an attribute embed_dim."
        )
    return shape[-1]


def in_views(x, count):
    """`(count * batch, dim)` as a list of `count` float32 tensors `(batch, dim)`."""
    x = ops.reshape(ops.cast(x, "float32"), (count, -1, x.shape[-1]))
    return [x[number] for number in range(count)]
