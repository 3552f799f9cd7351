"""The command line's own program and where it prints."""

import inspect
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from kzoo import __version__
from kzoo.files.words import printable

DEBUG = "--debug"


class PlainConsole(Console):
    """A console that no label, caption or name of a file steers: what is no letter and no end of a line is spelt out,
    and `[a]` and `:cat:` are as they are.
    """

    def __init__(self, **options):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text, **options) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


console = PlainConsole()


class _SaysFirst:
    """Help that begins with what a command does, and goes on with how it is called."""

    def format_help(self, context, formatter) -> None:
        what, self.help = self.help, None
        try:
            console.print(f"\n{inspect.cleandoc(what)}", highlight=False)
            super().format_help(context, formatter)
        finally:
            self.help = what


class Command(_SaysFirst, TyperCommand):
    """A command of kzoo."""


class Commands(_SaysFirst, TyperGroup):
    """All of them."""


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _say_version(wanted):
    if wanted:
        console.print(f"kzoo {__version__}", highlight=False)
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error was raised.")] = False,  # `main` reads it
) -> None:
    """Image-text models for Keras 3: train, measure, export."""
