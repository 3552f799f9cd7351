"""The methods of `kzoo.adapt` by name, and the settings that each of them has."""

import inspect
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from kzoo.adaptation.classifiers.folds import cross_validated
from kzoo.arguments import COUNT, POSITIVE, check, declared, one_of

CLASSIFIERS, PROMPTS = "kzoo.adaptation.classifiers", "kzoo.adaptation.prompts"
# what the door gives: pictures, their classes, texts of these, and the model
GIVEN = {"self", "embeddings", "labels", "zero_shot", "classes", "scale", "model", "class_names", "template", "kwargs"}
FITTED = {"epochs": COUNT, "learning_rate": POSITIVE, "batch_size": COUNT}  # settings of every training


@dataclass(frozen=True)
class Method:
    """A method of `kzoo.adapt`.

    Attributes:
        home: module of its class.
        kind: name of its class.
        needs_texts: whether it reads texts of the classes.
        trained_by: name of the function in `kzoo.adaptation.trained_methods` that makes its training; None for what is
            made of stored embeddings.
        defaults: settings that are others here than those of the class, and those of the training.
        rate_by_width: whether the default learning rate is that of a tower of width 768, and of others as the inverse
            of theirs.
        optimizer: of a training, one of `kzoo.adaptation.trained_methods.OPTIMIZERS`.
    """

    home: str
    kind: str
    needs_texts: bool = True
    trained_by: str | None = None
    defaults: dict = field(default_factory=dict)
    rate_by_width: bool = False
    optimizer: str | None = None

    def made_of(self) -> type:
        """Its class."""
        return getattr(import_module(self.home), self.kind)

    def parameters(self) -> list[str]:
        """Names of what its class is made of."""
        return list(inspect.signature(self.made_of().__init__).parameters)

    def settings(self) -> dict:
        """Name -> kind of what may be said of it, None where the class looks itself."""
        kinds = declared(self.made_of())
        own = {name: kinds.get(name) for name in self.parameters() if name not in GIVEN}
        return own if self.trained_by is None else own | FITTED


def prompted(file, kind, optimizer="sgd", **defaults) -> Method:
    """A `PromptedClassifier` of `kzoo/adaptation/prompts`, trained as its authors do, most of them by SGD."""
    rates = {"learning_rate": 0.002, "batch_size": 32}
    return Method(f"{PROMPTS}.{file}", kind, True, "prompts", rates | defaults, optimizer=optimizer)


def tuned(file, kind, trained_by="weights", by_width=True, **defaults) -> Method:
    """A class of `kzoo/adaptation` whose `begin(model)` opens, in a copy of a model, weights or adds some, and locks
    all else; trained by AdamW."""
    rates = {"learning_rate": 2e-4, "batch_size": 32, "epochs": 100}
    defaults = rates | defaults
    return Method(f"kzoo.adaptation.{file}", kind, True, trained_by, defaults, by_width, "adamw")


# A further method is one line here: of a classifier of stored embeddings `Method(module, class)`, of prompts
# `prompted(file, class, ...)`, of weights `tuned(file, class, ...)`, with what shall be otherwise than in the class:
# `epochs`, `learning_rate`, `batch_size`, and arguments of its constructor. Its settings, their checks, files, exports
# and the command follow from that; a line in the tables of docs/few_shot.md, and tests/adaptation/test_adapt_trained.py
# trains it.
METHODS = {
    "zero_shot": Method(f"{CLASSIFIERS}.zero_shot", "ZeroShot"),
    "gda": Method(f"{CLASSIFIERS}.gaussian", "GaussianDiscriminant"),
    "tip_adapter": Method(f"{CLASSIFIERS}.tip_adapter", "TipAdapter"),
    "class_mean": Method(f"{CLASSIFIERS}.class_mean", "NearestClassMean", False),
    "knn": Method(f"{CLASSIFIERS}.neighbours", "KNearestNeighbours", False),
    "linear_probe": Method(f"{CLASSIFIERS}.linear_probe", "LinearProbe", False),
    "transported": Method(f"{CLASSIFIERS}.transported", "TransportedMeans", False),
    "cross_tune": Method(f"{CLASSIFIERS}.cross_tune", "CrossTune"),
    "coop": prompted("coop", "CoOp", init="a photo of a"),
    "kgcoop": prompted("coop", "CoOp", init="a photo of a", knowledge_weight=8.0),
    "cocoop": prompted("cocoop", "CoCoOp", batch_size=1, epochs=10),
    "vpt": prompted("vpt", "VPT", learning_rate=0.02),  # 0.0025 with 4 pictures a step
    "maple": prompted("maple", "MaPLe", learning_rate=0.0035, batch_size=4, epochs=20),
    "mvlpt": prompted("mvlpt", "MVLPT"),
    "hicropl": prompted("hicropl", "HiCroPL", "adam_1e-3", learning_rate=0.0025, epochs=50),
    "gopro": prompted("gopro", "GOPro", batch_size=4, epochs=10),
    "task_oriented": prompted("task_oriented", "TaskOrientedPrompt", batch_size=4, epochs=10),
    "multilane": prompted("multilane", "MultiLane", "adam", learning_rate=0.03),
    "fedpgp": prompted("fedpgp", "FedPGP", learning_rate=0.001),
    "lora": tuned("lora", "LoRA", targets=("image_encoder.**.attention.{query,value}",)),
    "bottleneck": tuned("bottleneck", "BottleneckAdapter", targets=("image_encoder.**.{mlp_down,attention.out}",)),
    "prefix": tuned(
        "prefix_tuning", "PrefixTuning", "weights", False, targets=("image_encoder.**.attention",), learning_rate=0.03
    ),
    "bitfit": tuned("fine_tuning", "BitFit", learning_rate=1e-3),
    "full": tuned("fine_tuning", "FineTuning", learning_rate=1e-5),
    "distil": tuned("distillation.distilled", "Distillation", "teacher", learning_rate=1e-5),
    "flyp": tuned("fine_tuning", "FineTuning", "pairs", targets=("**",), learning_rate=1e-5, epochs=20),
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
    """The classifier of a method that needs no training; of its numbers those that are searched and not said are found
    by cross-validation.

    Args:
        method: `Method`.
        settings: what was said of it.
        **given: `embeddings`, `labels`, `zero_shot`, `classes`, `scale`, of which it takes what it reads.
    """
    read = {name: value for name, value in given.items() if name in method.parameters() and value is not None}
    if method.kind == "KNearestNeighbours" and "k" not in settings:  # of few pictures all vote
        default = inspect.signature(method.made_of().__init__).parameters["k"].default
        settings = settings | {"k": min(default, len(given["labels"]))}
    kind = method.made_of()
    tried = {name: values for name, values in kind.searched.items() if name not in settings}
    if not tried:
        return kind(**read, **settings)
    rows, labels = read.pop("embeddings"), read.pop("labels")
    return cross_validated(lambda own, of_own: kind(own, of_own, **read, **settings), tried, rows, labels)
