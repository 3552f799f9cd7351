"""What the library says, in the words of the command line: flags in place of Python's keywords."""

import logging
import re
import warnings

from kzoo.cli.terminal import PlainConsole
from kzoo.files import disk
from kzoo.files.words import in_short, on_one_line

# what the library's sentences ask for in Python -> what a command has for it
IN_FLAGS = (
    (re.compile(r"from_preset\([^()]*load_weights=False[^()]*\)"), "kzoo train --from-scratch"),
    (re.compile(r"load_weights=False"), "kzoo train --from-scratch"),
    (re.compile(r"kzoo\.list_presets\(\)"), "kzoo presets"),
    (re.compile(r"kzoo\.describe\('?(\w+)'?\)"), r"kzoo describe \1"),
)
BUILT = re.compile(r" \(load_weights=False\)")  # why weights are random: of a command that always starts so, nothing
KEYWORD = re.compile(r"(?<![\w.'\"(-])([a-z]+(?:_[a-z]+)*)=(?:(True)\b|('[^']*'|-?\w+(?:\.\w+)*)?)")


def in_flags(sentence, flags) -> str:
    """A sentence with the flags of a command in place of keywords.

    Args:
        sentence: text of an error.
        flags: names of the command's parameters.

    Example:
        >>> in_flags("go on without it: skip_broken=True.", {"skip_broken"})
        'go on without it: --skip-broken.'
    """
    sentence = BUILT.sub(" (--from-scratch)" if "from_scratch" in flags else "", sentence)
    for pattern, flag in IN_FLAGS:
        sentence = pattern.sub(flag, sentence)
    sentence = KEYWORD.sub(lambda match: _flag(match, flags), sentence)
    for name in sorted(flags, key=len, reverse=True):  # "batch_size is 1", "a batch_size of 8"
        if "_" in name:
            sentence = re.sub(rf"(?<![\w'\"/-]){name}(?=[ ,;:]|\.$)", f"--{name.replace('_', '-')}", sentence)
    return sentence


EXPECTED = (ValueError, TypeError, ImportError, OSError, RuntimeError, ArithmeticError)


def is_failure(error) -> bool:
    """Whether something went wrong: no end that was asked for, such as Ctrl-C; a panic of tokenizers' Rust is one."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def in_words(error) -> str:
    """An error as one sentence."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; take smaller batches or a smaller model."
    if isinstance(error, OSError) and error.errno in disk.NO_ROOM and error.strerror:  # of the system, in its words
        return f"{on_one_line(error.filename or 'what is printed')} cannot be written: {disk.REASONS[error.errno]}."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return in_short(f"{on_one_line(error.filename)} cannot be opened: {on_one_line(error.strerror)}.")
    if isinstance(error, EXPECTED) and str(error).strip():
        return in_short(on_one_line(error))  # libraries draw tables
    text = on_one_line(error)[:300]
    return f"an error that was not expected, {type(error).__name__}: {text}; --debug shows where it was raised."


def _flag(match, flags):
    name, switch, value = match.groups()
    if name not in flags:
        return match[0]
    flag = f"--{name.replace('_', '-')}"
    return flag if switch or not value else f"{flag} {value}"


class ToTerminal(logging.Handler):
    """Prints what kzoo logs on standard error, in one line each.

    Args:
        flags: function that gives the parameters of the command that runs.
    """

    def __init__(self, flags):
        super().__init__(logging.WARNING)
        self.flags = flags

    def emit(self, record) -> None:
        said(in_flags(record.getMessage(), self.flags()))


def said(sentence, style=None) -> None:
    """Print a sentence on standard error."""
    PlainConsole(stderr=True).print(f"kzoo: {on_one_line(sentence)}", style=style, highlight=False, soft_wrap=True)


def show_warnings(flags, shown=True) -> None:
    """From here on warnings of kzoo are one line of the terminal, without the place in the source.

    Args:
        flags: function that gives the parameters of the command that runs.
        shown: whether they are shown at all: of several processes the first does.
    """
    plain = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        if category is UserWarning and file is None and shown:
            said(in_flags(str(message), flags()))
        elif shown:
            plain(message, category, filename, lineno, file, line)

    warnings.showwarning = show
