"""Anything that embeds, as a tower: the one place that looks at a layer to find out what it takes and gives."""

import inspect
from dataclasses import replace

import keras

from kzoo.encoders.keras_hub import from_keras_hub
from kzoo.encoders.layer_tower import LayerTower, packed_arrays
from kzoo.encoders.tower import FIRST, Input, Tower


def as_tower(layer, modality=None, called="the layer", **options) -> Tower:
    """A tower around a layer or model; a tower is given back as it is.

    Args:
        layer: a `Tower`; a layer or model of Keras, from one array, or several named ones, to a tensor
            `(batch, width)` or to a dict with `"embedding"` and perhaps `"tokens"` `(batch, length, width)` and
            `"token_mask"`; a module of torch, on that backend; a backbone of keras-hub, which becomes what
            `from_keras_hub` makes of it.
        modality: of what it reads: `"image"`, `"text"` or another, which is then also the name of its array. Default
            `"image"` for arrays `(height, width, 3)`, else `"features"`. A tower says it itself.
        called: what a sentence calls the layer.
        **options: what cannot be seen, each default found in the layer where it is there:

            - `inputs`: list of `Input`, for a layer that is not built or does not say what it was built for;
            - `embed_dim`: width of the embedding;
            - `token_dim`: channels of the tokens;
            - `vocab_size`: of token ids, which are then checked;
            - of a backbone of keras-hub: the arguments of `from_keras_hub`.

    Pictures come as pixels in [0, 255], channels last. A layer that wants others says so itself: a model of
    `keras.applications` without a rescaling of its own, such as MobileNetV2, stands behind
    `keras.layers.Rescaling(1 / 127.5, offset=-1.0)`, and a module of torch permutes them.

    Returns:
        Tower.

    Raises:
        TypeError: no layer, or an option that is not known.
        ValueError: a layer without weights yet, or one of whose output the width is not known.

    Example:
        >>> layer = keras.Sequential([keras.Input((80,)), keras.layers.Dense(16)])
        >>> as_tower(layer, "audio").inputs
        (Input(name='audio', shape=(80,), dtype='float32', optional=False),)
    """
    if isinstance(layer, Tower):
        if options:
            raise ValueError(
                f"{called} is a {type(layer).__name__}, which is a tower and declares all itself; leave out "
                f"{', '.join(options)}."
            )
        return layer
    if _is_backbone(layer):
        return from_keras_hub(layer, **options)
    layer = _torch_wrapped(layer)
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            f"{called} is of type {type(layer).__name__}, but a tower of kzoo, a layer or model of Keras or a backbone "
            "of keras-hub is expected."
        )
    return _around(layer, modality, called, **options)


def _around(layer, modality, called, inputs=None, embed_dim=None, token_dim=None, vocab_size=None, name=None):
    if inputs is not None and not layer.built:
        layer(*packed_arrays([_symbol(each) for each in inputs], None))
    if not layer.built:
        raise ValueError(
            f"the width of what {called} ({type(layer).__name__}) gives is not known, and it has no weights yet; build "
            "it, such as by a keras.Input at the start of a keras.Sequential, or say what it takes: as_tower(layer, "
            "inputs=[Input(name, shape, dtype)])."
        )
    found, packed = _inputs_of(layer)
    modality = modality or _modality_of(inputs or found)
    outputs = _outputs_of(layer, inputs or found, packed)
    return LayerTower(
        layer,
        modality,
        inputs or _named(layer, found, modality),
        embed_dim or _width_of(layer, outputs, called),
        token_dim or _last_side(outputs.get("tokens")),
        vocab_size or getattr(layer, "vocab_size", None),
        packed,
        any_size="any_size" in inspect.signature(layer.call).parameters,
        name=name,
    )


