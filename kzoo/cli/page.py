"""`kzoo page`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption, Embedding, Overwrite
from kzoo.cli.parts import class_names, open_adapted, open_model
from kzoo.cli.terminal import console
from kzoo.files.writing import try_folder


def page(
    model: Embedding,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    labels: Annotated[
        str | None, typer.Option(help="Class names, separated by commas; of a model of kzoo adapt its own.")
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {}; repeat for more.")] = None,
    text_tower: Annotated[
        bool, typer.Option("--text-tower", help="Let classes be typed in the page, which becomes larger by that tower.")
    ] = False,
    engine: Annotated[
        Path | None, typer.Option(help="Folder of onnxruntime-web, as npm installs it; default: npm fetches it.")
    ] = None,
    overwrite: Overwrite = False,
    backend: BackendOption = None,
) -> None:
    """Write a web page that classifies pictures in the browser, without a server."""
    names = None if labels is None else class_names(labels)
    try_folder(folder, "web_page", overwrite)
    opened = open_adapted(model, template) if names is None else open_model(model)
    from kzoo.export import web_page

    about = web_page(opened, folder, names, template or "a photo of a {}.", engine, overwrite, text_tower)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    classes = f"{len(about['labels'])} classes, {size / 1e6:.3g} MB"
    console.print(f"wrote {folder / 'index.html'}: {classes}; it opens in a browser", soft_wrap=True, highlight=False)
