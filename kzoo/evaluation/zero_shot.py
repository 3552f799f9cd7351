"""Zero-shot classification: class names to prompts, prompts to one embedding per class. In numpy."""

from collections.abc import Iterable

import numpy as np

from kzoo.evaluation.directions import directions
from kzoo.types import Array

WANTED = {"labels": "at least one class name", "templates": "at least one prompt such as 'a photo of a {}.'"}


def fill_templates(labels, templates) -> list:
    """Every label in every template, template by template within a label.

    Args:
        labels: list of class names.
        templates: one template or a list; each holds `{}` where the name goes.

    Returns:
        list of `len(labels) * len(templates)` strings.

    Raises:
        ValueError: no labels, no templates, a template without `{}`.
        TypeError: something else than strings, or one label that is in no list.

    Example:
        >>> fill_templates(["cat", "dog"], "a {}.")
        ['a cat.', 'a dog.']
    """
    labels, templates = _strings("labels", labels), _strings("templates", templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"template {template!r} needs one {{}} where the class name goes.")
    return [template.replace("{}", label) for label in labels for template in templates]


def _strings(name, given):
    """A list of strings, `templates` also of one alone."""
    if isinstance(given, str) and name == "templates":
        return [given]
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{name} is {given!r}, but a list of {WANTED[name]} is expected.")
    if not isinstance(given, Iterable) or isinstance(given, (dict, set, frozenset)):  # which have no order, or another
        raise TypeError(f"{name} is of type {type(given).__name__}, but a list of {WANTED[name]} is expected.")
    given = list(given)
    if not given:
        raise ValueError(f"{name} is empty; give {WANTED[name]}.")
    for index, each in enumerate(given):
        if not isinstance(each, str):
            raise TypeError(f"{name}[{index}] is of type {type(each).__name__}, but a string is expected.")
    return given


def class_embeddings(prompt_embeddings, num_classes, weights=None) -> Array:
    """The mean of each class's prompts, back at unit length: `(classes * templates, dim)` to `(classes, dim)`.

    Args:
        prompt_embeddings: float array, in the order of `fill_templates`.
        num_classes: how many classes.
        weights: float array `(templates,)`, what each template counts, such as `kzoo.adaptation.template_weights`
            gives; default all the same.

    Raises:
        ValueError: a prompt without a direction, or prompts of one class that cancel each other out; weights that are
            not one for each template, negative, or all zero.

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020, section 3.1.4 (prompt ensembling).
    """
    prompts = directions(np.asarray(prompt_embeddings), "the embeddings of the prompts")
    prompts = prompts.reshape(num_classes, -1, prompts.shape[-1])  # (classes, templates, dim)
    if weights is None:
        return directions(prompts.mean(axis=1), "the embeddings of the classes")
    weights = np.asarray(weights, prompts.dtype)
    if weights.shape != prompts.shape[1:2] or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(
            f"weights have shape {weights.shape} for {prompts.shape[1]} templates; give a number of at least 0 for "
            "each, not all of them 0."
        )
    return directions(np.einsum("ctd,t->cd", prompts, weights / weights.sum()), "the embeddings of the classes")


def softmax(logits) -> Array:
    """Row-wise softmax of an array `(n, classes)`."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
