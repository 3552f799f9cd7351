"""The methods of `kzoo.adapt` by name, and the settings that each of them has."""

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from kzoo.arguments import check, declared, one_of

CLASSIFIERS = "kzoo.adaptation.classifiers"
# what the door gives: pictures, their classes, and texts of these
GIVEN = {"self", "embeddings", "labels", "zero_shot", "classes", "scale"}


@dataclass(frozen=True)
class Method:
    """A method of `kzoo.adapt`.

    Attributes:
        home: module of its class.
        kind: name of its class.
        needs_texts: whether it reads texts of the classes.
    """

    home: str
    kind: str
    needs_texts: bool = True

    def made_of(self) -> type:
        """Its class."""
        return getattr(import_module(self.home), self.kind)

    def parameters(self) -> list[str]:
        """Names of what its class is made of."""
        return list(inspect.signature(self.made_of().__init__).parameters)

    def settings(self) -> dict:
        """Name -> kind of what may be said of it, None where the class looks itself."""
        kinds = declared(self.made_of())
        return {name: kinds.get(name) for name in self.parameters() if name not in GIVEN}


METHODS = {
    "zero_shot": Method(f"{CLASSIFIERS}.zero_shot", "ZeroShot"),
    "gda": Method(f"{CLASSIFIERS}.gaussian", "GaussianDiscriminant"),
    "tip_adapter": Method(f"{CLASSIFIERS}.tip_adapter", "TipAdapter"),
    "class_mean": Method(f"{CLASSIFIERS}.class_mean", "NearestClassMean", False),
    "knn": Method(f"{CLASSIFIERS}.neighbours", "KNearestNeighbours", False),
    "linear_probe": Method(f"{CLASSIFIERS}.linear_probe", "LinearProbe", False),
}


def method_called(name) -> Method:
    """The method of a name; one that there is not is refused with the nearest."""
    return METHODS[one_of(*METHODS)("method", name)]


def check_settings(name, method, settings) -> None:
    """Stops at settings that a method has not, or that cannot be."""
    known = method.settings()
    for each in settings:
        if each not in known:
            near = get_close_matches(each, known, n=1)
            has = f"it has {', '.join(known)}" if known else "it has none"
            meant = f" (is {near[0]!r} meant?)" if near else ""
            raise TypeError(f"the method {name!r} has no setting {each!r}; {has}{meant}.")
    check({key: kind for key, kind in known.items() if kind is not None}, settings)


def classifier_of(method, settings, **given) -> Any:
    """The classifier of a method that needs no training.

    Args:
        method: `Method`.
        settings: what was said of it.
        **given: `embeddings`, `labels`, `zero_shot`, `classes`, `scale`, of which it takes what it reads.
    """
    read = {name: value for name, value in given.items() if name in method.parameters() and value is not None}
    if method.kind == "KNearestNeighbours" and "k" not in settings:  # of few pictures all vote
        default = inspect.signature(method.made_of().__init__).parameters["k"].default
        settings = settings | {"k": min(default, len(given["labels"]))}
    return method.made_of()(**read, **settings)
