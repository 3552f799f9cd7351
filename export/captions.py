"""The graphs that a captioner leaves as beside its towers: memory and step in ONNX, a whole search in a SavedModel."""

import keras
import numpy as np
from keras import ops

from kzoo.decoding.options import MAX_LENGTH
from kzoo.export.manifest import NEW, carried
from kzoo.export.towers import Tower, shaped, towers_of, writes_captions
from kzoo.export.verify import ExportError, reference
from kzoo.layers.step import Past

STEPS = 16  # of a caption that are compared
BEAMS = 3  # rows that read the memory of one picture
MEMORY = "memory_"  # begins the names of keys and values of the picture


class CaptionMemory(keras.layers.Layer):
    """`image_tokens` to keys and values of the cross-attention, `(batch, heads, length, d)` each, for each block."""

    def __init__(self, model):
        super().__init__(autocast=False, name="caption_memory_graph")
        self.decoder = model.text_decoder
        self.built = True

    def call(self, image_tokens) -> dict:
        return _named(self.decoder.memory(image_tokens), MEMORY)


class CaptionStep(keras.layers.Layer):
    """One id of each row: `Captioner.caption_step`, keys and values of each block as arrays of their own.

    In one array of all blocks a graph would copy each block's out of it, and all into the next one, at every id. It
    gives those of its position alone, which whoever runs it writes where they belong: in the graph that writes all.
    """

    def __init__(self, model):
        super().__init__(autocast=False, name="caption_step_graph")
        self.model = model
        self.built = True

    def call(self, token_ids, positions, *held) -> dict:
        memory = len(held) - 2 * self.model.text_decoder.memory_blocks  # behind the cache
        rows, pictures = token_ids.shape[0], held[memory].shape[0]
        copies = rows // pictures if isinstance(rows, int) and isinstance(pictures, int) else 1  # a graph spreads one
        cache, memory = (list(zip(each[::2], each[1::2])) for each in (held[:memory], held[memory:]))
        logits, states, new = self.model.caption_step(token_ids, positions, [*map(Past, cache)], memory, copies)
        return {"logits": logits, "states": ops.cast(states, "float32")} | _named(new, NEW)


def _named(of_blocks, start=""):
    """Keys and values of blocks by names, such as `keys_0`, `values_0` and `keys_1`."""
    return {
        f"{start}{what}_{block}": array
        for block, pair in enumerate(of_blocks)
        for what, array in zip(("keys", "values"), pair)
    }


class CaptionLoop(keras.layers.Layer):
    """Pictures to the token ids of their captions, by greedy search within one graph of TensorFlow."""

    def __init__(self, model, names, max_length):
        super().__init__(autocast=False, name="caption_graph")
        self.model, self.names, self.max_length = model, names, max_length
        self.built = True

    def call(self, *inputs) -> dict:
        import tensorflow as tf

        model = self.model
        context = model.call(dict(zip(self.names, inputs)), training=False, only=("caption_context",))
        memory = model.caption_memory(context["caption_context"])
        rows, places = tf.shape(inputs[0])[0], np.arange(self.max_length)
        start, pad = model.first_id(), np.int32(model.caption_pad_id)
        end = model.preprocessor.special_id("eot_id")

        def body(position, token_ids, done, cache):
            logits, _, cache = model.caption_step(token_ids, tf.fill([rows], position), cache, memory)
            chosen = tf.where(done, pad, tf.argmax(logits, axis=-1, output_type="int32"))
            token_ids = tf.where(places == position + 1, chosen[:, None], token_ids)
            if end is not None:
                done = done | (chosen == end)
            return position + 1, token_ids, done, cache

        token_ids = tf.where(places == 0, start, tf.fill([rows, self.max_length], pad))
        loop = (np.int32(0), token_ids, tf.zeros([rows], "bool"), model.empty_cache(rows, self.max_length))
        _, token_ids, _, _ = tf.while_loop(
            lambda position, token_ids, done, cache: (position < self.max_length - 1) & ~tf.reduce_all(done), body, loop
        )
        return {"token_ids": token_ids}


