"""Models between models: interpolation, the sphere, and soups."""

from typing import Any, NamedTuple

import numpy as np

from kzoo.adaptation.weight_space.named import MODEL, assign, check_alike, weights_of, with_weights
from kzoo.arguments import FUNCTION, SHARE, is_number, sequence, shown, takes
from kzoo.layers.copies import copy_of

PARALLEL = 1e-6  # of an angle, below which a great circle is a straight line
MODELS = sequence(MODEL, "a list of at least two models of kzoo", 2)


@takes(base=MODEL, tuned=MODEL, alpha=SHARE)
def interpolate(base, tuned, alpha=0.5) -> Any:
    """The model on the line between two, `(1 - alpha) theta_base + alpha theta_tuned` (WiSE-FT).

    A fine-tuned model knows its task better, the one that it comes from all else; between them are models that are good
    at both. `interpolation_curve` looks for the best.

    Args:
        base: the model before a training.
        tuned: the model after it.
        alpha: how far along, 0 is `base` and 1 is `tuned`.

    Returns:
        a new model of the same form; the preprocessor is that of `base`.

    Raises:
        ValueError: models of two architectures.

    Example:
        >>> robust = interpolate(zero_shot, fine_tuned, 0.5)

    Reference:
        Wortsman et al., Robust Fine-tuning of Zero-shot Models (WiSE-FT), 2021, arXiv 2109.01903.
    """
    check_alike([base, tuned])
    return with_weights(base, on_line(weights_of(base), weights_of(tuned), alpha))


def on_line(one, other, alpha) -> dict:
    """Name -> array between those of two."""
    return {name: (1.0 - alpha) * each + alpha * other[name] for name, each in one.items()}


@takes(one=MODEL, other=MODEL, alpha=SHARE)
def slerp(one, other, alpha=0.5) -> Any:
    """The model on the great circle between two, weight by weight: `sin((1 - t) w) a + sin(t w) b`, over `sin w`.

    `w` is the angle between the weights of both, whose lengths are kept where a straight line would shorten them. Where
    they are parallel, or one of them is zero, it is the line.

    Args:
        one, other: models of one architecture.
        alpha: how far along, 0 is `one` and 1 is `other`.

    Returns:
        a new model of the same form; the preprocessor is that of `one`.

    Raises:
        ValueError: models of two architectures.

    Example:
        >>> between = slerp(trained_on_birds, trained_on_cars)

    Reference:
        Shoemake, Animating Rotation with Quaternion Curves, 1985.
    """
    check_alike([one, other])
    ends = weights_of(one), weights_of(other)
    return with_weights(one, {name: on_circle(each, ends[1][name], alpha) for name, each in ends[0].items()})


def on_circle(a, b, alpha) -> np.ndarray:
    """An array on the great circle between two."""
    wide = a.astype("float64"), b.astype("float64")
    lengths = [np.linalg.norm(each) for each in wide]
    angle = 0.0
    if min(lengths) > 0:
        angle = np.arccos(np.clip(np.sum(wide[0] * wide[1]) / (lengths[0] * lengths[1]), -1.0, 1.0))
    if angle < PARALLEL or np.pi - angle < PARALLEL:
        return ((1.0 - alpha) * wide[0] + alpha * wide[1]).astype("float32")
    shares = np.sin((1.0 - alpha) * angle), np.sin(alpha * angle)
    return ((shares[0] * wide[0] + shares[1] * wide[1]) / np.sin(angle)).astype("float32")


@takes(models=MODELS)
def uniform_soup(models) -> Any:
    """The mean of the weights of several models that were fine-tuned from one.

    Args:
        models: at least two of one architecture, such as those of several learning rates or seeds.

    Returns:
        a new model of the same form; the preprocessor is that of the first.

    Raises:
        ValueError: models of two architectures.

    Example:
        >>> soup = uniform_soup([first, second, third])

    Reference:
        Wortsman et al., Model Soups, 2022, arXiv 2203.05482.
    """
    check_alike(models)
    total = weights_of(models[0])
    for model in models[1:]:
        for name, each in weights_of(model).items():
            total[name] = total[name] + each
    return with_weights(models[0], {name: each / len(models) for name, each in total.items()})


class Soup(NamedTuple):
    """What a greedy soup has come to.

    Attributes:
        model: the mean of its members.
        members: places of the models that are in it, in the order in which they came.
        score: what `evaluate` says of it.
        scores: what `evaluate` says of each model alone.
    """

    model: Any
    members: tuple
    score: float
    scores: tuple


@takes(models=MODELS, evaluate=FUNCTION)
def greedy_soup(models, evaluate) -> Soup:
    """The mean of those models that make it no worse: the best first, each further one if the score does not fall.

    Args:
        models: at least two of one architecture.
        evaluate: function of a model to a number, the larger the better, such as its accuracy on held-out pictures. It
            is called for each model, and for each soup that is tried.

    Returns:
        `Soup`.

    Raises:
        ValueError: models of two architectures; a score that is no number.

    Example:
        >>> soup = greedy_soup(models, lambda model: classifier.accuracy(model.encode_image(photos), labels))
        >>> soup.members, soup.score
        ((2, 0), 0.87)

    Reference:
        Wortsman et al., Model Soups, 2022, arXiv 2203.05482.
    """
    check_alike(models)
    scores = tuple(score_of(evaluate, model) for model in models)
    order = np.argsort(-np.array(scores), kind="stable").tolist()
    members, best, mean = order[:1], scores[order[0]], weights_of(models[order[0]])
    tried = copy_of(models[0])
    for place in order[1:]:
        count = len(members)
        with_it = {
            name: mean[name] + (each - mean[name]) / (count + 1) for name, each in weights_of(models[place]).items()
        }
        assign(tried, with_it)
        score = score_of(evaluate, tried)
        if score >= best:
            members, best, mean = [*members, place], score, with_it
    assign(tried, mean)
    return Soup(tried, tuple(members), best, scores)


def score_of(evaluate, model) -> float:
    """What a function says of a model, a finite number."""
    score = evaluate(model)
    if isinstance(score, np.ndarray) and score.ndim == 0:
        score = score.item()
    if not is_number(score) or not np.isfinite(score):
        raise ValueError(f"evaluate gives {shown(score, True)}; give a function of a model to a finite number.")
    return float(score)
