"""Whether a training is still well, noted on the device."""

import keras
from keras import ops


class Health(keras.metrics.Metric):
    """Counts the steps of an epoch and keeps the first whose loss is not a finite number.

    A model has one as an attribute and its step updates it: nothing is read from the device, so no step waits.
    `StopOnNonFinite` reads it from time to time. It is reset as Keras resets metrics, when an epoch or an evaluation
    begins, and shows in no log.

    Example:
        >>> self.health = Health()     # in the constructor of a model
        >>> self.health.update(loss)   # in its step
    """

    def __init__(self, name="health"):
        super().__init__(name=name)
        # of several replicas one is enough: what is not finite in a gradient reaches all of them by the next step
        own = {"shape": (), "aggregation": "only_first_replica"}
        self.step = self.add_variable(dtype="int32", initializer="zeros", name="step", **own)
        self.first_bad = self.add_variable(dtype="int32", initializer=_minus_one, name="first_bad", **own)
        self.loss = self.add_variable(dtype="float32", initializer="zeros", name="loss", **own)

    def update(self, loss) -> None:
        """Note the loss of a step, a scalar."""
        loss = ops.stop_gradient(ops.cast(loss, "float32"))
        step, first_bad, noted = (ops.convert_to_tensor(each) for each in (self.step, self.first_bad, self.loss))
        first = ops.logical_and(ops.logical_not(ops.isfinite(loss)), first_bad < 0)
        self.first_bad.assign(ops.where(first, step, first_bad))
        self.loss.assign(ops.where(first, loss, noted))
        self.step.assign(step + 1)

    update_state = update  # its name in Keras

    def reset_state(self) -> None:
        super().reset_state()
        self.first_bad.assign(_minus_one(()))

    def result(self) -> dict:
        return {}


def _minus_one(shape, dtype="int32"):
    return ops.full(shape, -1, dtype)
