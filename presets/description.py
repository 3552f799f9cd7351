"""What is known of a model, to be read: the row of a preset, or what the config of a folder says."""

from pathlib import Path

from kzoo.arguments import PATH, takes
from kzoo.html import html_table
from kzoo.presets.other_names import SCHEMES, without_scheme
from kzoo.presets.table import read_row

_HUB = SCHEMES["hf-hub:"]


@takes(name=PATH)
def describe(name) -> "Description":
    """Everything that is known of a model without its weights, as a dict that prints.

    Args:
        name: of a preset, as of `from_preset`; or a folder, or `"hf://owner/name"`, whose config is read whole: the
            row that it describes, and `"library"`, whose layout it is.

    Raises:
        ValueError: no such preset, or a config that this version cannot build; the sentence says which field it is.

    Example:
        >>> kzoo.describe("clip_base")["parameters"]["total"]
        151277313
    """
    name = without_scheme(str(name))
    return Description(_row_of_files(name) if name.startswith(_HUB) or Path(name).is_dir() else read_row(name))


def _row_of_files(name):
    from kzoo.files.writing import readable  # with what needs Keras
    from kzoo.presets import folder as preset_folder
    from kzoo.presets.foreign import recognise
    from kzoo.presets.loader import from_hub

    path, title = Path(name), Path(name).resolve().name
    if name.startswith(_HUB):
        path, title = from_hub(name, lambda folder: [])
    path = readable(path)
    checkpoint = recognise(path, title)
    if checkpoint is None:
        return {"preset": title, "library": "kzoo"} | preset_folder.read_config(path)
    return {"preset": title, "library": checkpoint.format.name} | checkpoint.row()


class Description(dict):
    """A dict that prints as lines `key: value`, one level deep."""

    def __repr__(self) -> str:
        return "\n".join(f"{key}: {_line(value)}" for key, value in self.items())

    def _repr_html_(self):
        return html_table([("key", "value"), *((key, _line(value)) for key, value in self.items())])


def _line(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {_line(inner)}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int) and value > 99_999 else str(value)
