"""Layers with updates beside them: given, weighed, merged into the kernel and taken out of it, kept in files."""

from contextlib import ExitStack

import keras
from keras import ops

from kzoo.files.words import on_one_line
from kzoo.keras_contact import call_directly, call_through, found_anew, give_parts, layers_within, untracked
from kzoo.layers.bottleneck import Bottleneck
from kzoo.layers.locking import lock, unlock
from kzoo.layers.low_rank import LowRank
from kzoo.layers.matrices import matrix_of
from kzoo.layers.places import place_of
from kzoo.layers.prefix import Prefix
from kzoo.paths import layers, parameters
from kzoo.types import Tensor

KINDS = {"low_rank": LowRank, "bottleneck": Bottleneck, "prefix": Prefix}
ATTRIBUTE = "adapters"  # of a layer that has some: name -> update
KERAS_OWN = ("name", "dtype", "trainable")  # what Keras has in the config of an update
STEPS = ("train_function", "test_function", "predict_function")


def updates_of(layer) -> dict:
    """Name -> update, of a layer; {} of most."""
    return vars(layer).get(ATTRIBUTE) or {}


def adapted(model) -> dict:
    """Path -> layer, of those within a model that have updates."""
    return {path: layer for path, layer, _ in layers(model) if updates_of(layer)}


def names_in(model) -> list[str]:
    """Names of the updates in a model, sorted."""
    return sorted({name for layer in layers_within(model) for name in updates_of(layer)})


def give(model, name, paths, config, kind="low_rank") -> None:
    """Add an update to each of the layers at some paths of a model; it begins as none.

    Args:
        model: built.
        name: of the update.
        paths: list of paths of layers.
        config: dict, arguments of the update.
        kind: of it, one of `KINDS`.
    """
    known = {path: layer for path, layer, _ in layers(model)}
    for path in paths:
        _give(known[path], name, KINDS[kind], config)
    _changed(model, [known[path] for path in paths])


def _give(layer, name, kind, config):
    update, place = kind(**config, dtype=_in_floats(layer), name=name), place_of(layer)
    with ExitStack() as scopes:
        for part in layer.path.split("/"):  # by paths torch finds parameters
            scopes.enter_context(keras.name_scope(part))
        update.follow(place)
    # sorted: files know them by their order
    give_parts(layer, ATTRIBUTE, dict(sorted((updates_of(layer) | {name: update}).items())))
    call_through(layer, place.methods, _added(layer))


def take_away(model, name) -> None:
    """Remove an update from all layers of a model."""
    touched = [layer for layer in adapted(model).values() if name in updates_of(layer)]
    for layer in touched:
        left = {key: each for key, each in updates_of(layer).items() if key != name}
        if not left:
            call_directly(layer, place_of(layer).methods)
        give_parts(layer, ATTRIBUTE, left)
    _changed(model, touched)


def weigh(model, weights) -> None:
    """Set with what the updates of a model are added, and train those that are, at a weight other than 0.

    Args:
        model: with updates.
        weights: name -> number; 0 for those that are not named.
    """
    for name, update in _updates(model):
        update.weight.assign(weights.get(name, 0.0))
    _train(model, {name for name, weight in weights.items() if weight})


def merge(model) -> None:
    """Put what is added to each matrix into its kernel; nothing is added then, and nothing of it trained."""
    for layer in _with_matrices(model):
        merged = merged_matrix(layer)
        for each in merging(layer).values():
            if each.direction is not None:
                each.direction.factors.assign(each.direction.factor())
            each.merged.assign(ops.copy(each.weight))  # a step of jax lets go of its arrays: none may be two variables'
        _matrix(layer).assign(merged)
    _train(model, set())


def unmerge(model) -> None:
    """The inverse of `merge`, to the rounding of the kernels."""
    active = set()
    for layer in _with_matrices(model):
        matrix = _matrix(layer)
        kernel, scale = ops.cast(matrix.kernel(), "float32"), 1.0
        for name, each in merging(layer).items():
            weight, factor = _number(each.merged), 1.0 if each.direction is None else each.direction.factors
            kernel, scale = kernel - weight * factor * each.product(), scale + weight * (factor - 1.0)
            each.merged.assign(0.0)
            active |= {name} if weight else set()
        matrix.assign(kernel / scale)
    _train(model, active)


def is_merged(model) -> bool:
    """Whether the kernels of a model hold its updates."""
    return any(_number(each.merged) for layer in _with_matrices(model) for each in merging(layer).values())


def merging(layer) -> dict:
    """Name -> update, of those of a layer that its kernel can hold."""
    return {name: each for name, each in updates_of(layer).items() if each.merges}


def staying(layer) -> dict:
    """Name -> update, of those of a layer that no kernel can hold and that are active."""
    return {name: each for name, each in updates_of(layer).items() if not each.merges and _number(each.weight)}


def merged_matrix(layer) -> Tensor:
    """The matrix of a layer with all that is added to it, float32 tensor `(d_in, d_out)`; its gradient goes to the
    updates."""
    kernel = ops.cast(_matrix(layer).kernel(), "float32")
    return kernel + sum(each.added() * each.delta() for each in merging(layer).values())


