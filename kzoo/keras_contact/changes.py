"""What compiled steps take for granted of a model, found anew, so that they are forgotten where it is otherwise now."""

from typing import Any
from weakref import ref

import keras

from kzoo.keras_contact.attributes import layers_within, untracked

COUNT = "times_changed"  # attribute of a layer: how often one of its attributes was set since it was built
OF_KERAS = ("built", "training", "trainable", COUNT)  # that Keras and torch set by themselves, or that are looked at


class SaysChanges:
    """Mixin of a layer that counts how often one of its public attributes was set since it was built: what was compiled
    before has the values of then."""

    def __setattr__(self, name, value) -> None:
        own: dict[str, Any] = vars(self)
        if name[0] != "_" and own.get("built") and name not in OF_KERAS and own.get(name, own) is not value:
            untracked(self, COUNT, own.get(COUNT, 0) + 1)
        super().__setattr__(name, value)


class Structure:
    """The layers of a model with their variables, how often they were changed, and on jax which variables are trained:
    there a step finds values by their place among those that are and those that are not.

    Equal to another one as long as a compiled step computes what the model does, but for the values of variables.

    Args:
        model: built.
    """

    def __init__(self, model):
        by_place, self.objects, self.marks = keras.config.backend() == "jax", [], []
        for layer in layers_within(model):
            own = [*layer._trainable_variables, *layer._non_trainable_variables]
            self.objects += map(ref, [layer, *own])  # what is no part of the model any longer may go
            if not isinstance(layer, keras.Model):  # of which Keras sets attributes around each step
                self.marks.append(vars(layer).get(COUNT, 0))
            if by_place:
                self.marks += [layer.trainable, *(each.trainable for each in own)]

    def __eq__(self, other) -> bool:
        same = self.marks == other.marks and len(self.objects) == len(other.objects)
        return same and all(one() is each() for one, each in zip(self.objects, other.objects))

    __hash__ = None
