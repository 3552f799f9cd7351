"""What a `fit` of several processes does beside its steps: they keep together, and one of them shows and writes."""

from typing import Any

import keras

from kzoo.scale.engine import ended, process

WRITERS = ("CSVLogger", "TensorBoard")  # callbacks of Keras that write, whatever process they run in


class Together(keras.callbacks.Callback):
    """Lets several processes wait for each other when an epoch ends, and look whether they have the same weights.

    Every `fit` of kzoo carries it; of one process it does nothing.
    """

    def on_epoch_end(self, epoch, logs=None) -> None:
        ended(self.model, training=True)


def of_first(verbose) -> Any:
    """How much is shown: nothing on any process but the first."""
    return verbose if process()[0] == 0 else 0


def of_process(callbacks) -> list:
    """Callbacks that run on this process: those of Keras that write files run on the first alone.

    Others run on all of them, as what they decide concerns all: what they save by the model's own methods is written
    once.

    Raises:
        ValueError: one that would write and delete the same files from several processes.
    """
    index, count = process()
    if count == 1:
        return callbacks
    for each in callbacks:
        if isinstance(each, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "BackupAndRestore deletes its files on each of several processes; leave it out, and take "
                "keras.callbacks.ModelCheckpoint, whose files are written once."
            )
    writers = tuple(getattr(keras.callbacks, name) for name in WRITERS)
    return [each for each in callbacks if index == 0 or not isinstance(each, writers)]
