"""What `fit` has done with a model, for its card: a dict for each call."""

import keras

from kzoo.data.batches import Batches
from kzoo.keras_contact import untracked

KERAS_BATCH_SIZE = 32  # where `fit` is given none


class Record(keras.callbacks.Callback):
    """Adds to `model.trainings` what data it sees, and the results of its last whole epoch.

    Every `model.fit` of kzoo carries it. A model keeps its record in the folder that `save_to_preset` writes.

    Args:
        x: what `fit` is given.
        batch_size: likewise.

    Example:
        >>> model.fit(kzoo.data.pairs("photos.csv", model.preprocessor), epochs=2)
        >>> model.trainings[-1]["data"], model.trainings[-1]["epochs"]
        ('photos.csv', 2)
    """

    def __init__(self, x, batch_size):
        super().__init__()
        self.entry = _data(x, batch_size)

    def on_train_begin(self, logs=None) -> None:
        self.before = tuple(self.model.trainings)

    def on_epoch_end(self, epoch, logs=None) -> None:
        results = {name: float(value) for name, value in (logs or {}).items()}
        self.entry |= {"epochs": self.entry.get("epochs", 0) + 1, "results": results}
        untracked(self.model, "trainings", (*self.before, dict(self.entry)))


def _data(x, batch_size):
    """What is known of training data: where they come from, how many rows there are, how many make a batch."""
    if isinstance(x, Batches):
        return {"data": x.title, "rows": x.count, "batch_size": x.batch_size}
    if isinstance(x, dict):
        return {"data": "arrays", "rows": len(next(iter(x.values()))), "batch_size": batch_size or KERAS_BATCH_SIZE}
    return {"data": type(x).__name__}
