"""The weights of the last epoch that was well, for a training whose loss becomes NaN."""

import keras


class LastGood(keras.callbacks.Callback):
    """Keeps the weights of a model and the state of its optimizer as they were when the last epoch ended well.

    A loss that is not finite is found some steps after the weights were spoilt. Copies are kept in the memory of the
    host; where weights are shared among devices by `keras.distribution`, beside them. Put it behind
    `StopOnNonFinite`: an epoch that was not well never gets here.

    Example:
        >>> last_good = LastGood()
        >>> model.fit(data, callbacks=[StopOnNonFinite(), last_good])  # raises FloatingPointError
        >>> last_good.give_back()
    """

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_train_begin(self, logs=None) -> None:
        self._keep()

    def on_epoch_end(self, epoch, logs=None) -> None:
        self._keep()

    def _keep(self):
        variables = [*self.model.variables, *self.model.optimizer.variables]
        if keras.distribution.distribution() is None:
            self.kept = [(each, keras.ops.convert_to_numpy(each).copy()) for each in variables]
        else:  # of which a process may not see all
            self.kept = [(each, keras.ops.copy(each)) for each in variables]

    def give_back(self) -> None:
        """Assign what was kept; called after `fit` has ended with an error."""
        for variable, value in self.kept:
            variable.assign(value)
