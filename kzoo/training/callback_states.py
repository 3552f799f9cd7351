"""What callbacks have noted since a training began, kept with it: of Keras' and of anybody's."""

import json
from typing import Any

import keras
import numpy as np

from kzoo.keras_contact import decide_direction

ARRAY, TUPLE, PAIRS = "array of a callback", "tuple", "dict"  # how JSON says what it does not have
DEEPEST = 8  # lists and dicts within each other
DIRECTION = "monitor_op"  # of Keras' callbacks that watch a number: a function, chosen when they see it first


class CallbackStates:
    """The attributes of callbacks that have changed since the training began, as far as they are numbers, texts,
    arrays, and lists, tuples and dicts of these. Their settings, which do not change, are those of the new script. A
    callback whose `not_kept` names attributes, such as the times of a clock, begins with those anew.

    Args:
        callbacks: list of them, in whose order those of one class are told apart.

    Example:
        >>> states = CallbackStates([keras.callbacks.EarlyStopping("loss")])
        >>> states.begun()                      # after `on_train_begin`
        >>> state, arrays, lost = states.noted()        # later
        >>> states.put_back(state, lost, arrays)        # in another process
    """

    def __init__(self, callbacks):
        self.by_name, counts = {}, {}
        for each in callbacks:
            kind = f"{type(each).__module__}.{type(each).__qualname__}"
            counts[kind] = counts.get(kind, -1) + 1
            self.by_name[f"{kind}#{counts[kind]}"] = each
        self.first = {}  # name -> attribute -> (the value itself, what JSON makes of it)

    def begun(self) -> None:
        """Take what is there now for what each training begins with."""
        self.first = {
            name: {attribute: (value, _try_written(value)) for attribute, value in vars(each).items()}
            for name, each in self.by_name.items()
        }

    def noted(self) -> tuple[dict, dict, dict]:
        """What differs from the beginning.

        Returns:
            `(state, arrays, lost)`: name of a callback -> attribute -> value of JSON; name -> array; and name -> the
            attributes that hold something else by now, which cannot be kept.
        """
        state: dict[str, dict] = {}
        arrays: dict[str, Any] = {}
        lost: dict[str, list] = {}
        for name, callback in self.by_name.items():
            for attribute, value in vars(callback).items():
                if attribute in getattr(callback, "not_kept", ()):
                    continue
                first, text = self.first.get(name, {}).get(attribute, (None, None))
                if value is first and not isinstance(value, (list, dict)):
                    continue
                own: dict[str, Any] = {}
                try:
                    written = _written(value, own, f"{name}/{attribute}")
                except TypeError:
                    if value is not first:
                        lost.setdefault(name, []).append(attribute)
                    continue
                if value is first and own:  # arrays that it had from the beginning
                    continue
                if own or text is None or text != json.dumps(written):
                    state.setdefault(name, {})[attribute] = written
                    arrays |= own
        return state, arrays, lost

    def put_back(self, state, lost, arrays) -> None:
        """Set what `noted` has given; callbacks that are not there any more are left out."""
        for name, callback in self.by_name.items():
            if DIRECTION in lost.get(name, ()) and getattr(callback, DIRECTION, False) is None:
                decide_direction(callback)
            for attribute, written in state.get(name, {}).items():
                if not hasattr(type(callback), attribute):  # no method has another's name in a file that was altered
                    setattr(callback, attribute, _read(written, arrays))

    def strange(self, lost) -> dict:
        """Of `lost` what matters: of callbacks that are neither Keras' nor kzoo's, who know how to begin anew."""
        own = ("keras.", "kzoo.")
        return {name: attributes for name, attributes in lost.items() if not name.startswith(own)}


def _try_written(value):
    arrays: dict[str, Any] = {}
    try:
        text = json.dumps(_written(value, arrays, ""))
    except TypeError:
        return None
    return None if arrays else text


def _written(value, arrays, place, depth=0):
    """A value in those of JSON, whose arrays are put into `arrays`.

    Raises:
        TypeError: something within it that has no place there.
    """
    if depth > DEEPEST:
        raise TypeError
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        array = np.array(keras.ops.convert_to_numpy(value))
        if array.dtype.kind not in "biuf":
            raise TypeError
        arrays[place] = array
        return {ARRAY: place}
    if isinstance(value, (list, tuple)):
        found = [_written(each, arrays, f"{place}/{index}", depth + 1) for index, each in enumerate(value)]
        return {TUPLE: found} if isinstance(value, tuple) else found
    if type(value) is dict and all(isinstance(each, (str, int)) for each in value):
        items = value.items()
        return {PAIRS: [[key, _written(each, arrays, f"{place}/{key}", depth + 1)] for key, each in items]}
    raise TypeError


def _read(written, arrays):
    if isinstance(written, list):
        return [_read(each, arrays) for each in written]
    if not isinstance(written, dict):
        return written
    ((kind, content),) = written.items()
    if kind == ARRAY:
        return arrays[content]
    if kind == TUPLE:
        return tuple(_read(each, arrays) for each in content)
    return {key: _read(each, arrays) for key, each in content}
