"""`kzoo export`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption, Format, Model, Overwrite
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.files.writing import try_folder


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="Kind of graph.")] = Format.onnx,
    overwrite: Overwrite = False,
    backend: BackendOption = None,
):
    """Export a saved model as verified graphs."""
    try_folder(folder, format.value, overwrite)
    needs_keras()
    import kzoo

    manifest = kzoo.from_preset(model).export(folder, format=format.value, overwrite=overwrite)
    for name, difference in manifest["worst_difference"].items():
        console.print(f"{name}: worst difference to the model {difference:.1e} at batch 1, 2 and 5")
    console.print(f"wrote {folder}")
