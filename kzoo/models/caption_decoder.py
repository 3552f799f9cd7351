"""A captioner as the search of `kzoo.decoding` sees it: pictures seen once, then one id per row and step."""

import numpy as np
from keras import ops

from kzoo.models.compiled import held


class CaptionDecoder:
    """The decoder of `kzoo.decoding.generate` for a batch of pictures and a Keras model.

    Image tower and cross-attention keys run once per picture; a step reads one id of every row with a cache of fixed
    shape, so that jax and TensorFlow compile it once per number of copies and length.

    Args:
        model: a `Captioner`.
        batch: what the image tower reads.
    """

    def __init__(self, model, batch):
        self.model, self.batch = model, batch
        self.context_length, self.pad_id = model.token_tower().context_length, model.caption_pad_id
        self.pictures = len(next(iter(batch.values())))
        self.memory = self.copies = self.cache = None
        self.functions = {}

    def begin(self, copies, length) -> None:
        """Start afresh with `copies` rows for each picture, of up to `length` ids."""
        self.copies, rows = copies, self.pictures * copies
        self.functions.clear()
        self.memory = self._function("memory", _remembering)(self.batch)
        self.cache = self.model.empty_cache(rows, length)

    def step(self, token_ids, position, parents=None) -> tuple:
        """Logits `(rows, vocab_size)` of the next id and states `(rows, width)`, float32."""
        positions = np.full(len(token_ids), position, "int32")
        arguments = [token_ids, positions, self.cache, self.memory]
        if parents is not None:
            arguments.append(np.asarray(parents, "int32"))
        key = ("step", self.copies, token_ids.shape[1], parents is not None)
        step = self._function(key, lambda model: _stepping(model, self.copies))
        logits, states, self.cache = step(*arguments)
        return ops.convert_to_numpy(logits), ops.convert_to_numpy(states)

    def _function(self, key, make):
        """What `make(model)` returns, compiled once for all batches of the model; weights are read at the beginning."""
        if key not in self.functions:
            self.functions[key] = held(self.model.compiled_once(key, make))
        return self.functions[key]


def _remembering(model):
    def memory(batch):
        return model.caption_memory(model.call(batch, training=False, only=("caption_context",))["caption_context"])

    return memory


def _stepping(model, copies):
    def step(token_ids, positions, cache, memory, parents=None):
        if parents is not None:
            cache = [tuple(ops.take(each, parents, axis=0) for each in pair) for pair in cache]
        logits, states, cache = model.caption_step(token_ids, positions, cache, memory, copies)
        return logits, ops.cast(states, "float32"), cache

    return step
