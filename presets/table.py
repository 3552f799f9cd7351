"""Reads the JSON tables of this folder: names, rows, descriptions. No Keras here."""

import copy
import difflib
import json
from functools import cache
from pathlib import Path

from kzoo.arguments import NAME, takes
from kzoo.html import html_table
from kzoo.preprocessing.decoding import AS_TRAINED
from kzoo.preprocessing.images import FLOOR
from kzoo.presets.other_names import OpenClipNames, known_as, on_hub
from kzoo.shown import in_columns

TABLES = Path(__file__).parent
COLUMNS = ("name", "parameters", "image size", "tokens", "weights", "licence")


@cache
def _families():
    """Family name -> its table, as the files give them."""
    tables = (json.loads(path.read_text("utf-8")) for path in sorted(TABLES.glob("*.json")))
    return {table["family"]: table for table in tables}


@cache
def _places():
    """Preset name or alias -> (family, name of the row)."""
    places = {}
    for family, table in _families().items():
        for name, row in table["presets"].items():
            for known in (name, *row.get("aliases", ())):
                if known in places:
                    raise ValueError(f"the preset name {known} stands in two rows of the tables.")
                places[known] = (family, name)
    return places


@cache
def _of_open_clip():
    """The names of open_clip: an architecture or a row says its config, the weights their tag."""
    rows, first = [], []
    for family, table in _families().items():
        for name, row in table["presets"].items():
            whole = _complete(family, name)
            if "open_clip" in whole:
                rows.append((name, whole["open_clip"], (whole["weights"] or {}).get("tag"), _is_quick(whole)))
                first += [name] * (row["architecture"] in (name, *row.get("aliases", ())))
    return OpenClipNames(rows, first)


def _is_quick(row):
    return "quick_gelu" in (tower.get("activation") for name, tower in row.items() if name.endswith("_encoder"))


def preset_of(name) -> str | None:
    """The preset that a name means: its own, an alias, or a name of open_clip; None where there is none.

    Raises:
        ValueError: a model of open_clip with a tag of which there is no preset.

    Example:
        >>> preset_of("ViT-B-32/laion2b_s34b_b79k")
        'clip_base_laion2b'
    """
    return _places()[name][1] if name in _places() else _of_open_clip().preset(name)


def is_preset(name) -> bool:
    """Whether a preset has this name or alias, or is what a name of open_clip means."""
    return preset_of(name) is not None


def read_row(name) -> dict:
    """One row, complete: the family's defaults, the architecture, what the row itself says.

    Args:
        name: preset name or alias, or a name of open_clip, with the tag of weights or without.

    Returns:
        dict with `preset`, `family`, `paper`, `licence`, its towers (`image_encoder`, `text_encoder`, of other
        modalities likewise), `images`, `tokenizer`, `similarity`, `loss`, `weights`, `parameters` and, where there are
        any, `model` (the class, if not a dual encoder), `text_decoder`, `heads`, `config_source` (of the numbers) and
        `notes`.

    Raises:
        ValueError: no such preset; the sentence offers the nearest names.

    Example:
        >>> read_row("clip_base")["image_encoder"]["width"]
        768
    """
    preset = preset_of(name)
    if preset is None and Path(name).is_dir():
        raise ValueError(
            f"{name} is a folder, but the name of a preset is expected; kzoo.describe tells what it holds."
        )
    if preset is None:
        raise ValueError(f"there is no preset {name!r}, and no folder of that name; {_hint(str(name))}")
    return copy.deepcopy(_complete(*_places()[preset]))


def _complete(family, name):
    """The row, whose parts may still be those of the tables."""
    table = _families()[family]
    row = dict(table["presets"][name])
    architecture = table["architectures"][row.pop("architecture")]
    top = {"preset": name, "family": family, "paper": table["paper"], "licence": table["licence"]}
    for layer in (table["defaults"], architecture, row):
        top = _merged(top, flat(layer))
    if (top.get("weights") or {}).get("repo"):  # which were trained on the pixels of their own library
        floored = top["weights"].get("format") == "transformers" and top["image_encoder"]["kind"] != "naflex_vit"
        rounding = {"crop_rounding": FLOOR} if floored else {}
        top["images"] = {"decoding": AS_TRAINED} | rounding | top["images"]
    return top


def _hint(name):
    """How to get what was meant by a name that is not in the table."""
    rows = {each: _families()[family]["presets"][each] for family, each in _places().values()}
    repositories = {row["weights"]["repo"]: each for each, row in rows.items() if row.get("weights")}
    known = known_as(name, repositories)
    if on_hub(name):
        also = f"; the preset {known} has this model, too" if known else ""
        return f"if it is a repository of the Hugging Face Hub, write hf://{name}{also}."
    if known:
        return f"the preset of this model is {known}."
    near = difflib.get_close_matches(name, [*_places(), *_of_open_clip().names()], n=3, cutoff=0.4)
    return f"did you mean {', '.join(near)}?" if near else "see kzoo.list_presets()."


def flat(row) -> dict:
    """A row whose towers stand in it one by one: `"towers": {"image": ...}` is `"image_encoder": ...`.

    Example:
        >>> flat({"model": "multi_encoder", "towers": {"audio": {"kind": "vit"}}})
        {'model': 'multi_encoder', 'audio_encoder': {'kind': 'vit'}}
    """
    found = {}
    for key, value in row.items():
        found |= {f"{name}_encoder": tower for name, tower in value.items()} if key == "towers" else {key: value}
    return found


@takes(family=NAME)
def list_presets(family=None) -> "Table":
    """All presets, or those of one family, as a table that prints.

    Args:
        family: such as `"clip"`; default all.

    Returns:
        list of dicts with the keys `name`, `parameters`, `image size`, `tokens`, `weights`, `licence`.

    Raises:
        ValueError: no such family.

    Example:
        >>> kzoo.list_presets("clip")[0]["name"]
        'clip_nano'
    """
    if family is not None and family not in _families():
        raise ValueError(f"there is no family {family!r}; the families are {', '.join(_families())}.")
    chosen = [family] if family else list(_families())
    return Table(_summary(read_row(name)) for each in chosen for name in _families()[each]["presets"])


class Table(list):
    """A list of dicts that prints as columns."""

    def __repr__(self) -> str:
        return in_columns([COLUMNS, *([str(row[column]) for column in COLUMNS] for row in self)])

    def _repr_html_(self):
        return html_table([COLUMNS, *([row[column] for column in COLUMNS] for row in self)])


def _summary(row):
    weights, licence = row["weights"], row["licence"]
    return {
        "name": row["preset"],
        "parameters": f"{row['parameters']['total']:,}",
        "image size": _size(row.get("image_encoder")),
        "tokens": (row.get("text_encoder") or row.get("text_decoder") or {}).get("context_length", "none"),
        "weights": weights["repo"] if weights else "none",
        "licence": licence["name"] if licence else "none",
    }


def _size(image):
    if image is None:
        return "none"
    if "image_size" not in image:
        return f"{image['max_patches']} patches"
    size = image["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return f"{height} x {width}"


def _merged(base, change):
    """`change` over `base`, dict by dict; a tower, tokenizer or image step of another kind starts anew."""
    result = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        if both and value.get("kind", result[key].get("kind")) == result[key].get("kind"):
            value = _merged(result[key], value)
        result[key] = value
    return result
