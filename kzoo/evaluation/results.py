"""Results of a measurement: a dict of numbers by name, which notebooks show as tables."""

from kzoo.html import html_table

RECALL = "_recall@"


class Results(dict):
    """A dict of numbers, which notebooks show as a table; of recalls there is a row for each direction.

    Example:
        >>> Results({"loss": 0.5, "image_to_text_recall@1": 1.0})
        {'loss': 0.5, 'image_to_text_recall@1': 1.0}
    """

    def _repr_html_(self):
        recalls = [name.partition(RECALL) for name in self if RECALL in name]
        others = [[name, f"{value:.4f}"] for name, value in self.items() if RECALL not in name]
        shown = html_table([["measure", "value"], *others]) if others else ""
        if not recalls:
            return shown
        ks = list(dict.fromkeys(k for _, _, k in recalls))
        ways = list(dict.fromkeys(way for way, _, _ in recalls))
        rows = [[way.replace("_", " "), *(self._percent(f"{way}{RECALL}{k}") for k in ks)] for way in ways]
        return shown + html_table([["", *(f"recall@{k}" for k in ks)], *rows])

    def _percent(self, name):
        return f"{self[name]:.1%}" if name in self else ""


def in_order(name) -> tuple:
    """A key to sort names of results by: training before held-out pairs, the loss first, recall@5 before recall@10."""
    held_out, plain = name.startswith("val_"), name.removeprefix("val_")
    stem, _, k = plain.partition("@")
    return held_out, bool(k), plain != "loss", stem, int(k or 0)
