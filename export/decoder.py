"""An exported captioner as the search of `kzoo.decoding` sees it. No Keras here."""

import numpy as np

from kzoo.export.manifest import NEW, carried


class GraphDecoder:
    """The decoder of `kzoo.decoding.generate` for a batch of pictures and the graphs of an export.

    A step gives keys and values of its position, which are written into the cache here. One of an export before gives
    all of the cache: two of them take turns as its input and output.

    Args:
        step: the session of `caption_step`.
        run_into: function of a session and dicts of its inputs and outputs, see `kzoo.export.engine.Engine`.
        memory: name -> array, what `caption_memory` gives for the pictures.
        shared: whether the graph spreads the memory of one picture over all rows.
        context_length: most ids of a row, the length of the graph's caches.
        pad_id: fills rows behind their end.
    """

    def __init__(self, step, run_into, memory, context_length, pad_id, shared=False):
        self.session, self.run_into = step, run_into
        self.pictures, self.of_pictures = len(next(iter(memory.values()))), memory
        self.context_length, self.pad_id, self.shared = context_length, pad_id, shared

    def begin(self, copies, length) -> None:
        """Start afresh with `copies` rows for each picture."""
        rows = self.pictures * copies
        of_graph = (self.session.get_inputs(), self.session.get_outputs())
        inputs, outputs = ({each.name: each.shape[1:] for each in ports} for ports in of_graph)
        self.given = carried(inputs, outputs)  # name of a cache -> name of what a step gives for it
        self.token_ids = np.full((rows, self.context_length), self.pad_id, "int32")
        self.positions = np.zeros(rows, "int32")
        self.cache = {name: np.zeros((rows, *inputs[name]), "float32") for name in self.given}
        self.outputs = {
            name: np.empty((rows, *outputs[name]), "float32") for name in ("logits", "states", *self.given.values())
        }
        held = 1 if self.shared and self.pictures == 1 else copies
        self.memory = {name: np.repeat(array, held, axis=0) for name, array in self.of_pictures.items()}

    def step(self, token_ids, position, parents=None) -> tuple:
        """Logits `(rows, vocab_size)` of the next id and states `(rows, width)`; valid until the next step."""
        if parents is not None:
            self._follow(parents, position)
        self.token_ids[:, : token_ids.shape[1]] = token_ids
        self.positions[:] = position
        given = {"token_ids": self.token_ids, "positions": self.positions, **self.cache, **self.memory}
        self.run_into(self.session, given, self.outputs)
        for name, output in self.given.items():
            if output.startswith(NEW):
                self.cache[name][:, :, position] = self.outputs[output][:, :, 0]
            else:
                self.cache[name], self.outputs[output] = self.outputs[output], self.cache[name]
        return self.outputs["logits"], self.outputs["states"]

    def _follow(self, parents, position):
        """Let rows go on from the past of others: of what was written, as far as it is another."""
        moved = np.flatnonzero(parents != np.arange(len(parents)))
        for name, output in self.given.items():
            if output.startswith(NEW):
                self.cache[name][moved, :, :position] = self.cache[name][parents[moved], :, :position]
            else:
                self.cache[name][moved] = self.cache[name][parents[moved]]
