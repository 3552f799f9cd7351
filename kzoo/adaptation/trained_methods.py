"""The methods of `kzoo.adapt` that train: prompts, weights of a copy, and pairs of pictures and texts of classes."""

import inspect
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.adapted_classifier import AdaptedClassifier
from kzoo.adaptation.adapted_model import AdaptedModel
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.distillation.class_logits import teacher_logits
from kzoo.adaptation.distillation.distilled import LOGITS, TaughtClassifier
from kzoo.adaptation.methods import FITTED
from kzoo.adaptation.shown import Shown
from kzoo.adaptation.texts import embedded_classes
from kzoo.adaptation.tuned_classifier import TunedClassifier, opened_copy
from kzoo.data.dataset import pairs
from kzoo.keras_contact import global_seed
from kzoo.losses import InfoNCE, SigmoidContrastive
from kzoo.models.checks import check_trained
from kzoo.paths import parameters
from kzoo.training.optimizers import AdamW
from kzoo.training.recipes import recipe

WIDTH = 768.0  # of the towers that default learning rates are for
WARM = 1e-5  # the rate that CoOp begins with
OPTIMIZERS = {  # of a learning rate
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adam_1e-3": lambda rate: keras.optimizers.Adam(rate, epsilon=1e-3),
    "adamw": lambda rate: AdamW(rate, weight_decay=0.0),
}
EPOCHS = ((1, 50), (4, 100), (math.inf, 200))  # up to so many pictures of a class, so many epochs: CoOp's


@dataclass
class Training:
    """A training that was looked at and has not begun.

    Attributes:
        model: what is trained: a `PromptedClassifier`, or a `DualEncoder`.
        fit: function of callbacks that trains it.
        epochs: passes over the pictures.
        outcome: function of nothing to what came of it, an `AdaptedClassifier`.
    """

    model: Any
    fit: Callable
    epochs: int
    outcome: Callable

    @property
    def count(self) -> int:
        """Parameters that are trained."""
        return sum(math.prod(each.shape) for each in self.model.trainable_variables)


def training_of(model, method, settings, examples, texts, seed) -> Training:
    """The training of a method, with all that can be refused refused.

    Args:
        model: a `DualEncoder`, or another model with towers of pictures and texts; it stays as it is.
        method: `kzoo.adaptation.methods.Method`.
        settings: of its class and of the training, before the method's own.
        examples: `kzoo.adaptation.examples.Examples` that are shown.
        texts: `kzoo.adaptation.adapt.Texts`.
        seed: of first weights and of the order.

    Raises:
        TypeError: an export, of which nothing can be trained.
        ValueError: what the class of the method refuses.
    """
    if not hasattr(model, "modalities"):
        raise TypeError(
            f"{method.kind} trains a model, but the one given is of type {type(model).__name__}, an export; give the "
            "model that it was made of, or take a method of embeddings, such as 'gda'."
        )
    made = {"prompts": _of_prompts, "weights": _of_weights, "teacher": _of_teacher, "pairs": _of_pairs}[
        method.trained_by
    ]
    chosen = method.defaults | settings
    if method.rate_by_width and "learning_rate" not in settings:
        chosen = chosen | {"learning_rate": method.defaults["learning_rate"] * WIDTH / width_of(model)}
    if chosen.get("epochs") is None:
        fewest = int(np.bincount(examples.labels).min())
        chosen = chosen | {"epochs": next(epochs for most, epochs in EPOCHS if fewest <= most)}
    own = {name: value for name, value in chosen.items() if name not in FITTED}
    chosen = chosen | {"optimizer": method.optimizer}
    with seeded(seed):
        training = made(model, method.made_of(), own, chosen, examples, texts, seed)
    check_trained(training.model)
    fit = training.fit

    def fit_seeded(callbacks):
        with seeded(seed):
            fit(callbacks)

    training.fit = fit_seeded
    return training


def width_of(model) -> float:
    """What kernels of the image tower multiply: the median of their inputs, of a transformer its width.

    Rates of Adam that suit one width suit another as its inverse (Yang et al., Tensor Programs V, 2022, arXiv
    2203.03466): what an update adds to an output is a sum over the inputs.
    """
    tower = model.modalities().get("image", model)
    sides = [math.prod(each.variable.shape[:-1]) for each in parameters(tower) if each.path.endswith(".kernel")]
    return float(np.median(sides)) if sides else WIDTH


