"""The pictures that a method is shown, as batches for `fit`."""

import keras
import numpy as np

from kzoo.types import Array

HELD = 2**30  # bytes of pictures that are decoded once and held; of more each batch is decoded anew


class Shown(keras.utils.PyDataset):
    """Batches of `images` and `labels` in an order that a seed and the epoch give, the same on every backend.

    A batch has the same number of rows each time; those that fill none are left out of an epoch, others in the next.

    Args:
        examples: `kzoo.adaptation.examples.Examples`.
        preprocessor: what makes arrays of pictures.
        batch_size: rows of a batch; all where there are fewer.
        seed: of the order.
        beside: further arrays, by name, a row for each example.
    """

    def __init__(self, examples, preprocessor, batch_size, seed, beside=None):
        super().__init__()
        self.examples, self.preprocessor, self.seed, self.beside = examples, preprocessor, seed, beside or {}
        self.batch_size, self.epoch, self.held = min(batch_size, len(examples)), 0, None
        first = self._decoded([0])
        if sum(each.nbytes for each in first.values()) * len(examples) <= HELD:
            self.held = self._decoded(range(len(examples)))
        self.on_epoch_begin()

    def __len__(self) -> int:
        return len(self.examples) // self.batch_size

    def on_epoch_begin(self) -> None:
        self.order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.examples))

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.on_epoch_begin()

    def __getitem__(self, index) -> dict[str, Array]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        arrays = self._decoded(rows) if self.held is None else {name: each[rows] for name, each in self.held.items()}
        arrays = arrays | {name: each[rows] for name, each in self.beside.items()}
        return arrays | {"labels": self.examples.labels[rows].astype("int32")}

    def _decoded(self, rows):
        """What the image tower reads, by name."""
        return self.preprocessor.encode_images(self.examples.at(np.asarray(list(rows))).images)
