"""Layers that are not as they were built: quantised, with LoRA, frozen. How that is kept, copied and undone."""

import keras
import numpy as np
from keras import ops

from kzoo.files.words import on_one_line
from kzoo.keras_contact import found_anew, layers_within, memory_unsearched
from kzoo.layers.adapted import adapt_again, carry, described, merged_matrix, merging, updates_of
from kzoo.layers.locking import WITH_LORA, has_lora, lock_again, locked_paths
from kzoo.layers.matrices import matrix_of
from kzoo.types import Tensor

KERNEL = "0"  # what a layer calls its kernel among the variables that it stores
KEPT = ("int8", "int4", "float8")  # modes that a layer can be put into without data, and so from a file
CHANGES = ("quantised", "adapters", "frozen")  # what a file says of a model that was built and then changed


def multiplies_plainly(layer) -> bool:
    """Whether all that a `Dense` layer does is to multiply by its kernel and to add its bias, so that another may."""
    return layer.quantization_mode is None and not updates_of(layer)


def changes_of(model, attached=()) -> dict:
    """What a file has to say of a model that was changed since it was built, for `change_again`: of `CHANGES` those
    that there are.

    Args:
        model, attached: as `quantised` takes them.

    Raises:
        ValueError: as `quantised`.
    """
    found = (quantised(model, attached), described(model), locked_paths(model))
    return {name: each for name, each in zip(CHANGES, found) if each}


def change_again(model, found) -> None:
    """Change a model, freshly built, as `changes_of` found; other entries of a config may stand beside these.

    Raises:
        ValueError: layers or weights that the model does not have.
    """
    quantise_again(model, found.get("quantised", {}))
    adapt_again(model, found.get("adapters", ()))
    lock_again(model, found.get("frozen", ()))


def quantised(model, attached=()) -> dict:
    """What a file has to say of a model's quantised layers, for `quantise_again`.

    Args:
        model: a layer or model.
        attached: layers of it that are made later than the model is, such as its loss.

    Returns:
        dict: number of the layer -> its mode and, where it was given one, its configuration; as JSON can hold it.

    Raises:
        ValueError: layers of a mode that needs data (GPTQ, AWQ), or within `attached`: no file could be opened again.
    """
    found, later = {}, {id(each) for part in attached for each in layers_within(part)}
    for number, layer in enumerate(_without_updates(model)):
        mode = layer.quantization_mode
        if mode is None:
            continue
        if id(layer) in later:
            raise ValueError(f"{layer.path} of the loss is quantised to {mode}; compile the model again, then save it.")
        if mode not in KEPT:
            raise ValueError(
                f"{layer.path} is quantised to {mode}, which cannot be opened again; save the model before it is "
                f"quantised, or quantise it to {', '.join(KEPT)}."
            )
        config = layer.quantization_config if isinstance(layer, WITH_LORA) else None
        found[str(number)] = {"mode": mode, "config": config and keras.saving.serialize_keras_object(config)}
    return found


def quantise_again(model, found) -> None:
    """Put a model's layers, freshly built, into the modes that `quantised` found.

    Raises:
        ValueError: the place of a layer that the model does not have.
    """
    count = len(list(layers_within(model)))
    nowhere = next((number for number in found if number not in set(map(str, range(count)))), None)
    if nowhere is not None:
        raise ValueError(f"layer {on_one_line(nowhere)[:40]!r} is quantised there, but the model has {count}")
    with memory_unsearched(), np.errstate(invalid="ignore"):  # of what stands in weights that are not filled yet
        for number, layer in enumerate(layers_within(model)):
            entry = found.get(str(number))
            if entry is not None and layer.quantization_mode is None:
                layer.quantize(entry["mode"], config=keras.saving.deserialize_keras_object(entry["config"]))


def copy_weights(old, new) -> None:
    """Give a layer the weights of one of the same config: LoRA and adapters are merged, but for those that no kernel
    can hold, which the layer is given; what is quantised there becomes plain again.

    Args:
        old: any layer or model.
        new: freshly built from its config.

    Raises:
        ValueError: a quantised layer whose plain weights cannot be found.
    """
    given = []
    for source, target in zip(_without_updates(old), _without_updates(new), strict=True):
        if source.quantization_mode == target.quantization_mode:
            stored = {}
            source.save_own_variables(stored)  # with LoRA merged
            if merging(source) and not merging(target):
                stored[KERNEL] = matrix_of(source).folded(merged_matrix(source))
        else:
            stored = _plain(source)
        # copies: on jax a step takes the memory of what it was given
        _load(target, {name: np.array(ops.convert_to_numpy(value)) for name, value in stored.items()})
        given += [target] if updates_of(source) and carry(source, target) else []
    if given:
        found_anew([new, *given])


def _without_updates(layer):
    """A layer and all within it, but for what adapters have brought."""
    found = layers_within(layer)
    brought = {id(part) for each in found for update in updates_of(each).values() for part in layers_within(update)}
    return [each for each in found if id(each) not in brought]


def _load(layer, stored):
    layer.load_own_variables(stored)
    revive_lora(layer)


def revive_lora(layer) -> None:
    """Draw the first matrix of LoRA anew, in all layers where both are zero, as Keras leaves them when it opens a file
    in which they were merged: nothing would be learned from there on."""
    for each in layers_within(layer):
        if has_lora(each):
            a, b = (
                (each.lora_embeddings_a, each.lora_embeddings_b)
                if isinstance(each, keras.layers.Embedding)
                else (each.lora_kernel_a, each.lora_kernel_b)
            )
            if not (ops.convert_to_numpy(a).any() or ops.convert_to_numpy(b).any()):
                a.assign(keras.initializers.HeUniform()(a.shape, a.dtype))


def _plain(layer):
    """The variables of a quantised layer as it would keep them if it were not."""
    if isinstance(layer, keras.layers.Embedding):
        return {"0": layer(np.arange(layer.input_dim, dtype="int32"))}
    if isinstance(layer, keras.layers.Dense) and layer.activation is keras.activations.linear:
        return {"0": plain_kernel(layer)} | ({} if layer.bias is None else {"1": layer.bias})
    raise ValueError(
        f"{layer.path} is a quantised {type(layer).__name__}, whose plain weights cannot be found; export or save the "
        "model before it is quantised."
    )


def plain_kernel(layer) -> Tensor:
    """The kernel of a `Dense` layer as it multiplies by it, a float tensor: with LoRA, and without quantisation."""
    if merging(layer) and layer.quantization_mode in (None, "int8"):
        return matrix_of(layer).folded(merged_matrix(layer))
    if layer.quantization_mode is None:
        return ops.convert_to_tensor(layer.kernel)
    if layer.quantization_mode != "int8":
        if len(merging(layer)) < len(updates_of(layer)):
            raise NotImplementedError(
                f"{layer.path} is in {layer.quantization_mode} and has an adapter that no kernel can hold, so its own "
                "numbers are not to be had in floats; quantise to int8, or remove the adapter."
            )
        rows = np.eye(layer.kernel.shape[0], dtype="float32")
        return ops.cast(layer(rows), "float32") - ops.cast(layer(np.zeros_like(rows)), "float32")
    kernel, scale = (ops.cast(each, "float32") for each in (layer.kernel, layer.kernel_scale))
    if not layer.lora_enabled:
        return kernel / scale
    product = layer.lora_alpha / layer.lora_rank * ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)
    return (kernel - product) / scale + product  # Keras adds the product to the integers
