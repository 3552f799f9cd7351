"""The command line's own program and where it prints."""

import typer
from rich.console import Console

app = typer.Typer(
    help="Image-text models for Keras 3: train, measure, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
