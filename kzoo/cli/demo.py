"""`kzoo demo`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.arguments import number
from kzoo.cli.options import BackendOption, taking
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console

LONGEST = 24 * 60  # minutes: a demonstration that trains for longer is none


def demo(
    captioner: Annotated[bool, typer.Option("--captioner", help="Name icons, instead of finding them.")] = False,
    backend: BackendOption = None,
    minutes: Annotated[
        float, typer.Option(callback=taking(number(above=0, most=LONGEST)), help="Minutes of training.")
    ] = 5.0,
    output: Annotated[
        Path | None, typer.Option(help="Folder for report and model; default kzoo-demo or kzoo-demo-captioner.")
    ] = None,
) -> None:
    """Train on icons from scratch and measure on held-out icons; export, and ask the export."""
    needs_keras()
    if captioner:
        from kzoo.demo.captioner import run_captioner_demo

        run_captioner_demo(minutes, output or Path("kzoo-demo-captioner"), console)
    else:
        from kzoo.demo.run import run_demo

        run_demo(minutes, output or Path("kzoo-demo"), console)
