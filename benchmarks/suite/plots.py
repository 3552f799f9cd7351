"""Results as pictures, one for each case: bars, with the quartiles as a line."""

from benchmarks.suite.engines import BASE
from benchmarks.suite.report import LIMIT_NAME, base_name, seconds, speeds
from kzoo.extras import require
from kzoo.files.single import replacing

COLOURS = {"kzoo": "#1f77b4", "open_clip": "#7f7f7f", LIMIT_NAME.split()[0]: "#2ca02c"}
OTHERS = "#c7c7c7"


def draw(results, folder) -> list:
    """Write `<case>.png` for each case that an engine did.

    Args:
        results: dict of a run.
        folder: that is there.

    Returns:
        paths of the files.
    """
    figures, paths = require("matplotlib.figure", "demo", "A picture of a measurement"), []
    for case in results["cases"]:
        found = speeds(results, case)
        label = f"times as fast as {base_name(case)}"
        if not found:
            found, label = seconds(results, case), "seconds"
        if not found:
            continue
        path = folder / f"{case['name']}.png"
        figure = figures.Figure(figsize=(7, 0.8 + 0.32 * len(found)), layout="constrained")
        _bars(figure.subplots(), found, case["title"], label)
        with replacing(path) as file:
            figure.savefig(file, dpi=110, format="png")
        paths.append(path)
    return paths


def _bars(sheet, found, title, label):
    names = sorted(found, key=lambda name: found[name].median, reverse=label == "seconds")
    medians = [found[name].median for name in names]
    sides = [
        [found[name].median - found[name].low for name in names],
        [found[name].high - found[name].median for name in names],
    ]
    colours = [COLOURS.get(name.split()[0], OTHERS) for name in names]
    sheet.barh(names, medians, xerr=sides, color=colours, ecolor="black", capsize=2, error_kw={"lw": 0.8})
    if any(name in BASE for name in names) and label != "seconds":
        sheet.axvline(1.0, color="black", lw=0.8, ls=":")
    sheet.set(xlabel=label)
    sheet.set_title(title, fontsize="medium", loc="left")
    sheet.tick_params(labelsize="small")
    sheet.grid(alpha=0.3, axis="x")
