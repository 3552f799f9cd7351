"""What comes into `fit`, `evaluate`, `predict` and a call of a model: made one dict, and looked at, in one place."""

import warnings
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kzoo.losses.base import WeightedSum
from kzoo.models.answers import HIDDEN, KEPT
from kzoo.models.checks import check_alone, check_arrays
from kzoo.models.slots import Rows, bag_of
from kzoo.training.feed import Fed, is_data_set, joined
from kzoo.training.parts import fed_in_parts


class Intake:
    """Takes in the data of one call of `fit`, `evaluate` or `predict`.

    As a context around that call it says what is wrong in its own words, where a library that reads the data wraps
    errors into its own. At its end it lets go of model and data: TensorFlow keeps each Python function that its data
    sets call for as long as the process lives, and would keep them with it.

    Args:
        model: a model of kzoo.
        loss: what reads the batches beside the model; None in `predict`.

    Example:
        >>> with Intake(model, model.objective) as intake:
        ...     keras.Model.evaluate(model, intake.whole(x, y, sample_weight))
    """

    def __init__(self, model, loss=None):
        self.model, self.loss = model, loss
        self.begun, self.error, self.handed = False, None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self.model = self.loss = None
        if isinstance(self.handed, Fed):
            self.handed.source = None
        self.handed = None
        if isinstance(error, Exception) and self.error is not None and error is not self.error:
            raise self.error from None
        said = _said_by_worker(error)
        if said:
            raise kind(said) from None

    def whole(self, x, y=None, sample_weight=None, batch_size=None) -> Any:
        """What Keras shall read in place of what was given: a dict of arrays, or a data set of the same kind.

        Raises:
            ValueError: what does not fit the model or the loss; targets or weights beside a data set.
        """
        if not is_data_set(x):
            taken = self.take(x, y, sample_weight)
            if self.loss is not None:
                check_alone(self.loss, taken, batch_size)
            return taken
        for name, value in {"y": y, "sample_weight": sample_weight}.items():
            if value is not None:
                raise ValueError(
                    f"{name} was given beside a data set ({type(x).__name__}), which gives it itself: as an entry of "
                    "the dict that it yields, or in a tuple (x, y, sample_weight)."
                )
        self.handed = fed_in_parts(x, self.take, self.finish)
        return self.handed

    def take(self, x, y=None, sample_weight=None) -> dict:
        """One batch, or all rows at once, as one dict; stops with a sentence where it cannot be."""
        try:
            if not isinstance(x, dict):
                raise ValueError(self.model.wants(x))
            if "sample_weight" in x and sample_weight is not None:
                raise ValueError("sample_weight is given twice, beside the batch and as an entry of it; give one.")
            batch = joined(x, y, sample_weight)
            self.model.check_batch(batch)
            if self.loss is not None:
                self.model.check_fed(batch, self.loss.may_read(self.model.any_number()))
                self._check_read(batch, y)
                self.loss.look(batch if self.begun else batch | self._numbers(batch), self._outputs(batch))
                if not self.begun:
                    check_alone(self.loss, batch)
            self.begun = True
            _check_weights(batch)
            return self.finish(_numbers_of(batch))
        except Exception as error:
            self.error = error
            raise

    def finish(self, batch) -> dict:
        """A batch as the loss takes it, of arrays or of tensors without values."""
        return batch if self.loss is None else batch | self.loss.rows_of(batch)

    def _numbers(self, batch):
        """Tensors of a first batch that the loss reads, such as labels, with their values: a look waits for them."""
        read = (name for name in self.loss.may_read(self.model.any_number()) if name in batch)
        given = {name: batch[name] for name in read if ops.is_tensor(batch[name]) and len(batch[name].shape) < 3}
        values = {name: _values_of(each) for name, each in given.items()}
        return {name: each for name, each in values.items() if each is not None}

    def _outputs(self, batch):
        """Stand-ins of what the model gives, by which a loss knows how many classes there are."""
        names = [name for name in self.loss.may_read(self.model.any_number()) if name not in batch]
        shapes = {name: self.model.shape_of(name) for name in names}
        # of `LinearLogits` a shape is made of several
        whole = {name: each for name, each in shapes.items() if not any(isinstance(side, tuple) for side in each)}
        return {name: Rows(each) for name, each in whole.items()}

    def _check_read(self, batch, y):
        """Targets and weights that nothing reads are a mistake."""
        read, title = self.loss.may_read(self.model.any_number()), _title(self.loss)
        if "sample_weight" in batch and "sample_weight" not in read:
            raise ValueError(
                f"sample_weight is given, but {title} does not read it: its value is no mean over samples; leave it "
                "out."
            )
        if y is None:
            return
        made = {*self.model.gives(batch), "sample_weight", "logit_scale", "logit_bias"}
        wanted = f"{title} reads {', '.join(name for name in read if name not in made) or 'none'}"
        if not isinstance(y, dict):
            raise ValueError(
                f"y is of type {type(y).__name__}, which no loss reads, for losses read by name; give a dict, such as "
                f"y={{'labels': labels}}. Of targets {wanted}."
            )
        used = {*read, *read_by(self.model, batch)}
        unread = [name for name in y if name not in used]
        if unread:
            raise ValueError(
                f"y has {unread[0]!r}, which neither the model nor the loss reads; leave it out, or name it to the "
                f"loss. Of targets {wanted}."
            )


