"""`kzoo classify`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.options import BackendOption
from kzoo.cli.parts import class_names, image_files, open_adapted, open_model, unpacked
from kzoo.cli.terminal import console


def classify(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders; without --preset the model first.")],
    labels: Annotated[
        str | None, typer.Option(help="Class names, separated by commas; of a model of kzoo adapt its own.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset, hf://owner/name, folder of a model or of an ONNX export.")
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {}; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
) -> None:
    """Classify images by prompts (zero-shot), or as kzoo adapt has taught."""
    if preset is None and (len(images) < 2 or images[0].is_file()):
        raise ValueError("there is no model, only images; name it: kzoo classify IMAGES --preset MODEL --labels a,b.")
    model, images = (str(images[0]), images[1:]) if preset is None else (preset, images)
    names = class_names(labels or "")
    files = image_files(images)  # before the model, which takes longer to open
    if labels is None:
        adapted = open_adapted(model, template)
        names, probabilities = adapted.classes, adapted.classify(unpacked(files))
    else:
        probabilities = open_model(model).classify(unpacked(files), names, templates=template or "a photo of a {}.")
    table = Table("image", "label", "probability")
    for path, row in zip(files, probabilities):
        if as_json:
            print(json.dumps({"image": str(path), **dict(zip(names, map(float, row)))}))
        table.add_row(str(path), names[int(row.argmax())], f"{row.max():.3f}")
    if not as_json:
        console.print(table)
