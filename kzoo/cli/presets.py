"""`kzoo presets`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.terminal import console

LICENCE = 12  # columns for its name: the longest row then fits a terminal of 80


def presets(
    name: Annotated[str | None, typer.Argument(help="Only presets with this in their name, such as base.")] = None,
    family: Annotated[str | None, typer.Option(help="One family only, such as clip.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list, with the places of weights.")] = False,
) -> None:
    """List the architectures."""
    from kzoo.presets import list_presets

    rows = [row for row in list_presets(family) if name is None or name.lower() in row["name"]]
    if not rows:
        raise ValueError(f"no preset has {name!r} in its name; kzoo presets lists all of them.")
    if as_json:
        print(json.dumps([row | {"parameters": int(row["parameters"].replace(",", ""))} for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in ("params", "pixels", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True, max_width=LICENCE)
    for row in rows:
        weights = "no weights" if row["weights"] == "none" else row["licence"]
        size = row["image size"].replace(" x ", "x").replace(" patches", "p")
        table.add_row(row["name"], _short(row["parameters"]), size, str(row["tokens"]), weights)
    console.print(table)
    console.print("\nkzoo describe NAME says all of one, and where its weights are", highlight=False)


def _short(count):
    """A number of parameters in four characters and a unit.

    Example:
        >>> _short("151,277,313")
        '151 M'
    """
    number = int(count.replace(",", ""))
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
