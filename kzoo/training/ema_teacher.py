"""The momentum teacher: a slow copy of what is trained."""

import math
from typing import Any

import keras
from keras import ops

from kzoo import keras_contact
from kzoo.arguments import POSITIVE, number
from kzoo.encoders.layer_tower import LayerTower
from kzoo.layers.configured import Configured
from kzoo.layers.copies import copy_of


@keras.saving.register_keras_serializable(package="kzoo")
class EMATeacher(Configured, keras.layers.Layer):
    """Copies of a model's layers that follow them as an exponential moving average: `w <- m w + (1 - m) w_student`.

    A model that is given one makes the copies, which start with its own weights, and moves them after each step of
    the optimizer, inside the compiled step: in `fit` and in `train_on_batch` alike. Statistics of batch norms are
    copied as they are. The teacher runs as in inference, without dropout and with these statistics, and gets no
    gradient. Its weights are saved and restored with the model.

    Args:
        momentum: `m`, in [0, 1).
        steps: let `m` rise from `momentum` at the first step to 1 at this one, `1 - (1 - momentum) * (cos(pi s / S) +
            1) / 2`; None keeps it as it is.

    Raises:
        ValueError: `momentum` outside [0, 1), or `steps` that are not positive.

    Example:
        >>> teacher = EMATeacher(0.996, steps=epochs * len(data))
        >>> model = kzoo.SelfSupervised(encoder, Projector((256, 64), prototypes=1024), teacher)

    Reference:
        He et al., MoCo, 2019, arXiv 1911.05722 (fixed, 0.999); Grill et al., BYOL, 2020, arXiv 2006.07733 (schedule);
        statistics instead of a batch norm of its own: in the spirit of Cai et al., EMAN, 2021, arXiv 2101.08482.
    """

    arguments = {
        "momentum": number(least=0, below=1).said("a number in [0, 1): at 1 the teacher would never move"),
        "steps": POSITIVE.said("the number of steps of the training, or None"),
    }

    def __init__(self, momentum=0.996, steps=None, **kwargs):
        super().__init__(**kwargs)
        self.initial, self.steps = momentum, steps
        self.step = None
        if steps is not None:
            self.step = self.add_weight(name="step", shape=(), dtype="int32", initializer="zeros", trainable=False)
        keras_contact.untracked(self, "_students", {})  # they belong to the model
        keras_contact.untracked(self, "_copies", {})  # as they are called; their layers are attributes
        self.built = True

    def follow(self, **layers) -> None:
        """Copy layers, which are built, with their weights; each copy is an attribute of that name.

        Raises:
            ValueError: the teacher follows layers already, or a layer has no weights yet.
        """
        if self._students:
            raise ValueError("this EMATeacher follows the layers of a model already; make another one.")
        for name, layer in layers.items():
            copy = copy_of(layer, "teacher")  # paths of their own: torch finds parameters by them
            copy.trainable = False
            setattr(self, name, copy.layer if isinstance(copy, LayerTower) else copy)  # by that name files know it
            self._students[name], self._copies[name] = layer, copy

    def gives(self, world) -> tuple:
        """Names that it answers to, as the student calls them; `world` is a `kzoo.models.answers.World`."""
        return world.of_copies(self._copies).names()

    def answer(self, names, world) -> dict:
        """Outputs of the copies by the student's names, of all that a batch shows; dict of tensors."""
        return world.of_copies(self._copies).answer(names, training=False)

    @property
    def trainable(self) -> bool:
        """False: a teacher is locked for good, also where the model around it is opened again."""
        return False

    @trainable.setter
    def trainable(self, value) -> None:
        for copy in self._copies.values():
            copy.trainable = False

    @property
    def momentum(self) -> Any:
        """`m` of the next update: a number, or a float32 tensor where it follows a schedule."""
        if self.step is None:
            return self.initial
        share = ops.minimum(ops.cast(self.step, "float32") / self.steps, 1.0)
        return 1.0 - (1.0 - self.initial) * (ops.cos(math.pi * share) + 1.0) / 2.0

    def update(self) -> None:
        """Move one step towards the layers that are followed."""
        m = self.momentum
        for name, student in self._students.items():
            if len(student.weights) != len(getattr(self, name).weights):
                raise ValueError(
                    f"{student.name} was given LoRA or quantised, so its EMATeacher cannot follow it weight by weight; "
                    "build the model without a teacher, or train it as it was."
                )
            for new, old in zip(student.weights, getattr(self, name).weights):
                value = ops.stop_gradient(ops.cast(new, "float32"))
                if new.trainable:
                    value = m * ops.cast(old, "float32") + (1.0 - m) * value
                old.assign(ops.cast(value, old.dtype))
        if self.step is not None:
            self.step.assign_add(1)
