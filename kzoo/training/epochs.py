"""The order of the data: which epoch of a set is read when."""

import keras

from kzoo.keras_contact import untracked


class EpochOrder(keras.callbacks.Callback):
    """Gives a data set the number of each epoch, and counts the epochs of the model; every `fit` of kzoo carries it.

    The first epoch of a `fit` is the one after the last that the model has made since it was compiled, so that
    `fit(epochs=1)` in a loop reads what `fit(epochs=n)` reads. Where Keras begins at a later epoch, by `initial_epoch`
    or as `BackupAndRestore` found it, that is its number.

    Args:
        data: a set with an `epoch`, such as `kzoo.data.pairs`, or None.

    Example:
        >>> model.fit(data, callbacks=[EpochOrder(data)])
    """

    def __init__(self, data=None):
        super().__init__()
        self.data, self.before = data, None

    def on_train_begin(self, logs=None) -> None:
        self.before = None  # epochs of the model before the first of this `fit`

    def on_epoch_begin(self, epoch, logs=None) -> None:
        if self.before is None:
            self.before = 0 if epoch else self.model.epochs_made
        if self.data is not None:
            self.data.epoch = self.before + epoch

    def on_epoch_end(self, epoch, logs=None) -> None:
        untracked(self.model, "epochs_made", self.before + epoch + 1)
