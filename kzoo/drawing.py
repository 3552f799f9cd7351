"""Numbers as lines in a picture: loss and recall of a training by epoch, and whatever else goes along something."""

import re
from importlib.util import find_spec

from kzoo.extras import require
from kzoo.files.single import replacing

RECALL = re.compile(r"(val_)?(image_to_text|text_to_image)_recall@(\d+)")
HELD_OUT = "val_"  # begins the names of what Keras measures on validation data


def can_draw() -> bool:
    """Whether there is a library to draw with."""
    return find_spec("matplotlib") is not None


def draw_curves(history, path) -> None:
    """Write a PNG: the loss of training and held-out pairs, and beside it recall on held-out pairs, where there is any.

    Nothing is drawn where matplotlib is not installed.

    Args:
        history: list of dicts of numbers, one for each epoch.
        path: of the file.
    """
    if not can_draw():
        return
    figure = require("matplotlib.figure", "demo", "The curves").Figure(figsize=(9, 3.2), layout="constrained")
    recalls = [name for name in history[0] if RECALL.fullmatch(name)]
    sheets = figure.subplots(1, 2 if recalls else 1, squeeze=False)[0]
    losses = {"loss": "training", f"{HELD_OUT}loss": "held out"}
    _draw(sheets[0], history, {name: title for name, title in losses.items() if name in history[0]}, "loss")
    if recalls:
        titles = {name: name.removeprefix(HELD_OUT).replace("_", " ").replace(" recall", "") for name in recalls}
        _draw(sheets[1], history, titles, "recall, held out")
        sheets[1].set_ylim(0, 1)
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format="png")


def draw_lines(rows, across, label, path) -> None:
    """Write a PNG: a line for each number of the rows.

    Args:
        rows: list of dicts of numbers, all of the same names.
        across: name of the number that the others are drawn over.
        label: what they measure.
        path: of the file.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "demo", "A picture of a curve").Figure(figsize=(5, 3.2), layout="constrained")
    _draw(figure.subplots(), rows, {name: name for name in rows[0] if name != across}, label, across)
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format="png")


def _draw(sheet, history, titles, label, across="epoch"):
    for name, title in titles.items():
        sheet.plot([row[across] for row in history], [row[name] for row in history], marker=".", label=title)
    sheet.set(xlabel=across, ylabel=label)
    sheet.grid(alpha=0.3)
    sheet.legend(fontsize="small")
