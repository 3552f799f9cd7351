"""What training leaves in the folder and on the card of a model: its loss, and a record of what was done."""

import logging

from kzoo.losses.spec import from_spec, to_spec

logger = logging.getLogger("kzoo")


def kept_loss(model) -> list:
    """The spec of the loss that a model was compiled with, of its own where it was not.

    Constants have no place in a spec: a loss with some is left out, which is said, and the model's own is kept.
    """
    own = list(model.loss_spec)
    if not model.compiled:
        return own
    spec = to_spec(model.objective)
    if spec is None:
        logger.warning(
            "the loss holds constants, which a folder does not keep: name it again to compile what it opens."
        )
    return own if spec is None or (own and spec == to_spec(from_spec(own))) else spec


def loss_in_words(spec) -> str:
    """A spec as a sum, for people.

    Example:
        >>> loss_in_words([{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}])
        'InfoNCE + 2 * Captioning'
    """
    return " + ".join(_weight(term.get("weight", 1.0)) + term["loss"] for term in spec)


def trainings_in_words(model) -> str:
    """What `fit` has done with a model, without an end; "" where nothing is recorded."""
    return "; then ".join(map(_training, model.trainings))


def _weight(weight):
    if isinstance(weight, dict):
        return f"a schedule ({weight['class_name']}) * "
    return "" if weight == 1.0 else f"{weight:g} * "


def _training(done):
    rows = f" ({done['rows']:,} rows, {done['batch_size']:,} a batch)" if "rows" in done else ""
    epochs = f"{done['epochs']} epoch{'s' if done['epochs'] > 1 else ''}"
    results = ", ".join(f"{name} {value:.4g}" for name, value in done["results"].items())
    return f"trained with kzoo on `{done['data']}`{rows} for {epochs}, with {results} in the last"
