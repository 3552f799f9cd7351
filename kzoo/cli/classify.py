"""`kzoo classify`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.options import BackendOption, Embedding
from kzoo.cli.parts import image_files, open_model
from kzoo.cli.terminal import console


def classify(
    model: Embedding,
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    labels: Annotated[str, typer.Option(help="Class names, separated by commas.")],
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {}; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
):
    """Classify images by prompts (zero-shot)."""
    opened, files = open_model(model), image_files(images)
    names = [label.strip() for label in labels.split(",") if label.strip()]
    probabilities = opened.classify(files, names, templates=template or "a photo of a {}.")
    table = Table("image", "label", "probability")
    for path, row in zip(files, probabilities):
        if as_json:
            print(json.dumps({"image": str(path), **dict(zip(names, map(float, row)))}))
        table.add_row(str(path), names[int(row.argmax())], f"{row.max():.3f}")
    if not as_json:
        console.print(table)
