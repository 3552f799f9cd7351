"""The table of a `keras.callbacks.CSVLogger`, kept when a training goes on."""

import csv
import io
from pathlib import Path

from kzoo.files.single import replacing


def rows_kept(logger, epoch) -> None:
    """Let a logger add to its file, which it would begin anew, behind the rows of the epochs before this one: those
    that are trained again will be written again.

    Args:
        logger: a `keras.callbacks.CSVLogger`.
        epoch: with which the training goes on, from 0.
    """
    path = Path(logger.filename)
    logger.append = True
    if not path.is_file():
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter=logger.sep))
    kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) < epoch]
    if kept != rows:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=logger.sep).writerows(kept)
        with replacing(path) as file:
            file.write(text.getvalue().encode())
