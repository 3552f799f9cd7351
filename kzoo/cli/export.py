"""`kzoo export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kzoo.arguments import whole
from kzoo.cli.options import BackendOption, Format, Model, Overwrite, taking
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.export.formats import FORMATS
from kzoo.export.manifest import FIRST_OPSET
from kzoo.files.writing import try_folder


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="Kind of graph.")] = Format.onnx,
    opset: Annotated[
        int | None, typer.Option(callback=taking(whole(FIRST_OPSET)), help="Version of ONNX's operators; default 18.")
    ] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Of weights, in ONNX or OpenVINO; float16: half.")] = None,
    overwrite: Overwrite = False,
    backend: BackendOption = None,
) -> None:
    """Export a saved model as verified graphs."""
    given = {"opset": opset, "dtype": dtype and dtype.value}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FORMATS[format.value].options:
            takers = " or ".join(each for each in FORMATS if name in FORMATS[each].options)
            raise typer.BadParameter(f"--{name} is of {takers}; leave it out, or take such a --format.")
    try_folder(folder, format.value, overwrite)
    needs_keras()
    import kzoo

    manifest = kzoo.from_preset(model).export(folder, format=format.value, overwrite=overwrite, **given)
    for name, difference in manifest["worst_difference"].items():
        console.print(f"{name}: worst difference to the model {difference:.1e} at batch 1, 2 and 5")
    console.print(f"wrote {folder}")
