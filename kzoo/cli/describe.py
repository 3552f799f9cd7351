"""`kzoo describe`."""

from typing import Annotated

import typer

from kzoo.cli.terminal import console


def describe(
    name: Annotated[str, typer.Argument(help="Preset name, a folder with a model, or hf://owner/name.")],
) -> None:
    """Print what is known of a model without its weights: the row of a preset, or what a config describes."""
    from kzoo.presets import describe as describe_preset

    console.print(describe_preset(name), highlight=False, soft_wrap=True)
