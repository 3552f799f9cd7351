"""One adapter as a small file of its own: LoRA in the layout of PEFT, others in kzoo's."""

import json
from difflib import get_close_matches
from pathlib import Path

from keras import ops

from kzoo.adaptation.adapter import PLAIN_NAME, add, check_new
from kzoo.adaptation.freezing import MODEL
from kzoo.adaptation.lora import LoRA, check_ranks
from kzoo.adaptation.own_files import read_own, write_own
from kzoo.arguments import FLAG, NAME, PATH, takes
from kzoo.files import disk
from kzoo.files.strict_json import read_object
from kzoo.files.tensor_file import write_tensors
from kzoo.files.words import on_one_line, said_by
from kzoo.files.writing import readable, writing
from kzoo.layers.adapted import adapted, described, names_in, updates_of
from kzoo.layers.matrices import matrix_of, refusal
from kzoo.paths import layers
from kzoo.presets.foreign_save import entries_of
from kzoo.weights import own_adapter, peft
from kzoo.weights.peft_joined import joined, parted
from kzoo.weights.tensors import TensorFiles


@takes(model=MODEL, folder=PATH, name=NAME, overwrite=FLAG)
def save_adapter(model, folder, name="default", overwrite=False) -> None:
    """Write one adapter of a model into a folder, without the model, LoRA as PEFT does.

    The files are `adapter_model.safetensors`, of a few megabytes, and `adapter_config.json`. Of LoRA on a model that
    transformers has, the names are its own, and PEFT opens the folder on it:
    `PeftModel.from_pretrained(CLIPModel.from_pretrained(...), folder)`. Of others they are kzoo's paths; PEFT
    has no file for bottlenecks and prefixes of these towers, and theirs are read by `load_adapter` alone.

    Args:
        model: with that adapter.
        folder: path; made if it is not there.
        name: of the adapter.
        overwrite: whether a model in the folder may be replaced; another adapter always is.

    Raises:
        ValueError: the adapter is not there, or is on layers that transformers holds in one tensor with others.
        OSError: the folder cannot be written, or holds something else.

    Example:
        >>> kzoo.adaptation.save_adapter(model, "birds_lora", name="birds")
    """
    if name not in names_in(model):
        raise ValueError(f"the model has no adapter {name!r}, but {', '.join(names_in(model)) or 'none at all'}.")
    told = [each for each in described(model) if each["name"] == name]
    if told[0]["kind"] != LoRA.kind:
        write_own(model, folder, told[0], _repository(getattr(model, "source", None)), overwrite)
        return
    configs = {path: each["config"] for each in told for path in each["layers"]}
    updated = {path: layer for path, layer in adapted(model).items() if name in updates_of(layer)}
    places = [place for place in _places(model) if any(path in updated for path in place.paths)]
    placed = {path for place in places for path in place.paths}
    lacking = next((path for path in updated if path not in placed), None)
    if lacking is not None:
        raise ValueError(
            f"transformers holds the kernel of {lacking} in a tensor that is no layer, for which PEFT has no adapter; "
            "save the model with save_to_preset, which merges it."
        )
    known = {path: layer for path, layer, _ in layers(model)}
    found = {place.module: _joined(place, known, configs, name) for place in places}
    content = peft.write_config(
        {module: config for module, (_, config) in found.items()}, _repository(getattr(model, "source", None))
    )

    def give(put):
        for place in places:
            arrays = found[place.module][0]
            for tensor, array in peft.to_tensors(place, arrays, _kernel_shape(place, known)).items():
                put(tensor, array)

    with writing(folder, "adapter", overwrite) as place:
        check = lambda tensor, array: peft.check_sane(array, f"{tensor} of the adapter")  # noqa: E731
        write_tensors(place / f"{peft.STEM}.safetensors", give, {"format": "pt"}, check)
        disk.write(place / peft.CONFIG_FILE, (json.dumps(content, indent=2) + "\n").encode())