def carry(old, new) -> bool:
    """Give a layer what another one of its config has beside it: those updates that both have get its numbers, and
    those that no kernel can hold are given.

    Returns:
        bool: whether some were given, so that the layers around have to be `found_anew`.
    """
    lacking = {name: each for name, each in staying(old).items() if name not in updates_of(new)}
    for name, each in lacking.items():
        _give(new, name, type(each), config_of(each))
    for name in updates_of(new).keys() & updates_of(old).keys():
        for target, source in zip(updates_of(new)[name].variables, updates_of(old)[name].variables, strict=True):
            target.assign(ops.copy(source))  # a step of jax lets go of the arrays of its model
    return bool(lacking)


def config_of(update) -> dict:
    """The arguments of an update, but for its name and dtype."""
    return {key: each for key, each in update.get_config().items() if key not in KERAS_OWN}


def described(model) -> list[dict]:
    """What a file has to say of the updates of a model, for `adapt_again`; as JSON can hold it: an entry for each name
    and what its layers have in common."""
    found = []
    for path, layer in adapted(model).items():
        for name, update in updates_of(layer).items():
            kind = next(kind for kind, made in KINDS.items() if type(update) is made)
            entry = {"name": name, "config": config_of(update), "kind": kind}
            same = [each for each in found if {key: each[key] for key in entry} == entry]
            if not same:
                same = [entry | {"layers": []}]
                found += same
            same[0]["layers"].append(path)
    return sorted(found, key=lambda each: each["name"])


def adapt_again(model, found) -> None:
    """Give a model, freshly built, the updates that `described` found; a model within it may have its own already.

    Raises:
        ValueError: layers that the model does not have, or that take no update.
    """
    known = {path: layer for path, layer, _ in layers(model)}
    before = {path: dict(updates_of(layer)) for path, layer in known.items()}
    for each in found:
        kind, config = each.get("kind", "low_rank"), each["config"]  # older files know one kind
        nowhere = next((path for path in each["layers"] if not takes(known.get(path), kind, config)), None)
        if nowhere is not None:
            raise ValueError(f"the model has no layer {on_one_line(nowhere)[:100]!r} that an adapter could be added to")
        there = {path for path in each["layers"] if _is(before[path].get(each["name"]), kind, config)}
        lacking = [path for path in each["layers"] if path not in there]
        twice = next((path for path in lacking if each["name"] in updates_of(known[path])), None)
        if twice is not None or len({*each["layers"]}) < len(each["layers"]):
            path = twice or next(path for path in each["layers"] if each["layers"].count(path) > 1)
            raise ValueError(f"the layer {on_one_line(path)[:100]!r} is given the adapter {each['name']!r} twice")
        give(model, each["name"], lacking, config, kind)


def _is(update, kind, config) -> bool:
    """Whether an update, or None, is the one that is told of."""
    return type(update) is KINDS[kind] and config_of(update) == config


def takes(layer, kind, config) -> bool:
    """Whether a layer, or None, has a place for an update of one of `KINDS`; of its config `parallel` tells where."""
    place, where = place_of(layer), {"parallel": config["parallel"]} if "parallel" in config else {}
    return place is not None and KINDS[kind].fits(place, **where)


def rates_of(model) -> dict:
    """Id of a variable -> what its learning rate is multiplied by, of the updates in a model."""
    return {id(update.b): update.rate_ratio for _, update in _updates(model) if update.rate_ratio != 1.0}


def _with_matrices(model):
    return [layer for layer in adapted(model).values() if merging(layer)]


def _updates(model):
    return [item for layer in adapted(model).values() for item in updates_of(layer).items()]


def _train(model, active):
    """Train the updates of these names, and no others."""
    names = {id(variable): name for name, update in _updates(model) for variable in update.trained()}
    found = [each for each in parameters(model) if id(each.variable) in names]
    lock(model, [each for each in found if names[id(each.variable)] not in active])
    unlock(model, [each for each in found if names[id(each.variable)] in active])


def _added(layer):
    """What is called in the place of a method that multiplies."""

    def around(method, x, *arguments, **keywords):
        y = method(x, *arguments, **keywords)
        updates = updates_of(layer).values()
        # of a kernel that holds the first ones the others would see no other output than this
        for group in ([each for each in updates if each.merges], [each for each in updates if not each.merges]):
            y = y + sum(each(x, y) for each in group) if group else y
        return y

    return around


def _in_floats(layer):
    """The dtype policy of a layer, without quantisation."""
    computes, holds = layer.compute_dtype, layer.variable_dtype
    return computes if computes == holds else f"mixed_{computes}"


def _matrix(layer):
    matrix = matrix_of(layer)
    if matrix is None:
        raise ValueError(f"{layer.path} takes no update of low rank")
    return matrix


def _number(variable):
    return float(ops.convert_to_numpy(variable))


def _changed(model, touched):
    """Steps that were compiled know other weights."""
    found_anew([model, *touched])
    for name in STEPS:
        if vars(model).get(name) is not None:
            untracked(model, name, None)
    vars(model).get("compiled_functions", {}).clear()
