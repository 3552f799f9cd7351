"""Texts of classes: descriptions that somebody wrote, and templates that are weighed by the pictures."""

from collections.abc import Mapping

import numpy as np

from kzoo.adaptation.classifiers.arrays import classes_of, rows_of
from kzoo.arguments import COUNT, FUNCTION, POSITIVE, TABLE, takes
from kzoo.evaluation.directions import directions
from kzoo.evaluation.zero_shot import softmax
from kzoo.types import Array


@takes(encode_text=FUNCTION, descriptions=TABLE)
def describe_classes(encode_text, descriptions: Mapping) -> tuple:
    """One embedding of each class from descriptions of it, as many as there are: the mean, at unit length.

    Args:
        encode_text: function of a list of strings to embeddings, such as `model.encode_text` of a model or an export.
        descriptions: dict of the name of a class -> list of sentences about how it looks.

    Returns:
        `(classes, embeddings)`: tuple of names, and float32 `(classes, dim)`, what `zero_shot` is everywhere.

    Raises:
        ValueError: one class, a class without a description, descriptions that cancel each other out.
        TypeError: something else than strings.

    Example:
        >>> told = {"wren": ["a small round brown bird with a raised tail"], "robin": ["a bird with a red breast"]}
        >>> classes, texts = describe_classes(model.encode_text, told)

    Reference:
        Pratt et al., What Does a Platypus Look Like? (CuPL), 2022, arXiv 2209.03320.
    """
    classes, sentences = classes_of(descriptions), []
    for name in classes:
        own = [descriptions[name]] if isinstance(descriptions[name], str) else list(descriptions[name])
        if not own:
            raise ValueError(f"class {name!r} has no description; give at least one sentence of each class.")
        sentences.append(own)
    rows = rows_of(encode_text([each for own in sentences for each in own]), "the embeddings of the descriptions")
    ends = np.cumsum([len(own) for own in sentences])[:-1]
    means = np.stack([own.mean(axis=0) for own in np.split(rows, ends)])
    return classes, directions(means, "the embeddings of the classes")


@takes(num_classes=COUNT, scale=POSITIVE)
def template_weights(embeddings, prompt_embeddings, num_classes, others=None, scale=100.0) -> Array:
    """How much each template is worth for these pictures, which need no labels.

    A template is good whose best class stands out: its score is the mean over pictures of the largest logit of a class.
    Some prompts are near to any picture; so of the logits of each prompt their mean is taken away first, over these
    pictures and over others, half each. The weights are the softmax of the scores.

    Args:
        embeddings: float array `(n, dim)` of pictures.
        prompt_embeddings: float array `(classes * templates, dim)`, in the order of `kzoo.evaluation.fill_templates`.
        num_classes: how many classes.
        others: float array `(m, dim)` of pictures of any kind, as the model was trained on; without them the mean over
            the first is taken away (our choice).
        scale: of the logits (our choice, as is the softmax with no other temperature).

    Returns:
        float32 array `(templates,)`, which sums to 1: the `weights` of `kzoo.evaluation.class_embeddings`.

    Raises:
        ValueError: arrays that do not go together.

    Example:
        >>> prompts = model.encode_text(kzoo.evaluation.fill_templates(classes, templates))
        >>> weights = template_weights(model.encode_image(photos), prompts, len(classes))
        >>> texts = kzoo.evaluation.class_embeddings(prompts, len(classes), weights)

    Reference:
        Allingham et al., A Simple Zero-shot Prompt Weighting Technique (ZPE), 2023, arXiv 2302.06235. We know the
        paper, not its code.
    """
    rows = rows_of(embeddings)
    prompts = rows_of(prompt_embeddings, "prompt_embeddings", rows.shape[1])
    if len(prompts) % num_classes:
        raise ValueError(f"{len(prompts)} prompts are not the same number of templates for {num_classes} classes.")
    mean = rows.mean(axis=0)
    if others is not None:
        mean = 0.5 * (mean + rows_of(others, "others", rows.shape[1]).mean(axis=0))
    by_template = prompts.reshape(num_classes, -1, prompts.shape[1]).swapaxes(0, 1)  # (templates, classes, dim)
    scores = [np.mean(np.max((rows - mean) @ own.T, axis=1)) for own in by_template]
    return softmax(scale * np.array([scores]))[0].astype("float32")
