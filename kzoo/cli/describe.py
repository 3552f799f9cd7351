"""`kzoo describe`."""

from typing import Annotated

import typer

from kzoo.cli.terminal import console


def describe(name: Annotated[str, typer.Argument(help="Preset name.")]) -> None:
    """Print everything the table says about a preset."""
    from kzoo.presets import describe as describe_preset

    console.print(describe_preset(name), highlight=False, soft_wrap=True)
