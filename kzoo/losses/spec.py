"""Losses by name: those of a preset row and of a saved folder, and what to say of a name that there is not."""

import json
from difflib import get_close_matches

import keras

from kzoo.losses.base import Loss, WeightedSum

KZOO = "kzoo>"  # begins the name under which Keras knows a loss of kzoo

ELSEWHERE = {  # what other libraries and papers call a loss, small and without "loss" -> its name here
    "align": "InfoNCE",
    "clip": "InfoNCE",
    "coca": "CaptioningContrastive",
    "contrastive": "InfoNCE",
    "distillclip": "LogitDistillation",
    "filip": "FineGrainedContrastive",
    "ibotpatch": "IBOT",
    "moco": "QueueContrastive",
    "siglip": "SigmoidContrastive",
    "sigmoid": "SigmoidContrastive",
    "simclr": "NTXent",
    "tripletmargin": "Triplet",
}


def from_spec(spec) -> Loss:
    """The loss of a preset row: a list of `{"loss": class name, "weight": w, ...arguments}`, of a saved folder one
    with all arguments in `"config"`.

    Raises:
        AttributeError: no loss of that name.

    Example:
        >>> from_spec([{"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 2.0}])
    """
    built = [_weight(term.get("weight", 1.0)) * _built(term) for term in spec]
    return built[0].terms[0] if len(built) == 1 and built[0].weights_of_terms == [1.0] else sum(built)


def named(loss) -> Loss:
    """A loss, or the loss that a name stands for, with its defaults: what `compile` takes.

    Raises:
        ValueError: no loss of that name.
        TypeError: one that needs arguments, or something else, such as a loss of Keras.

    Example:
        >>> named("InfoNCE")
    """
    if isinstance(loss, str):
        try:
            return _named(loss)()
        except AttributeError as error:
            raise ValueError(f"loss {loss!r} is unknown: {error}") from error
        except TypeError as error:
            raise TypeError(
                f"loss is {loss!r}, which needs arguments ({error}); give kzoo.losses.{loss}(...)."
            ) from error
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"loss is the class {loss.__name__}; give a loss, {loss.__name__}().")
    if not isinstance(loss, Loss):
        raise TypeError(
            f"loss is of type {type(loss).__name__}, but a kzoo loss is expected, such as "
            "kzoo.losses.InfoNCE(); Keras losses compare with a target, which pairs do not have."
        )
    return loss


def _built(term):
    arguments = {name: value for name, value in term.items() if name not in ("loss", "weight", "config")}
    return _named(term["loss"]).from_config(arguments | term.get("config", {}))


def to_spec(loss) -> list[dict] | None:
    """The inverse of `from_spec`, in values that JSON has; None for a loss that holds constants, whose values a spec
    does not have.

    Example:
        >>> to_spec(InfoNCE() + 2.0 * Captioning())[1]["weight"]
        2.0
    """
    terms = zip(loss.weights_of_terms, loss.terms) if isinstance(loss, WeightedSum) else [(1.0, loss)]
    spec = [_term(weight, keras.saving.serialize_keras_object(term)) for weight, term in terms]
    return None if '"constants"' in json.dumps(spec) else spec


def _term(weight, serialized):
    config = {name: value for name, value in serialized["config"].items() if name not in ("dtype", "trainable")}
    weight = keras.saving.serialize_keras_object(weight) if callable(weight) else weight
    name = (serialized["registered_name"] or serialized["class_name"]).removeprefix(KZOO)
    return {"loss": name, "weight": weight, "config": config}


def _weight(given):
    return keras.saving.deserialize_keras_object(given) if isinstance(given, dict) else given


def unknown(name, names) -> AttributeError:
    """The error to raise for a name that is not among `names`; it says which are nearest."""
    spelt = {each.lower(): each for each in names}
    stem = name.lower().replace("_", "").removesuffix("loss")
    near = [ELSEWHERE[stem]] if stem in ELSEWHERE else [spelt[each] for each in get_close_matches(name.lower(), spelt)]
    said = f"did you mean {' or '.join(near)}?" if near else "dir(kzoo.losses) lists what it has."
    return AttributeError(f"kzoo.losses has no {name!r}; {said}")


def _named(name):
    registered = {key: each for key, each in keras.saving.get_custom_objects().items() if _is_loss(each)}
    registered = {key.removeprefix(KZOO): each for key, each in registered.items()}
    if name not in registered:
        raise unknown(name, registered)
    return registered[name]


def _is_loss(each):
    return isinstance(each, type) and issubclass(each, Loss)