@takes(model=MODEL, folder=PATH, name=PLAIN_NAME, any_base=FLAG)
def load_adapter(model, folder, name="default", any_base=False) -> list[str]:
    """Add an adapter that `save_adapter` or PEFT has written to a model, lock all else, and make it the active one.

    Args:
        model: of the shape that the adapter was trained on.
        folder: path with `adapter_model.safetensors` and `adapter_config.json`.
        name: of the adapter in the model, a new one.
        any_base: whether it may have been trained on the weights of another repository.

    Returns:
        list of the paths of the layers that have it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an adapter of another model, by its names, shapes, rank or base; one of another kind, or with what
            this version does not read. Nothing is changed.

    Example:
        >>> kzoo.adaptation.load_adapter(model, "birds_lora", name="birds")
        ['text_encoder.blocks.0.attention.query', 'text_encoder.blocks.0.attention.value', ...]
    """
    check_new(model, name)
    folder = readable(Path(folder))
    path = folder / peft.CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {peft.CONFIG_FILE}, so it is no adapter of PEFT or of save_adapter.")
    content = read_object(path)
    if own_adapter.KIND in content:
        _check_base(content.get("base_model_name_or_path"), getattr(model, "source", None), path, any_base)
        return read_own(model, folder, name, content, path)
    written = peft.read_config(content, path)
    config = _checked({key: each for key, each in written.items() if not key.endswith("_pattern")}, path)
    _check_base(content.get("base_model_name_or_path"), getattr(model, "source", None), path, any_base)
    found = peft.by_module(TensorFiles(folder, peft.STEM, endings=("safetensors",)), folder, _stop)
    places = _placed(model, found, folder)
    known = {each: layer for each, layer, _ in layers(model)}
    configs, arrays, of_modules = {}, {}, {}
    for module in places:
        of_modules[module] = _checked(config | peft.of_layer(written, module, path), path)
    if config["decomposed"] != any(peft.MAGNITUDE in each for each in found.values()):
        raise ValueError(f"{path} says use_dora={config['decomposed']}, but its tensors say otherwise.")
    single = {place.path: of_modules[module] for module, place in places.items() if len(place.paths) == 1}
    if single:
        check_ranks({each: matrix_of(known[each]) for each in single}, single)
    for module, place in places.items():
        own = of_modules[module]
        try:
            whole = peft.from_tensors(place, found[module], _kernel_shape(place, known), own["rank"])
        except ValueError as error:
            raise ValueError(f"{folder} is the adapter of another model: {error}.") from error
        peft.check_together(found[module], own, module, folder)
        widths = [known[each].kernel.shape[-1] for each in place.paths]
        parts = parted(whole, own, widths) if len(widths) > 1 else [(whole, own)]
        for each, (values, of_part) in zip(place.paths, parts):
            arrays[each], configs[each] = values, of_part
    check_ranks({each: matrix_of(known[each]) for each in configs}, configs)
    add(model, name, {each: configs[each] for each in arrays})
    for each, values in arrays.items():
        update = updates_of(known[each])[name]
        update.a.assign(values["a"])
        update.b.assign(values["b"])
        if update.direction is not None:
            update.direction.magnitude.assign(values["magnitude"])
    return list(arrays)


def _kernel_shape(place, known):
    """That of a layer, or of several one behind the other."""
    shapes = [tuple(known[path].kernel.shape) for path in place.paths]
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _joined(place, known, configs, name):
    """The arrays of an adapter at a place, and their config."""
    parts = []
    for path in place.paths:
        update = updates_of(known[path]).get(name)
        if update is None:
            parts.append(None)
            continue
        arrays = {"a": update.a, "b": update.b}
        if update.direction is not None:
            arrays["magnitude"] = update.direction.magnitude
        arrays = {key: ops.convert_to_numpy(ops.cast(each, "float32")) for key, each in arrays.items()}
        parts.append(arrays | {"config": configs[path]})
    if len(parts) == 1:
        return parts[0], configs[place.path]
    widths = [known[path].kernel.shape[-1] for path in place.paths]

    def lengths(number):
        kernel = matrix_of(known[place.paths[number]]).kernel()
        return ops.convert_to_numpy(ops.sqrt(ops.sum(ops.square(ops.cast(kernel, "float32")), axis=0)))

    return joined(parts, widths, lengths)


def _stop(sentence):
    raise ValueError(sentence)


def _checked(config, path):
    try:
        return LoRA(**config).config()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no adapter: {said_by(error)}.") from error


def _placed(model, found, folder):
    """Name of a layer in the file -> its `Place`."""
    for places in (_places(model), _own(model)):
        known = {place.module: place for place in places}
        if known.keys() & found.keys():
            break
    refused = {path: refusal(layer) for path, layer, _ in layers(model) if hasattr(layer, "kernel")}
    for module in found:
        if module not in known and refused.get(module):
            raise ValueError(f"{folder} updates {module}, which {refused[module]}, so that no update of it is read.")
        if module not in known:
            near = get_close_matches(module, known, 2)
            more = f"; the nearest are {' and '.join(near)}" if near else ""
            raise ValueError(
                f"{folder} is the adapter of another model: this one has no layer {on_one_line(module)[:100]}{more}."
            )
    return {module: known[module] for module in found}


def _places(model):
    """The layers of a model by the names of transformers, or else by their own paths."""
    preprocessor = getattr(model, "preprocessor", None)
    if preprocessor is None or preprocessor.images is None:
        return _own(model)
    try:
        entries = entries_of(model, "transformers")
    except ValueError:  # a model that it does not have
        return _own(model)
    known = {path: layer for path, layer, _ in layers(model)}
    return [
        place
        for place in peft.places(entries, model)
        if all(matrix_of(known[path]) is not None for path in place.paths)
    ]


def _own(model):
    return peft.own_places([path for path, layer, _ in layers(model) if matrix_of(layer) is not None])


def _check_base(said, source, path, any_base):
    """Stops at an adapter of other weights, where both are known by the names of their repositories."""
    base, own = _repository(said), _repository(source)
    if not any_base and None not in (base, own) and base != own:
        raise ValueError(
            f"{path} says base_model_name_or_path={base}, but the weights of this model are from {own}; open that one, "
            "or give any_base=True."
        )


def _repository(source):
    """`owner/name` of a source; None of what is none, such as a path."""
    if not isinstance(source, str):
        return None
    name = source.removeprefix("hf://").partition("@")[0]
    return (
        name
        if name.isprintable() and name.count("/") == 1 and not name.startswith((".", "/")) and all(name.split("/"))
        else None
    )
