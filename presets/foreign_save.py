"""Models written as another library stores them."""

import inspect
import json

from kzoo.files import disk
from kzoo.files.numbers import check_finite
from kzoo.files.tensor_file import write_tensors
from kzoo.files.writing import writing
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.similarity import SimilarityHead
from kzoo.preprocessing.preprocessor import STEPS, TOKENIZER_FILE
from kzoo.presets import folder as preset_folder
from kzoo.presets.build import PARTS, TOWERS
from kzoo.presets.card import write_card
from kzoo.presets.foreign import plain
from kzoo.weights import collect_tensors
from kzoo.weights.format import STEPS_FILE
from kzoo.weights.formats import FORMATS

# how a tower computes, where the scale starts and ends, what becomes of odd pictures and half pixels: no other
# library's config says these
UNSTORED = ("name", "dtype", "trainable", "fused", "scale", "max_scale", "momentum", "decoding", "crop_rounding")
COMPARED = (*PARTS, "similarity", "images")
WRITTEN = ("transformers", "open_clip")


def save_checkpoint(model, folder, name, overwrite=False) -> None:
    """Write a model as another library stores it: its config, `*.safetensors`, `tokenizer.json`, a card.

    The config is read back before anything is written: where it would describe another model than this one,
    nothing is.

    Args:
        model: a `DualEncoder`, `Captioner` or `MatchingEncoder` with a preprocessor.
        folder: path; made if it is not there.
        name: `"transformers"` or `"open_clip"`.
        overwrite: whether a model in another layout may be replaced.

    Raises:
        ValueError: a format that is not known, or that cannot hold this model; the sentence says why.
        OSError: the folder cannot be written, or holds something else.
    """
    if name not in WRITTEN:
        raise ValueError(f"format {name!r} is unknown; choose one of kzoo, {', '.join(WRITTEN)}.")
    preset_folder.check_preprocessor(model)
    row = _row_of(model)
    format, files = _fitting(row, name)
    config = format.completed(files[format.file], lambda name: files.get(name, {}))
    entries, tokenizer = list(format.entries(config, ())), model.preprocessor.tokenizer
    with writing(folder, name, overwrite) as place:
        weights = place / f"{format.stem}.safetensors"
        write_tensors(
            weights, lambda put: collect_tensors(entries, model, put), metadata={"format": "pt"}, check=_check_numbers
        )
        if tokenizer is not None:
            disk.write(place / TOKENIZER_FILE, tokenizer.to_json().encode())
        for file, content in files.items():
            path = place / file
            if path.parent != place:
                disk.make_folder(path.parent)
            disk.write(path, (json.dumps(content, indent=2) + "\n").encode())
        write_card(model, place, name, instead_of=folder)


def entries_of(model, name) -> list:
    """The map of a model in the layout of another library, list of `kzoo.weights.mapping.Entry`.

    Args:
        model: as of `save_checkpoint`.
        name: `"transformers"` or `"open_clip"`.

    Raises:
        ValueError: that library cannot hold this model; the sentence says why.
    """
    preset_folder.check_preprocessor(model)
    format, files = _fitting(_row_of(model), name)
    return list(format.entries(format.completed(files[format.file], lambda name: files.get(name, {})), ()))


def _check_numbers(name, array):
    check_finite(array, f"{name} of the model")


def _fitting(row, name):
    """The format of a library that can say all of a row, and its config files."""
    kinds = tuple(row[part]["kind"] for part in PARTS if row.get(part))
    refusals = []
    for format in FORMATS:
        if format.name == name and kinds in format.holds:
            files, refusal = _described(format, row)
            if refusal is None:
                return format, files
            refusals.append(f"{format.value or format.name} {refusal}")
    reason = "; ".join(refusals) or f"it has no model of {' and '.join(kinds)}"
    raise ValueError(f"this model cannot be written in the format of {name}: {reason}.")


def _row_of(model):
    """A model as a complete row, with every argument of every part."""
    row = preset_folder.model_config(model)
    images = dict(model.preprocessor.images.get_config())
    row |= {"images": images, "tokenizer": model.preprocessor.rules()}
    return row | {part: _complete(part, row) for part in COMPARED if row.get(part) is not None}


def _described(format, row):
    """The config files of a row in a format, and what they do not say of it (None if they say all)."""
    try:
        files = format.write_config(row)
        if format.value and files[format.file]["model_type"] != format.value:
            return None, "is another model"
        config = format.completed(files[format.file], lambda name: files.get(name, {}))
        again = format.row(config, files.get(STEPS_FILE, {}))
    except (ValueError, KeyError, TypeError) as error:
        return None, f"cannot say it: {error}"
    for part in COMPARED:
        if (row.get(part) is None) != (again.get(part) is None):
            return None, f"has {'a' if row.get(part) is None else 'no'} {part}"
        got = {} if again.get(part) is None else _complete(part, again)
        for key, value in (row.get(part) or {}).items():
            if key not in UNSTORED and got.get(key) != value:
                return None, f"has no {part} with {key}={value!r}, only {got.get(key)!r}"
    return files, None


def _complete(part, row):
    """A part of a row with the defaults of its class, in one spelling."""
    config = dict(row[part])
    if part == "similarity":
        kind, owner = None, SimilarityHead
    elif part == "images":
        kind = config.pop("kind", "patches" if row["image_encoder"]["kind"] == "naflex_vit" else "pixels")
        owner = STEPS[kind]
    else:
        kind = config.pop("kind")
        owner = TOWERS[kind]
    parameters = inspect.signature(owner.__init__).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    config = {"kind": kind} | {key: plain(value) for key, value in (defaults | config).items()}
    if "mlp_dim" in config:
        config["mlp_dim"] = config["mlp_dim"] or 4 * config["width"]
    if "pool_heads" in config:
        heads, mlp_dim = config["pool_heads"] or config["num_heads"], config["pool_mlp_dim"] or config["mlp_dim"]
        unread = {"pool_heads": None, "pool_mlp_dim": None}
        of_pool = {"pool_heads": heads, "pool_mlp_dim": mlp_dim, "norm_tokens": True}
        config |= of_pool if config["pool"] == "attention" else unread
    if part == "images":
        config |= {"image_size": None, "patch_size": None, "max_patches": None}  # the tower's
    elif "image_size" in config:
        config["image_size"] = list(as_size(config["image_size"]))
    if config.get("pool") in ("last", "class_embedding", "average"):
        config["eot_id"] = None  # nobody reads it
    if kind == "text_transformer" and config["pool"] != "class_embedding":
        config |= {"class_mask": None} | ({} if config["pool"] == "average" else {"pad_id": None})
    return config
