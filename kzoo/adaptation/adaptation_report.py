"""What came of an adaptation: the model and the numbers of it."""

from dataclasses import dataclass, fields
from typing import Any

from kzoo.adaptation.adapted_classifier import AdaptedClassifier
from kzoo.html import html_table
from kzoo.shown import in_columns

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class AdaptationReport:
    """The numbers of an adaptation, which print as a table.

    Attributes:
        method: its name.
        classes: how many.
        shots: pictures of each class that were drawn; None where all were taken that are not held out.
        pictures: those that were shown to the method.
        held_out: those that were not, and that accuracies are of.
        before: accuracy of the zero-shot classifier on them, in [0, 1]; None where no texts or no such pictures are.
        after: accuracy of the adapted model on them; None where there are no such pictures.
        trained: parameters that were trained; 0 for what is made in closed form.
        seconds: all in all, with the pictures embedded and measured.
        memory: bytes that the process, or the accelerator, took more at its peak; None where nothing measures it.
    """

    method: str
    classes: int
    shots: int | None
    pictures: int
    held_out: int
    before: float | None
    after: float | None
    trained: int
    seconds: float
    memory: int | None

    def as_dict(self) -> dict:
        """The numbers by their names, for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __repr__(self) -> str:
        return in_columns(self.cells(), right=(1,))

    def _repr_html_(self):
        return html_table([["adaptation", self.method], *self.cells()[1:]])

    def cells(self) -> list:
        """The lines of the table, a name and a value each."""
        memory = NOT_MEASURED if self.memory is None else f"{self.memory / 1e6:,.1f} MB"
        return [
            ["method", self.method],
            ["classes", f"{self.classes:,}"],
            ["shots", "all" if self.shots is None else f"{self.shots:,}"],
            ["pictures shown", f"{self.pictures:,}"],
            ["pictures held out", f"{self.held_out:,}"],
            ["accuracy before, zero-shot", _share(self.before)],
            ["accuracy after", _share(self.after)],
            ["trained parameters", f"{self.trained:,}"],
            ["seconds", f"{self.seconds:,.1f}"],
            ["peak memory", memory],
        ]


@dataclass(frozen=True, repr=False)
class Adaptation:
    """What `kzoo.adapt` gives; it prints as its report.

    Attributes:
        model: `kzoo.adaptation.AdaptedClassifier`.
        report: `kzoo.adaptation.AdaptationReport`.
        trained: what was trained, compiled, such as a `kzoo.adaptation.CoOp`, of which `fit` goes on; None where
            nothing was. Its weights are those of `model`.
    """

    model: AdaptedClassifier
    report: AdaptationReport
    trained: Any = None

    def __repr__(self) -> str:
        return repr(self.report)

    def _repr_html_(self):
        return self.report._repr_html_()


def _share(accuracy):
    return NOT_MEASURED if accuracy is None else f"{accuracy:.1%}"
