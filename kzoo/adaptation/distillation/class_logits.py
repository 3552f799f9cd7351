"""What a teacher says of pictures: a score of each class."""

import os
from pathlib import Path

import numpy as np

from kzoo.adaptation.adapted_classifier import MODEL_FILE, AdaptedClassifier
from kzoo.adaptation.classifiers.classifier import CLASSIFIER_FILE, SCALE
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.distillation.teacher_embeddings import TeacherEmbeddings, normal
from kzoo.adaptation.distillation.with_teacher import no_teacher, opened_teacher
from kzoo.adaptation.texts import embedded_classes
from kzoo.evaluation.zero_shot import class_embeddings, fill_templates
from kzoo.inference.stored import SUFFIX
from kzoo.types import Array


def teacher_logits(teacher, examples, templates) -> Array:
    """Scores of the classes by a teacher, each picture read once.

    Args:
        teacher: see `kzoo.adaptation.Distillation`.
        examples: `kzoo.adaptation.examples.Examples`.
        templates: list of texts of a class, with `{}` for its name.

    Returns:
        float32 array `(pictures, classes)`.

    Raises:
        TypeError: a teacher of another kind.
        ValueError: one of other classes, or that has not seen a picture or a text.
    """
    if isinstance(teacher, (str, os.PathLike)):
        teacher = _opened(Path(teacher), teacher)
    if isinstance(teacher, AdaptedClassifier):
        return _of_classifier(teacher, examples)
    names = [name.replace("_", " ") for name in examples.classes]
    if hasattr(teacher, "encode_image") and hasattr(teacher, "encode_text"):
        rows, images = embedded_classes(teacher, names, templates), teacher.encode_image(examples.images)
        return ZeroShot(rows, examples.classes, teacher.scale_and_bias()[0]).logits(images)
    if isinstance(teacher, TeacherEmbeddings):
        images = teacher.find("image", [_name(*each) for each in zip(examples.images, examples.places)])
        rows = class_embeddings(teacher.find("text", fill_templates(names, templates)), len(names))
    elif isinstance(teacher, dict):
        images, rows = _in_order(teacher, examples)
    else:
        raise TypeError(no_teacher(teacher))
    return ZeroShot(rows, examples.classes, SCALE).logits(images)


def _opened(place, given):
    if place.suffix == SUFFIX:
        return TeacherEmbeddings.load(place)
    adapted = any((place / name).is_file() for name in (CLASSIFIER_FILE, MODEL_FILE))
    return AdaptedClassifier.load(place) if adapted else opened_teacher(given)


def _of_classifier(teacher, examples):
    if {*teacher.classes} != {*examples.classes}:
        odd = sorted({*teacher.classes} ^ {*examples.classes})[0]
        raise ValueError(
            f"the teacher and the data differ in their classes, such as {odd!r}; give a teacher of these classes, or "
            "a model that reads their names."
        )
    columns = [teacher.classes.index(name) for name in examples.classes]
    return np.asarray(teacher.logits(examples.images), "float32")[:, columns]


def _name(image, place):
    return normal(image) if isinstance(image, (str, os.PathLike)) else f"row {place}"


def _in_order(teacher, examples):
    """Embeddings of pictures in the order of the data, and of classes in theirs."""
    wanted = ("image_embeddings", "text_embeddings")
    if {*teacher} != {*wanted}:
        raise ValueError(
            f"teacher is a dict of {', '.join(map(str, teacher)) or 'nothing'}; give {' and '.join(wanted)}."
        )
    images, rows = (np.asarray(teacher[name]) for name in wanted)
    if images.ndim != 2 or len(images) <= examples.places.max():
        raise ValueError(
            f"the teacher's image_embeddings have the shape {images.shape}; give a row for each picture of the data, "
            f"of which one has the place {examples.places.max()}."
        )
    if rows.shape != (len(examples.classes), images.shape[1]):
        raise ValueError(
            f"the teacher's text_embeddings have the shape {rows.shape}; give one of {images.shape[1]} channels for "
            f"each of the {len(examples.classes)} classes."
        )
    return images[examples.places], rows
