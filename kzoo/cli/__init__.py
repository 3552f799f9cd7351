"""The command line: one file for each command."""

import sys

from rich.console import Console

from kzoo.cli import caption, classify, convert, demo, describe, embed, evaluate, export, presets, train
from kzoo.cli.terminal import app

COMMANDS = (  # in the order of the help
    presets.presets,
    describe.describe,
    demo.demo,
    train.train,
    evaluate.evaluate,
    embed.embed,
    classify.classify,
    caption.caption,
    export.export,
    convert.convert,
)
for _command in COMMANDS:
    app.command()(_command)


def main():
    """Entry point: bad input ends with one sentence and exit code 1, wrong usage with 2."""
    try:
        app()
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, ArithmeticError) as error:
        errors = Console(stderr=True)
        errors.print(f"kzoo: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
