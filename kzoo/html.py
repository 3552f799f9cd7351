"""What notebooks show."""

from html import escape


def html_table(rows) -> str:
    """A table in HTML; the first row heads the columns.

    Args:
        rows: list of rows, lists of anything that has a string.

    Example:
        >>> html_table([["name"], ["clip"]])
        '<table><thead><tr><th>name</th></tr></thead><tbody><tr><td>clip</td></tr></tbody></table>'
    """
    head, *body = (
        "".join(f"<{sign}>{escape(str(cell))}</{sign}>" for cell in row)
        for sign, row in zip(["th", *["td"] * (len(rows) - 1)], rows)
    )
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
