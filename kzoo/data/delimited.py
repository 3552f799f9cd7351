"""Records of .csv and .tsv files, read strictly: each line is a record or a sentence, none swallows another."""

from collections import Counter
from collections.abc import Iterator

from kzoo.data.lines import read_ended_lines

SPAN = 100  # lines that a quoted field may go over; what is longer has lost its closing mark


def read_delimited(path, delimiter) -> Iterator:
    r"""Records of a table with a header.

    A field in quotation marks may hold the delimiter, doubled marks and, unless what follows looks like rows of the
    table, ends of lines. In a .tsv, which is often written without quoting, a mark that opens no such field stands for
    itself; in a .csv it makes a broken record.

    Args:
        path: of the file.
        delimiter: "," or "\t"; with the latter, marks are read as in a .tsv.

    Yields:
        dict of strings by the names of the header; or a string, what is wrong with the record.

    Raises:
        ValueError: a header with a column twice, or divided by something else; a file that is no text.
    """
    records = _records(_Lines(read_ended_lines(path)), delimiter)
    header = next(records, [])
    if isinstance(header, str):
        raise ValueError(f"the header of {path} cannot be read: {header}.")
    twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has two columns {twice!r}; give each a name of its own.")
    other = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise ValueError(
            f"{path} has one column, {header[0]!r}, whose names are divided by {other!r}; a .csv is divided by commas, "
            "a .tsv by tabs: save it so."
        )
    for fields in records:
        yield fields if isinstance(fields, str) else _named(fields, header)


def _named(fields, header):
    while len(fields) > len(header) and not fields[-1]:
        fields.pop()
    if len(fields) != len(header):
        more = "; put one that holds a comma into quotation marks" if len(fields) > len(header) else ""
        return f"it has {len(fields)} fields, but the header has {len(header)}{more}"
    return dict(zip(header, fields))


class _Lines:
    """Lines of which some may be given back."""

    def __init__(self, lines):
        self.lines, self.back = lines, []

    def next(self) -> str | None:
        """The next line, None at the end."""
        return self.back.pop() if self.back else next(self.lines, None)


def _records(lines, delimiter):
    width = None  # fields of the header
    while (line := lines.next()) is not None:
        if line.strip("\r\n"):
            fields = _fields(line, lines, delimiter, width)
            width = width or len(fields)
            yield fields


def _fields(line, lines, delimiter, width):
    """The fields of the record that begins with a line, or what is wrong with it."""
    fields, place = [], 0
    literal = delimiter == "\t"
    while True:
        quoted = None
        if line[place : place + 1] == '"':
            quoted = _quoted(line, place, lines, delimiter, width)
            if quoted is None and not literal:
                return "a quotation mark opens a field and does not close it; close it, or double marks within a field"
        if quoted is not None:
            field, line, place = quoted
        else:
            end = line.find(delimiter, place)
            end = len(line.rstrip("\r\n")) if end < 0 else end
            field, place = line[place:end], end
        fields.append(field)
        if line[place : place + 1] != delimiter:
            return fields
        place += 1


def _quoted(line, place, lines, delimiter, width):
    """A field in marks: `(field, the line it ends on, place behind it)`; None where no field is closed."""
    parts, taken, start = [], [], place + 1
    while True:
        end = _end(line, start)
        if end is not None:
            if line[end + 1 : end + 2] in (delimiter, "\r", "\n", ""):
                return "".join([*parts, line[start:end]]).replace('""', '"'), line, end + 1
            break
        parts.append(line[start:])
        line, start = lines.next(), 0
        if line is None:
            break
        taken.append(line)
        if len(taken) >= SPAN or (delimiter == "\t" and line.count("\t") + 1 == width):
            break
    lines.back.extend(reversed(taken))
    return None


def _end(line, start):
    """Where the closing mark of a field stands, None if it is not on this line."""
    while (found := line.find('"', start)) >= 0:
        if line[found + 1 : found + 2] != '"':
            return found
        start = found + 2
    return None