# -- inputs --
def _inputs_of(layer):
    """Inputs under the layer's own names, and how it takes them, as `LayerTower` has it."""
    tensors = getattr(layer, "inputs", None)
    if tensors:
        by_name = getattr(layer, "input", None)
        if isinstance(by_name, dict):
            return [Input(name, tensor.shape[1:], tensor.dtype) for name, tensor in by_name.items()], list(by_name)
        given = [Input(tensor.name, tensor.shape[1:], tensor.dtype) for tensor in tensors]
        return given, "list" if len(given) > 1 else None
    config = layer.get_build_config() or {}
    shapes = config.get("shapes_dict", {"features": config.get("input_shape")})
    names = {name.removesuffix("_shape"): _free(shape) for name, shape in shapes.items()}
    first, *others = names.items()
    given = [Input(*first, "float32")]
    return given + [Input(name, shape, "float32") for name, shape in others if shape is not None], None


def _free(shape):
    """The shape of one row of what a layer was built for, which binds it to the last side only; None if it has none."""
    if not isinstance(shape, (list, tuple)) or not all(side is None or isinstance(side, int) for side in shape):
        return None
    return (*(None for _ in shape[1:-1]), *shape[1:][-1:])


def _modality_of(inputs):
    shape = inputs[0].shape
    return "image" if shape is not None and len(shape) == 3 and shape[-1] == 3 else "features"


def _named(layer, inputs, modality):
    """The inputs with the names that a batch has for them."""
    if len(inputs) > 1:
        return inputs
    (given,) = inputs
    given = replace(given, name=FIRST.get(modality, modality))
    if modality != "text" or getattr(layer, "inputs", None):
        return [given]
    masked = "padding_mask" in inspect.signature(layer.call).parameters
    masks = [Input("padding_mask", (None,), "bool", optional=True)] if masked else []
    return [replace(given, shape=(None,), dtype="int32"), *masks]


# -- outputs --
def _symbol(given):
    return keras.KerasTensor((None, *given.shape), dtype=given.dtype)


def _outputs_of(layer, inputs, packed):
    """Name -> tensor without values of what a layer gives; nothing where that cannot be found out."""
    if any(each.shape is None for each in inputs):
        return {}
    try:
        outputs = layer.compute_output_spec(*packed_arrays([_symbol(each) for each in inputs], packed))
    except Exception:  # a layer may do with its arrays what cannot be done without values
        return {}
    return outputs if isinstance(outputs, dict) else {"embedding": outputs}


def _width_of(layer, outputs, called):
    """Channels of the embedding; stops with a sentence where nothing says them."""
    said = getattr(layer, "embed_dim", None)
    if said is not None:
        return said
    shape = getattr(outputs.get("embedding"), "shape", getattr(layer, "output_shape", None))
    if isinstance(shape, tuple) and len(shape) in (3, 4) and isinstance(shape[-1], int):
        pooling = f"keras.layers.GlobalAveragePooling{len(shape) - 2}D()"
        raise ValueError(
            f"{called} ({type(layer).__name__}) gives {shape}, but an output (batch, width) is expected, or a layer "
            f"with an attribute embed_dim; pool it: keras.Sequential([layer, {pooling}]), or say what it gives: "
            "as_tower(layer, embed_dim=...)."
        )
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            f"the width of what {called} ({type(layer).__name__}) gives is not known; expected a tower of kzoo, a "
            "keras model that was built, with an output (batch, width), or a layer with an attribute embed_dim; or say "
            "what it takes and gives: kzoo.encoders.as_tower(layer, inputs=[kzoo.encoders.Input('images', (height, "
            "width, 3), 'uint8')], embed_dim=...)."
        )
    return shape[-1]


def _last_side(tensor):
    return None if tensor is None else tensor.shape[-1]


# -- kinds --
def _is_backbone(layer):
    """Whether a layer is a backbone of keras-hub, which is not imported for the question."""
    ancestors = ((each.__module__.partition(".")[0], each.__name__) for each in type(layer).__mro__)
    return ("keras_hub", "Backbone") in ancestors


def _torch_wrapped(layer):
    """A module of torch as a layer of Keras; anything else as it is."""
    if keras.config.backend() == "torch" and not isinstance(layer, keras.layers.Layer):
        import torch

        if isinstance(layer, torch.nn.Module):
            return keras.layers.TorchModuleWrapper(layer)
    return layer