def _said_by_worker(error):
    """What an `Intake` in another process has said: torch's loaders hand over the text of a whole traceback."""
    text, name = str(error), type(error).__name__
    if not text.startswith(f"Caught {name} in DataLoader worker") or __file__ not in text:
        return None
    return text.rpartition(f"\n{name}: ")[2].strip()


def _check_weights(batch):
    """A batch of which nothing is learnt has a loss of 0, as one that is solved has."""
    weights = batch.get("sample_weight")
    if isinstance(weights, np.ndarray) and weights.size and not np.any(weights):
        warnings.warn(
            f"each of the {len(weights)} sample_weight of a batch is 0: its loss is 0, and nothing is learnt from it.",
            stacklevel=2,
        )


def _numbers_of(batch):
    """A batch of the numbers that backends have; what nothing reads goes there with the rest."""
    found = dict(batch)
    for name, array in batch.items():
        if not isinstance(array, np.ndarray):
            continue
        if array.dtype == np.uint64 and keras.config.backend() == "torch":  # which lacks them alone
            if array.size and array.max() > np.iinfo("int64").max:
                raise ValueError(f"{name!r} of the batch holds {array.max():,}, which is more than int64 holds.")
            found[name] = array.astype("int64")
        elif array.dtype == np.longdouble and array.dtype != np.float64:
            found[name] = array.astype("float64")
        elif array.dtype.kind in "OSUTMm":
            raise ValueError(
                f"{name!r} of the batch is of dtype {array.dtype}, but numbers are expected; leave it out: texts are "
                "read as token_ids of model.preprocessor."
            )
    return found


def _title(loss):
    return " + ".join(type(each).__name__ for each in (loss.terms if isinstance(loss, WeightedSum) else [loss]))


def read_by(model, batch) -> set:
    """Names of the entries of a batch that a model reads by itself."""
    slots, names = model.slots(batch), set()
    for slot in slots:
        names |= {*slot.arrays.values(), f"{slot.name}_{HIDDEN}", f"{slot.name}_{KEPT}"}
    for rule in [*model.heads, *model.rules(batch)]:
        names |= {name.replace("*", slot.name) for name in rule.reads for slot in slots}
    return names


def look_once(model, batch) -> None:
    """Look at the values of tensors of a batch when they come under a name for the first time: a look waits for them.

    Numpy arrays are looked at every time. What is in a function that is being compiled has no values yet.
    """
    for slot in model.slots(batch):
        given = {entry: batch[entry] for entry in slot.arrays.values() if entry in batch}
        if not all(map(ops.is_tensor, given.values())):
            continue
        first = (slot.first, keras.backend.standardize_dtype(given[slot.first].dtype))
        values = {} if first in model.looked_at else {entry: _values_of(each) for entry, each in given.items()}
        if values and all(each is not None for each in values.values()):
            model.looked_at.add(first)
            tower = model.modalities()[slot.modality]
            check_arrays(slot, tower, batch | values, bag_of(slot, tower, batch))


def _values_of(tensor):
    """The numbers of a tensor; None where it has none yet."""
    if keras.config.backend() == "torch":
        import torch

        if torch.compiler.is_compiling():
            return None
    try:
        return ops.convert_to_numpy(tensor)
    except Exception:  # each backend has an error of its own for a tensor that has no values yet
        return None
