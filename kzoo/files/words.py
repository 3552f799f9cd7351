"""What others say, fit for a sentence of ours: names that stand in files, and the errors of libraries."""

import logging
import re

LONGEST = 600  # characters of what a library says that are kept
WORD = 300  # characters of a word that are shown: a name, or a cell of a table, may be a book
LONG = re.compile(rf"\S{{{WORD + 100},}}")
ENDS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")  # of lines, with the margins beside them


def on_one_line(text) -> str:
    r"""A text without ends of lines, and with what would steer a terminal spelt out.

    Example:
        >>> on_one_line("a\nb\x1b[2J")
        'a b\\x1b[2J'
    """
    return printable(ENDS.sub(" ", str(text)).strip())


def printable(text) -> str:
    """A text in which all that is not to be seen is spelt out."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def in_short(text) -> str:
    """A text in which words that are longer than any that is read to its end are cut."""
    return LONG.sub(lambda found: f"{found[0][:WORD]}...", text)


def spell_out(error) -> None:
    """Spell out what would steer a terminal in an error that kzoo has raised, such as the name of a folder or a file.

    Words that are a book, as a name may be, are cut. Errors of other libraries, whose lines are their own, stay as they
    are.
    """
    sentence, last = error.args[0] if error.args else None, error.__traceback__
    if isinstance(sentence, str) and (not sentence.isprintable() or LONG.search(sentence)):
        while last.tb_next is not None:
            last = last.tb_next
        if last.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "kzoo":
            error.args = (in_short(on_one_line(sentence)), *error.args[1:])


def spelt_out(record) -> bool:
    """The same for what is logged, as a filter of `logging`."""
    sentence = record.getMessage()
    if not sentence.isprintable():
        record.msg, record.args = on_one_line(sentence), ()
    return True


logging.getLogger("kzoo").addFilter(spelt_out)


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
