"""Lines of text files, whoever wrote them: encodings, byte-order marks, ends of lines."""

import codecs
import io
from collections.abc import Iterator

from kzoo.files import limits
from kzoo.files.opening import open_regular

MARKS = {  # what a file that is not UTF-8 may say of itself; UTF-32 first, whose mark begins as that of UTF-16 does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_lines(path) -> Iterator:
    r"""Lines of a text file, without their ends.

    A line ends at \n, \r\n or \r alone: U+2028, U+0085 and form feeds stand within captions and JSON. A byte-order mark
    is no part of the text.

    Args:
        path: of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Yields:
        str.

    Raises:
        ValueError: another encoding, a line without an end; the sentence names the file and the line.

    Example:
        >>> captions = [line.strip() for line in read_lines(path) if line.strip()]
    """
    for line in read_ended_lines(path):
        yield line.rstrip("\r\n")


def read_ended_lines(path) -> Iterator:
    """Lines of a text file with their ends, as `read_lines` finds them."""
    with open_regular(path) as binary:
        start = binary.read(4)
        binary.seek(0)
        encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8-sig")
        number = 0
        file = io.TextIOWrapper(binary, encoding, newline="")
        try:
            for number, line in enumerate(iter(lambda: file.readline(limits.LINE), ""), start=1):
                if len(line) == limits.LINE:
                    raise ValueError(
                        f"{path} has more than {limits.LINE:,} characters in line {number}, so it is no text of lines; "
                        "kzoo.files.limits.LINE raises that."
                    )
                if "\0" in line:
                    raise ValueError(f"{path} holds zero bytes in line {number}, so it is no text; save it as UTF-8.")
                yield line
        except UnicodeError as error:
            raise ValueError(
                f"{path} cannot be read as {encoding.removesuffix('-sig').upper()} behind line {number}: "
                f"{error.reason if isinstance(error, UnicodeDecodeError) else error}; save it as UTF-8."
            ) from error
