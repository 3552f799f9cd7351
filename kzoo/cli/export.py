"""`kzoo export`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption, Format, Model
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="Kind of graph.")] = Format.onnx,
    backend: BackendOption = None,
) -> None:
    """Export a saved model as verified graphs."""
    needs_keras()
    import kzoo

    manifest = kzoo.from_preset(model).export(folder, format=format.value)
    for name, difference in manifest["worst_difference"].items():
        console.print(f"{name}: worst difference to the model {difference:.1e} at batch 1, 2 and 5")
    console.print(f"wrote {folder}")
