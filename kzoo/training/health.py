"""Whether a training is still well, noted on the device."""

import keras
from keras import ops


class Health(keras.metrics.Metric):
    """Counts the steps of an epoch and those that were left out, and keeps the first whose loss is not a finite number.

    A model has one as an attribute and its step updates it: nothing is read from the device, so no step waits.
    `StopOnNonFinite` reads it from time to time. It is reset as Keras resets metrics, when an epoch or an evaluation
    begins, and shows in no log.

    Args:
        layers: how many layers a step looks at.
        weights: paths of the weights whose gradients it looks at, where it may leave a step out.

    Attributes:
        called: paths of the layers, in the order of their flags; the step says them.

    Example:
        >>> self.health = Health()     # in the constructor of a model
        >>> self.health.update(loss)   # in its step
    """

    def __init__(self, layers=0, weights=(), name="health"):
        super().__init__(name=name)
        # of several replicas one is enough: what is not finite in a gradient reaches all of them by the next step
        own = {"aggregation": "only_first_replica"}
        self.step = self.add_variable((), dtype="int32", initializer="zeros", name="step", **own)
        self.first_bad = self.add_variable((), dtype="int32", initializer=_minus_one, name="first_bad", **own)
        self.loss = self.add_variable((), dtype="float32", initializer="zeros", name="loss", **own)
        self.skipped = self.add_variable((), dtype="int32", initializer="zeros", name="skipped", **own)
        self.first_noted = self.add_variable((), dtype="int32", initializer=_minus_one, name="first_noted", **own)
        self.layers = self.add_variable((layers,), dtype="int32", initializer="zeros", name="layers", **own)
        noted = (len(weights),)
        self.weights_noted = self.add_variable(noted, dtype="int32", initializer="zeros", name="weights", **own)
        self.called, self.trained = (), tuple(weights)

    def update(self, loss, applied=None, layers=None, weights=None) -> None:
        """Note a step.

        Args:
            loss: a scalar.
            applied: whether its gradients were applied, bool scalar; None: they were.
            layers, weights: int32, 1 for each layer and each weight whose output or gradient was not finite; those of
                the first step are kept whose loss is not finite or, before there is one, that was left out.
        """
        loss = ops.stop_gradient(ops.cast(loss, "float32"))
        step, first_bad, noted = (ops.convert_to_tensor(each) for each in (self.step, self.first_bad, self.loss))
        bad = ops.logical_not(ops.isfinite(loss))
        first = ops.logical_and(bad, first_bad < 0)
        self.first_bad.assign(ops.where(first, step, first_bad))
        self.loss.assign(ops.where(first, loss, noted))
        left_out = ops.zeros_like(bad) if applied is None else ops.logical_not(applied)
        self.skipped.assign(ops.convert_to_tensor(self.skipped) + ops.cast(left_out, "int32"))
        first_noted = ops.convert_to_tensor(self.first_noted)
        keep = ops.logical_or(first, ops.logical_and(ops.logical_or(bad, left_out), first_noted < 0))
        self.first_noted.assign(ops.where(keep, step, first_noted))
        for variable, flags in ((self.layers, layers), (self.weights_noted, weights)):
            if flags is not None:
                variable.assign(ops.where(keep, flags, ops.convert_to_tensor(variable)))
        self.step.assign(step + 1)

    update_state = update  # its name in Keras

    def where(self, layers, weights) -> str | None:
        """What the flags of a step say, for a sentence: the layer or the weight, None where they say nothing.

        Args:
            layers, weights: arrays of the flags, as `update` got them.
        """
        called = [name for name, flag in zip(self.called, layers) if flag]
        if called:
            return f"{called[0]} is the first layer whose output was not finite"
        trained = [name for name, flag in zip(self.trained, weights) if flag]
        if trained:  # gradients come from the end: the last weight is the first that was reached
            return f"all outputs were finite, the gradient of {trained[-1]} was not"
        return None

    def reset_state(self) -> None:
        super().reset_state()
        self.first_bad.assign(_minus_one(()))
        self.first_noted.assign(_minus_one(()))

    def result(self) -> dict:
        return {}


def _minus_one(shape, dtype="int32"):
    return ops.full(shape, -1, dtype)


def healths_of(model) -> list[Health]:
    """Those among the metrics of a model: none, or one."""
    return [each for each in model.metrics if isinstance(each, Health)]
