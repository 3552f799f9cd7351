"""The one door of adaptation: a model, some pictures of each class, and the name of a method."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kzoo.adaptation.adaptation_report import Adaptation, AdaptationReport
from kzoo.adaptation.adapted_classifier import ENCODER, AdaptedClassifier
from kzoo.adaptation.classifiers.classifier import SCALE, EmbeddingClassifier
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.examples import drawn, read_examples, readable
from kzoo.adaptation.methods import check_settings, classifier_of, method_called
from kzoo.adaptation.texts import TEMPLATE, embedded_classes
from kzoo.arguments import AMOUNT, COUNT, FLAG, NAME, takes
from kzoo.inference.embed import BATCH_SIZE
from kzoo.types import Array

NUMBERS_OF = {  # what is trained on stored embeddings
    "linear_probe": ("weights", "bias"),
    "cross_tune": ("query", "key", "value", "out"),
}


@takes(model=ENCODER, method=NAME, shots=COUNT | None, seed=AMOUNT, skip_broken=FLAG)
def adapt(
    model,
    data,
    method="gda",
    classes=None,
    shots=None,
    seed=0,
    templates=TEMPLATE,
    held_out=None,
    skip_broken=False,
    **settings,
) -> Adaptation:
    """Adapt a model to classes of one's own, with a few pictures of each.

    The model that is given stays what it is. What is drawn depends on the seed and the class alone, so methods can be
    compared on the same pictures; those that are held out are read by no method, they only measure.

    Args:
        model: a `kzoo.DualEncoder`; for methods of embeddings an export opened by `kzoo.export.runtime` will do.
        data: path of a folder with a folder for each class; `(pictures, labels)`; or a dict with `images` and `labels`.
            Pictures are what `encode_image` takes, labels names of classes, or their places in `classes`.
        method: of embeddings `"zero_shot"`, `"gda"`, `"tip_adapter"`, `"class_mean"`, `"knn"`, `"linear_probe"`,
            `"transported"` or `"cross_tune"`; that trains prompts `"coop"`, `"kgcoop"`, `"cocoop"`, `"vpt"`, `"maple"`,
            `"mvlpt"`, `"hicropl"`, `"gopro"`, `"task_oriented"`, `"multilane"` or `"fedpgp"`; that trains weights of a
            copy, or some beside them, `"lora"`, `"bottleneck"`, `"prefix"`, `"bitfit"`, `"full"`, `"distil"` or
            `"flyp"`. `docs/few_shot.md` says when to take which.
        classes: names in the order that is wanted; default those of the data. An underscore is read as a space.
        shots: pictures of each class to adapt with; the others are held out. None: all but a fifth of each class, or
            all, where `held_out` is given.
        seed: of the draw, and in a training of first weights and order.
        templates: text of a class, or a list of texts whose embeddings are averaged, with `{}` for its name; None: no
            texts, for models without a vocabulary; methods that read texts are then refused.
        held_out: pictures to measure with, as `data`; the draw then holds out none.
        skip_broken: go on without pictures that cannot be read, and say which; otherwise they are an error.
        **settings: of the method, arguments of its class, such as `alpha` of `kzoo.adaptation.GaussianDiscriminant` or
            `rank` of `kzoo.adaptation.LoRA`; where something is trained also `epochs`, `learning_rate`, `batch_size`.

    Returns:
        Adaptation: with `model`, a `kzoo.adaptation.AdaptedClassifier`, and `report`, which it prints as.

    Raises:
        ValueError: an unknown method; one class, a class without a picture or with fewer than the shots; a text longer
            than the context; and what the class of the method refuses, such as a rank above a width. The model is
            as it was.
        TypeError: a setting that the method has not; a method that trains, of an export.

    Example:
        >>> adapted = kzoo.adapt(model, "photos/", method="gda", shots=8)
        >>> adapted.report.before, adapted.report.after
        (0.71, 0.93)
        >>> adapted.model.save("birds")
        >>> kzoo.adaptation.AdaptedClassifier.load("birds").classify(["wren.jpg"])
    """
    wanted = {"classes": classes, "shots": shots, "seed": seed, "templates": templates, "held_out": held_out}
    wanted["skip_broken"] = skip_broken
    return adapted(model, data, method, settings, Plain(), **wanted)


class Plain:
    """Who works for `adapted`, and says nothing of it.

    Args:
        batch_size: pictures that are embedded at a time.
    """

    def __init__(self, batch_size=BATCH_SIZE):
        self.batch_size = batch_size

    def embed(self, encoder, images, name) -> Array:
        """Embeddings of pictures; the name of these is for whoever watches."""
        return encoder.encode_image(images, self.batch_size)

    def accuracy(self, found, examples, name) -> float:
        """That of an `AdaptedClassifier` on `Examples`."""
        if found.classifier is None:
            return found.accuracy(examples.images, examples.labels, self.batch_size)
        rows = self.embed(found.encoder, examples.images, name)
        return found.classifier.accuracy(rows, examples.labels)

    def left_out(self, problem) -> None:
        """Told of each picture that cannot be read and is left out."""
        warnings.warn(problem, stacklevel=2)

    def callbacks(self, epochs) -> list:
        """Callbacks of a training of so many epochs."""
        return []


@dataclass
class Texts:
    """Texts of the classes: embeddings `(classes, dim)`, the scale of their logits, and how they were written."""

    rows: Array
    scale: float
    templates: list


def adapted(
    model, data, name, settings, worker, classes, shots, seed, templates, held_out, skip_broken=False
) -> Adaptation:
    """As `adapt`, with somebody who embeds and watches, such as `Plain`."""
    begun, method = time.perf_counter(), method_called(name)
    check_settings(name, method, settings)
    if templates is None and method.needs_texts:
        raise ValueError(f"the method {name!r} reads texts of the classes, but templates is None; give a template.")
    examples = read_examples(data, classes, named=templates is not None)
    if skip_broken:
        examples = readable(examples, model.preprocessor.images, worker.left_out)
    chosen, rest = drawn(examples, shots, seed, held_out is not None)
    shown = examples.at(chosen)
    others = examples.at(rest)
    if held_out is not None:
        others = read_examples(held_out, examples.classes, "held_out")
        others = readable(others, model.preprocessor.images, worker.left_out) if skip_broken else others
    texts = None
    if templates is not None:
        rows = embedded_classes(model, examples.classes, templates)
        written = [templates] if isinstance(templates, str) else list(templates)
        texts = Texts(rows, model.scale_and_bias()[0], written)

    def work():
        training = None
        if method.trained_by is not None:  # what it refuses it refuses before anything takes long
            from kzoo.adaptation.trained_methods import training_of

            training = training_of(model, method, settings, shown, texts, seed)
        held = worker.embed(model, others.images, "held out") if len(others) else None
        before = None
        if texts is not None and held is not None:
            before = ZeroShot(texts.rows, examples.classes, texts.scale).accuracy(held, others.labels)
        if training is None:
            classifier, count = _made(model, name, method, settings, shown, texts, worker)
            after = None if held is None else classifier.accuracy(held, others.labels)
            return Adaptation(AdaptedClassifier(model, classifier), None), count, before, after
        training.fit(worker.callbacks(training.epochs))
        found = training.outcome()
        after = None if held is None else worker.accuracy(found, others, "held out")
        return Adaptation(found, None, training.model), training.count, before, after

    (found, count, before, after), memory = measured(work, model)
    report = AdaptationReport(
        method=name,
        classes=len(examples.classes),
        shots=shots,
        pictures=len(shown),
        held_out=len(others),
        before=before,
        after=after,
        trained=count,
        seconds=time.perf_counter() - begun,
        memory=memory,
    )
    return Adaptation(found.model, report, found.trained)


def measured(run: Callable, model) -> tuple:
    """What a function gives, and by how many bytes the memory rose; None where nothing measures that."""
    found = []
    if "keras" not in sys.modules or not hasattr(model, "trainable_variables"):  # an export, which runs without
        return run(), None
    from kzoo.scale.peak import can_measure, peak_of

    if not can_measure():
        return run(), None
    memory = peak_of(lambda: found.append(run()))
    return found[0], memory


def _made(model, name, method, settings, shown, texts, worker) -> tuple[EmbeddingClassifier, int]:
    """The classifier of a method, and how many of its parameters were trained."""
    needs = "embeddings" in method.parameters()
    given = {
        "embeddings": worker.embed(model, shown.images, "shown") if needs else None,
        "labels": shown.labels,
        "zero_shot": None if texts is None else texts.rows,
        "classes": shown.classes,
        "scale": SCALE if texts is None else texts.scale,
    }
    classifier = classifier_of(method, settings, **given)
    trained = sum(np.size(getattr(classifier, each)) for each in NUMBERS_OF.get(name, ()))
    return classifier, trained
