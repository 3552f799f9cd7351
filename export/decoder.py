"""An exported captioner as the search of `kzoo.decoding` sees it. No Keras here."""

import numpy as np

from kzoo.export.manifest import carried


class GraphDecoder:
    """The decoder of `kzoo.decoding.generate` for a batch of pictures and the graphs of an export.

    Two sets of caches take turns as input and output of a step: nothing is allocated or copied between
    steps, but where beams move.

    Args:
        step: the session of `caption_step`.
        run_into: function of a session and dicts of its inputs and outputs, see `kzoo.export.engine.Engine`.
        memory: name -> array, what `caption_memory` gives for the pictures.
        context_length: most ids of a row, the length of the graph's caches.
        pad_id: fills rows behind their end.
    """

    def __init__(self, step, run_into, memory, context_length, pad_id):
        self.session, self.run_into = step, run_into
        self.pictures, self.of_pictures = len(next(iter(memory.values()))), memory
        self.context_length, self.pad_id = context_length, pad_id

    def begin(self, copies, length) -> None:
        """Start afresh with `copies` rows for each picture."""
        rows = self.pictures * copies
        of_graph = (self.session.get_inputs(), self.session.get_outputs())
        inputs, outputs = ({each.name: each.shape[1:] for each in ports} for ports in of_graph)
        self.next = carried(inputs, outputs)
        self.token_ids = np.full((rows, self.context_length), self.pad_id, "int32")
        self.positions = np.zeros(rows, "int32")
        self.now, self.then = (
            {name: np.zeros((rows, *inputs[name]), "float32") for name in self.next} for _ in range(2)
        )
        self.outputs = {name: np.empty((rows, *outputs[name]), "float32") for name in ("logits", "states")}
        self.memory = {name: np.repeat(array, copies, axis=0) for name, array in self.of_pictures.items()}

    def step(self, token_ids, position, parents=None) -> tuple:
        """Logits `(rows, vocab_size)` of the next id and states `(rows, width)`; valid until the next step."""
        if parents is not None:
            for name in self.next:
                np.take(self.now[name], parents, axis=0, out=self.then[name])
            self.now, self.then = self.then, self.now
        self.token_ids[:, : token_ids.shape[1]] = token_ids
        self.positions[:] = position
        given = {"token_ids": self.token_ids, "positions": self.positions, **self.now, **self.memory}
        found = self.outputs | {self.next[name]: array for name, array in self.then.items()}
        self.run_into(self.session, given, found)
        self.now, self.then = self.then, self.now
        return self.outputs["logits"], self.outputs["states"]
