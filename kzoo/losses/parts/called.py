"""What happens when a loss is called, by hand or by a model: what came is made ready and looked at."""

import inspect
import numbers
from difflib import get_close_matches
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.arguments import shown
from kzoo.keras_contact import called_by_compiled_loss
from kzoo.layers.linear_logits import LinearLogits
from kzoo.losses.parts.numbers import check_numbers
from kzoo.losses.parts.shapes import check_shapes, in_rows, sizes_of

KEYWORD = inspect.Parameter.KEYWORD_ONLY
BACKENDS = ("torch", "tensorflow", "jax", "jaxlib")
NUMERIC = "biuf"  # kinds of numpy's dtypes
HALF = ("bfloat16", "float8", "int4", "uint4", "int2", "uint2")  # beginnings of those that numpy does not know


class Called:
    """`__call__` of every loss."""

    def __call__(self, *arguments, **keywords) -> Any:
        if called_by_compiled_loss(self):
            raise ValueError(
                f"{type(self).__name__} is the loss of a plain keras.Model, which calls it with y_true and y_pred in "
                f"place of {' and '.join(self._positional(2))}; train with a model of kzoo, or say what is what: "
                "compile(loss=lambda y_true, y_pred: loss(...))."
            )
        arguments, keywords = self.ready(arguments, keywords)
        constants = {id(each) for each in self.constants.values()}
        state = [each for each in self.non_trainable_variables if id(each) not in constants]
        if not (state and keywords.get("training") and keras.config.backend() == "torch"):
            return super().__call__(*arguments, **keywords)
        # torch assigns in place, where the backward pass still reads: a step works on copies, and writes them back last
        copies = {id(each): ops.copy(each) for each in state}
        with keras.StatelessScope([(each, copies[id(each)]) for each in state]) as scope:
            value = super().__call__(*arguments, **keywords)
        for each in state:
            if scope.get_current_value(each) is not copies[id(each)]:
                each.assign(scope.get_current_value(each))
        return value

    def ready(self, arguments, keywords) -> tuple:
        """What a loss is called with as `call` takes it: constants filled in, lists as arrays, columns as rows.

        Raises:
            TypeError: something is missing, unknown, or no array.
            ValueError: arrays that do not go together, or numbers that are not what they stand for.
        """
        arguments, keywords = self._with_constants(arguments, keywords)
        self._check_complete(arguments, keywords)
        names = self._positional(len(arguments))
        arguments = [self._in_rows(name, self._array(name, each)) for name, each in zip(names, arguments)]
        taken = {key: self._array(key, each) if key in self.optional_names else each for key, each in keywords.items()}
        keywords = {key: self._in_rows(key, each) for key, each in taken.items()}
        given = [(name, each) for name, each in (*zip(names, arguments), *keywords.items()) if each is not None]
        check_shapes(self, given)
        self.check_read(given)
        return arguments, keywords

    def check_read(self, given) -> None:
        """Stops where numbers of `given`, pairs of an argument's name and an array, are not what they stand for."""
        check_numbers(self, given, sizes_of(self, given))

    def _with_constants(self, arguments, keywords):
        """Arguments of a call, with constants where nothing came for them."""
        names = [name for name in self.input_names if name not in self.constants]
        if len(arguments) == len(names) < len(self.input_names):
            there = self.constants | dict(zip(names, arguments))
            arguments = [there[name] for name in self.input_names]
        named = {key: self.constants[name] for key, name in self.optional_names.items() if name in self.constants}
        return arguments, named | keywords

    def _check_complete(self, arguments, keywords):
        """Stops unless what is needed came, and nothing that is unknown."""
        parameters = inspect.signature(self.call).parameters
        names = self._positional(len(arguments))
        known = [name for name, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, KEYWORD)]
        unknown = [name for name in keywords if name not in (*known, *self.optional_names, "training")]
        twice = [name for name in names if name in keywords]
        needed = self._needed(parameters)
        came = dict(zip(names, arguments)) | keywords
        rest = [name for name, each in parameters.items() if each.kind is each.VAR_POSITIONAL]
        missing = [name for name, each in zip(names, arguments) if each is None and name in rest]
        missing += [name for name in needed if came.get(name) is None]
        said = None
        if unknown and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            near = get_close_matches(unknown[0], known, n=1)
            said = f"does not take {unknown[0]!r}{f' (is {near[0]!r} meant?)' if near else ''}"
        elif twice or None in names:
            said = f"got {f'{twice[0]} twice' if twice else f'{len(arguments)} arrays by position'}"
        elif missing:
            said = f"needs {missing[0]}"
        if said:
            places = [f"*{name}" if name in rest else name for name in needed if name not in self.optional_names]
            by_name = [f"{name}=..." for name in needed if name in self.optional_names]
            how = ", ".join([*places, *by_name])
            raise TypeError(f"{type(self).__name__} {said}; call it as loss({how}).")

    def _needed(self, parameters):
        """Names of what a call cannot do without."""
        places = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
        without = [name for name in places if parameters[name].default is inspect.Parameter.empty]
        if not without and self.input_counts and self.input_counts[0]:
            without = self._positional(1)
        return list(dict.fromkeys((*without, *self.required_inputs)))

    def _in_rows(self, name, array):
        """A column is taken as one number for each row."""
        return in_rows(array, self.shapes.get(name))

    def _array(self, name, value):
        """An argument as an array or a tensor of the backend; None and numbers as they are."""
        if value is None or isinstance(value, (numbers.Real, LinearLogits, keras.KerasTensor, keras.Variable)):
            return value
        if ops.is_tensor(value):
            return value
        array, why = _as_array(value)
        if why and (array is None or name not in self.numbers):  # what labels are, `check_numbers` says
            backend = keras.config.backend()
            raise TypeError(
                f"{type(self).__name__} got {name} {why}; give an array of numbers or a tensor of {backend}."
            )
        if isinstance(value, (list, tuple)) and (array.dtype == "float64" or self._is_of_features(name, array)):
            return array.astype("float32")
        return array

    def _is_of_features(self, name, array):
        """Whether whole numbers of a list are embeddings, which are not counted, but calculated with."""
        axes = str(self.shapes.get(name, ""))
        return name not in self.numbers and array.dtype.kind in "iu" and ("dim" in axes or "width" in axes)


def _as_array(value):
    """`(array, None)` of numbers, or `(array or None, why it holds none)`."""
    kind, room = type(value).__name__, type(value).__module__.split(".")[0]
    if isinstance(value, (str, bytes, dict)):
        return None, f"as {shown(value, typed=True)}"
    if not isinstance(value, (list, tuple)) and not hasattr(value, "__array__"):
        return None, f"of type {kind}"
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = np.asarray(array.tolist())
    except Exception:  # numpy's for rows of different lengths, another backend's for values that it cannot give
        what = (
            f"tensor of {room}, which holds no values" if room in BACKENDS else f"{kind} of rows of different lengths"
        )
        return None, f"as a {what}"
    if array.dtype.kind in NUMERIC or array.dtype.name.startswith(HALF):
        return array, None
    if array.dtype.kind not in "OUS":
        return array, f"as a {kind} of {array.dtype} values"
    return array, f"as a {kind} of {' and '.join(sorted({type(each).__name__ for each in array.ravel().tolist()}))}"
