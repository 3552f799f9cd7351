"""How measures change on the way from one model to another."""

from typing import Any

from kzoo.adaptation.weight_space.merging import on_line, score_of
from kzoo.adaptation.weight_space.named import MODEL, assign, check_alike, weights_of
from kzoo.arguments import FUNCTION, PATH, SHARE, sequence, takes
from kzoo.drawing import draw_lines
from kzoo.html import html_table
from kzoo.layers.copies import copy_of

ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))
ACROSS, ALONE = "alpha", "score"


class Curve(list):
    """Rows of a curve, each a dict: alpha, and what was measured there; in a notebook a table."""

    def best(self, measure=None) -> float:
        """The first alpha that no other has a better number than.

        Args:
            measure: name; None where there is one alone.

        Raises:
            ValueError: no such measure, or several and none named.
        """
        known = [name for name in self[0] if name != ACROSS]
        if (measure is None and len(known) > 1) or (measure is not None and measure not in known):
            raise ValueError(f"measure is {measure!r}; choose one of {', '.join(known)}.")
        return max(self, key=lambda row: row[measure or known[0]])[ACROSS]

    @takes(path=PATH)
    def draw(self, path) -> None:
        """Write a PNG with a line for each measure over alpha.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the disk takes it not.
        """
        draw_lines(self, ACROSS, "measured", path)

    def _repr_html_(self):
        rows = [[f"{row[ACROSS]:g}", *(f"{row[name]:.4f}" for name in row if name != ACROSS)] for row in self]
        return html_table([[*self[0]], *rows])


@takes(base=MODEL, tuned=MODEL, evaluate=FUNCTION, alphas=sequence(SHARE, "a list of numbers in [0, 1]", 1))
def interpolation_curve(base, tuned, evaluate, alphas=ALPHAS) -> Curve:
    """What is measured on the line between two models (WiSE-FT).

    Args:
        base, tuned: as in `interpolate`.
        evaluate: function of a model to a number, or to a dict of numbers by name, such as the accuracy on the new
            task and on others. The model that it gets is one and the same, with other weights each time.
        alphas: where it is asked.

    Returns:
        `Curve`, a list of dicts with `best(measure)` and `draw(path)`.

    Raises:
        ValueError: models of two architectures; a measure that is no number.

    Example:
        >>> curve = interpolation_curve(base, tuned, lambda model: {"birds": on_birds(model), "all": on_all(model)})
        >>> curve.draw("wise_ft.png")
        >>> robust = interpolate(base, tuned, curve.best("all"))

    Reference:
        Wortsman et al., Robust Fine-tuning of Zero-shot Models (WiSE-FT), 2021, arXiv 2109.01903.
    """
    check_alike([base, tuned])
    ends, between = (weights_of(base), weights_of(tuned)), copy_of(base)
    rows = Curve()
    for alpha in alphas:
        assign(between, on_line(*ends, alpha))
        rows.append({ACROSS: float(alpha), **_measured(evaluate, between)})
    return rows


def _measured(evaluate, model) -> Any:
    found = evaluate(model)
    found = found if isinstance(found, dict) else {ALONE: found}
    return {str(name): score_of(lambda _, value=value: value, model) for name, value in found.items()}