def onnx_towers(model, shared=True) -> list:
    """The graphs of a model in ONNX: its towers, and a captioner's memory and step.

    Args:
        model: the model.
        shared: whether all rows of a step may read the memory of one picture, which they then hold once.
    """
    towers = towers_of(model)
    if not writes_captions(model):
        return towers
    memory = _memory_tower(model, reference(towers[0]))
    return [*towers, memory, _step_tower(model, [*reference(memory)], shared)]


def saved_towers(model) -> list:
    """The signatures of a model in a SavedModel: its towers, and a captioner's whole search."""
    towers = towers_of(model)
    if not writes_captions(model):
        return towers
    start = model.first_id()
    if start is None or start >= model.caption_vocab_size:
        raise ValueError(
            f"the id that begins a caption is {start}, not one of this model's {model.caption_vocab_size}, so the "
            "search in a SavedModel has no start; give the model its vocabulary."
        )
    return [*towers, _caption_tower(model, towers[0])]


def _memory_tower(model, features):
    """From the image tower's tokens to what every step of a caption needs of them."""
    samples = [{"image_tokens": each["image_tokens"]} for each in features]
    return shaped(Tower("caption_memory", CaptionMemory(model), samples))


def _step_tower(model, memories, shared):
    """One id of each row to the next: verified step by step, with the rows at different positions."""
    readers = [(memory, len(next(iter(memory.values())))) for memory in memories]
    if shared:
        readers += [(memory, BEAMS) for memory, rows in readers if rows == 1]
    random, samples = np.random.default_rng(0), []
    length = model.token_tower().context_length
    caches = {name: ops.convert_to_numpy(each) for name, each in _named(model.empty_cache(1, length)).items()}
    for memory, rows in readers:
        ids = random.integers(0, model.caption_vocab_size, (rows, length)).astype("int32")
        past = {name: np.repeat(each, rows, axis=0) for name, each in caches.items()}
        for step in range(min(STEPS, length)):
            positions = np.maximum(step - np.arange(rows, dtype="int32"), 0)  # each row starts a step later
            samples.append({"token_ids": ids, "positions": positions, **past, **memory})
            past = {}
    of_caches = {name: each.shape for name, each in caches.items()}
    shapes = {"logits": (model.caption_vocab_size,), "states": (model.text_decoder.width,)}
    shapes |= {f"{NEW}{name}": (heads, 1, width) for name, (_, heads, _, width) in of_caches.items()}
    names = tuple(memories[0]) if shared else ()
    return Tower("caption_step", CaptionStep(model), samples, shapes, carried=carried(caches, shapes), shared=names)


def _caption_tower(model, image_tower):
    """The whole search of a SavedModel; see `worst_choice` for how it is verified."""
    max_length = min(MAX_LENGTH, model.token_tower().context_length)
    graph = CaptionLoop(model, list(image_tower.inputs), max_length)
    return Tower("caption", graph, image_tower.samples, {"token_ids": (max_length,)}, "int32")


def worst_choice(model, tower, got, tolerance, what) -> float:
    """By how much the ids of a greedy search lie below the likeliest ones, as the model sees the finished captions.

    The model reads each caption as a whole, without a cache. A difference of zero is the same choice at every step.

    Raises:
        ExportError: a worse choice than `tolerance` allows, relative to the largest logit above 1.
    """
    worst, end_id = 0.0, model.preprocessor.special_id("eot_id")
    for sample, found in zip(tower.samples, got, strict=True):
        token_ids = found["token_ids"]
        first = 0 if model.caption_start_id is None else 1  # which the model puts before the ids itself
        batch = sample | {"token_ids": token_ids[:, first:]}
        logits = ops.convert_to_numpy(model.call(batch, training=False, only=("caption_logits",))["caption_logits"])
        chosen = np.take_along_axis(logits, token_ids[:, 1:, None], axis=-1)[..., 0]
        written = np.cumsum(token_ids[:, :-1] == end_id, axis=1) == 0  # up to the end, with it
        regret = np.where(written, logits.max(axis=-1) - chosen, 0.0)
        difference = float(regret.max() / max(1.0, np.abs(logits).max()))
        if not difference <= tolerance:
            raise ExportError(
                f"{what}: at batch {len(token_ids)} a caption takes an id whose logit is {regret.max():.2e} below the "
                f"likeliest, more than the bound {tolerance:.0e}."
            )
        worst = max(worst, difference)
    return worst
