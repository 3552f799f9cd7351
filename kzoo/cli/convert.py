"""`kzoo convert`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption, Layout, Overwrite
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.files.writing import try_folder


def convert(
    model: Annotated[str, typer.Argument(help="Preset, hf://owner/name, or folder in any layout that kzoo reads.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Layout, typer.Option(help="Layout to write.")] = Layout.kzoo,
    push: Annotated[
        str | None, typer.Option(help="owner/name on the Hugging Face Hub to push to; public if it is new.")
    ] = None,
    overwrite: Overwrite = False,
    backend: BackendOption = None,
) -> None:
    """Write a model in the layout of kzoo, transformers or open_clip, and push it to the Hugging Face Hub."""
    try_folder(folder, format.value, overwrite)  # before the work
    needs_keras()
    import kzoo
    from kzoo.weights import hub

    if push is not None:
        hub.check_target(push)
    opened = kzoo.from_preset(model)
    opened.save_to_preset(folder, format=format.value, overwrite=overwrite)
    console.print(f"wrote {folder}")
    if push is not None:
        console.print(f"pushed {opened.push_to_hub(push, format=format.value)}", soft_wrap=True)