@contextmanager
def seeded(seed) -> Iterator:
    """Inside, weights are drawn by a seed; what others draw afterwards is as if nothing had been."""
    kept, state = random.getstate(), global_seed(make=True)
    before = ops.copy(ops.convert_to_tensor(state))
    random.seed(seed)  # of which Keras takes the seeds of initialisers
    state.assign(np.array([seed % 2**32, 0], keras.backend.standardize_dtype(state.dtype)))
    try:
        yield
    finally:
        random.setstate(kept)
        state.assign(before)


def _of_prompts(model, kind, own, settings, examples, texts, seed):
    if "template" in inspect.signature(kind.__init__).parameters:  # others read names alone
        if len(texts.templates) > 1:
            raise ValueError(
                f"{kind.__name__} reads one template, but {len(texts.templates)} are given; give one, or take another "
                "method."
            )
        own = own | {"template": texts.templates[0]}
    classifier = kind(model, list(examples.classes), **own)

    def outcome():
        try:
            baked = classifier.bake()
        except NotImplementedError:  # what it says of a class depends on the picture
            return AdaptedModel(classifier)
        encoder = classifier.encoder()
        return AdaptedClassifier(model if encoder is classifier.model else encoder, baked)

    fit = _fit(classifier, settings, examples, seed)
    return Training(classifier, fit, settings["epochs"], outcome)


def _of_weights(model, kind, own, settings, examples, texts, seed, made=TunedClassifier, **fitted):
    classifier = made(model, list(examples.classes), texts.rows, texts.templates, kind(**own))
    fit = _fit(classifier, settings, examples, seed, **fitted)
    return Training(classifier, fit, settings["epochs"], lambda: AdaptedClassifier(classifier.model, classifier.bake()))


def _of_teacher(model, kind, own, settings, examples, texts, seed):
    """As of weights, with what a teacher says of the pictures beside them."""
    config = kind(**own)
    beside = {LOGITS: teacher_logits(config.teacher, examples, texts.templates)}
    given = (model, lambda: config, {}, settings, examples, texts, seed, TaughtClassifier)
    return _of_weights(*given, beside=beside, loss=config.loss())


def _fit(classifier, settings, examples, seed, beside=None, loss=None):
    """What trains a classifier on labels, compiled."""
    data = Shown(examples, classifier.preprocessor, settings["batch_size"], seed, beside)
    epochs = settings["epochs"]
    rate = _cosine(settings["learning_rate"], epochs, len(data))
    classifier.compile(OPTIMIZERS[settings["optimizer"]](rate), **({} if loss is None else {"loss": loss}))
    return lambda callbacks: classifier.fit(data, epochs=epochs, verbose=0, callbacks=callbacks)


def _cosine(rate, epochs, steps):
    """A cosine to 0, after one epoch in which the rate rises."""
    if epochs == 1:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    warmed = {"warmup_target": rate, "warmup_steps": steps}
    return keras.optimizers.schedules.CosineDecay(WARM, (epochs - 1) * steps, **warmed)


def _of_pairs(model, kind, own, settings, examples, texts, seed):
    """FLYP: the contrastive loss of pictures and texts of their classes.

    Rows of one class have one text. Their logits are the same, so that no picture is pushed away from its class by
    another of it: of each class the loss counts how many are in the batch.
    """
    copy, epochs = opened_copy(model, kind(**own)), settings["epochs"]
    names = [examples.classes[label].replace("_", " ") for label in examples.labels]
    captions = [[template.replace("{}", name) for template in texts.templates] for name in names]
    source = {"images": list(examples.images), "captions": captions}
    data = pairs(source, copy.preprocessor, batch_size=min(settings["batch_size"], len(names)), seed=seed)
    how = recipe("flyp", steps=epochs * len(data), learning_rate=settings["learning_rate"])
    as_before = SigmoidContrastive if any(each["loss"] == "SigmoidContrastive" for each in model.loss_spec) else InfoNCE
    copy.compile(how, loss=as_before())

    def outcome():
        rows = embedded_classes(copy, examples.classes, texts.templates)
        return AdaptedClassifier(copy, ZeroShot(rows, examples.classes, copy.scale_and_bias()[0]))

    return Training(
        copy, lambda callbacks: copy.fit(data, epochs=epochs, verbose=0, callbacks=callbacks), epochs, outcome
    )
