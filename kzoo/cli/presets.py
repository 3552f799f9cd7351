"""`kzoo presets`."""

from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.terminal import console


def presets(family: Annotated[str | None, typer.Option(help="One family only, such as clip.")] = None):
    """List the architectures."""
    from kzoo.presets import list_presets

    rows = list_presets(family)
    table = Table()
    for heading in rows[0]:
        number = heading in ("parameters", "tokens")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading == "name")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
