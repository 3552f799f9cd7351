"""What others say, fit for a sentence of ours: names that stand in files, and the errors of libraries."""

import re

LONGEST = 600  # characters of what a library says that are kept
ENDS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")  # of lines, with the margins beside them


def on_one_line(text) -> str:
    r"""A text without ends of lines, and with what would steer a terminal spelt out.

    Example:
        >>> on_one_line("a\nb\x1b[2J")
        'a b\\x1b[2J'
    """
    text = ENDS.sub(" ", str(text)).strip()
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def said_by(error) -> str:
    """What an error of a library says, on one line, without a full stop at its end; its kind where it says nothing."""
    said = on_one_line(error).rstrip(".")
    return (said if len(said) <= LONGEST else f"{said[:LONGEST]}...") or type(error).__name__


def check_name(name) -> None:
    """Stops at the name of a tensor that could not stand in a sentence; no library makes such.

    Raises:
        ValueError: it says how the name is spelt.
    """
    if not name.isprintable():
        raise ValueError(f"it has a tensor called {on_one_line(repr(name))[:100]}, which is no name of one")
