"""What of a model is trained, as a table."""

import math
import re

import keras

from kzoo.adaptation.freezing import MODEL
from kzoo.arguments import takes
from kzoo.html import html_table
from kzoo.paths import parameters
from kzoo.shown import in_columns


class TrainableReport(list):
    """Rows of a model's weights, dicts, that print as a table; `trainable_report` makes one.

    Attributes:
        trained, frozen: parameters that are trained, and that are not.
        bytes: of all weights, as the model holds them.
    """

    @property
    def trained(self) -> int:
        return sum(row["trained"] for row in self)

    @property
    def frozen(self) -> int:
        return sum(row["frozen"] for row in self)

    @property
    def bytes(self) -> int:
        return sum(row["bytes"] for row in self)

    def __repr__(self) -> str:
        return in_columns(self._cells(), right=(1, 2, 3, 4))

    def _repr_html_(self):
        return html_table(self._cells())

    def _cells(self):
        total = {"weights": "all", "trained": self.trained, "frozen": self.frozen, "bytes": self.bytes}
        return [["weights", "trained", "frozen", "share trained", "bytes"], *map(_cells, [*self, total])]


def _cells(row):
    both = row["trained"] + row["frozen"]
    share = f"{row['trained'] / both:.2%}" if both else "none"
    return [row["weights"], f"{row['trained']:,}", f"{row['frozen']:,}", share, f"{row['bytes']:,}"]


@takes(model=MODEL)
def trainable_report(model) -> TrainableReport:
    """Which weights of a model are trained, and how many they are: a table, with a row for each group of paths.

    A group is what has one path but for the number of a block: `image_encoder.blocks.*.attention.query`, with kernel
    and bias. Each is a pattern for `freeze` and `unfreeze`. What is not trained by its nature, such as the statistics
    of a batch norm, counts as frozen.

    Args:
        model: a built model, or a layer.

    Returns:
        TrainableReport: a list of dicts `weights`, `trained`, `frozen` (numbers of parameters) and `bytes`.

    Example:
        >>> kzoo.adaptation.freeze(model, "image_encoder")
        >>> kzoo.adaptation.trainable_report(model).trained
        5_123
    """
    groups = {}
    for each in parameters(model):
        layer = each.path.rpartition(".")[0] or each.path
        row = groups.setdefault(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", layer), {"trained": 0, "frozen": 0, "bytes": 0})
        count = math.prod(each.variable.shape)
        row["trained" if each.variable.trainable else "frozen"] += count
        row["bytes"] += count * _bits(each.variable) // 8
    return TrainableReport({"weights": name} | row for name, row in groups.items())


def _bits(variable):
    return int(re.search(r"\d+|$", keras.backend.standardize_dtype(variable.dtype))[0] or 8)
