"""The command line: one file for each command."""

import inspect
import logging
import sys
import warnings

from kzoo.cli import (
    adapt,
    caption,
    check,
    classify,
    convert,
    demo,
    describe,
    embed,
    evaluate,
    export,
    index,
    page,
    presets,
    search,
    shards,
    train,
)
from kzoo.cli.devices import is_first, let_the_first_speak
from kzoo.cli.sentences import ToTerminal, in_flags, in_words, is_failure, said, show_warnings
from kzoo.cli.terminal import DEBUG, Command, app

COMMANDS = (  # in the order of the help
    presets.presets,
    describe.describe,
    demo.demo,
    train.train,
    adapt.adapt,
    evaluate.evaluate,
    embed.embed,
    index.index,
    search.search,
    classify.classify,
    caption.caption,
    export.export,
    page.page,
    convert.convert,
    shards.shards,
    check.check,
)
for _command in COMMANDS:
    app.command(cls=Command)(_command)


def main() -> None:
    """Entry point: whatever goes wrong ends with one sentence and exit code 1, wrong usage with 2; `--debug`, anywhere,
    shows where it was raised."""
    arguments = sys.argv[1:]
    debug = DEBUG in arguments
    handler = ToTerminal(_flags)
    handler.addFilter(lambda record: is_first())
    logging.getLogger("kzoo").addHandler(handler)
    try:
        with warnings.catch_warnings():
            show_warnings(_flags, is_first())
            app([word for word in arguments if word != DEBUG])
    except BaseException as error:
        if debug or not is_failure(error):
            raise
        let_the_first_speak()
        said(in_flags(in_words(error), _flags()), style="red")
        sys.exit(1)
    finally:
        logging.getLogger("kzoo").removeHandler(handler)


def _flags():
    """Names of the parameters of the command that runs."""
    named = {command.__name__: command for command in COMMANDS}
    called = next((word for word in sys.argv[1:] if word in named), None)
    return set(inspect.signature(named[called]).parameters) if called else set()
