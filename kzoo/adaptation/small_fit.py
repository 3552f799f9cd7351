"""The small trainings of this room, by Keras: the same batches and noise on every backend."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.types import Array, Tensor

MATRICES = ("query", "key", "value", "out")  # of a CrossTune


class _Cache(keras.Model):
    """The keys of a Tip-Adapter: rows and zero-shot logits in, logits out."""

    def __init__(self, keys, values, alpha, beta):
        super().__init__(name="cache", dtype="float32")
        self.alpha, self.beta, self.values = alpha, beta, values
        self.keys = self.add_weight(name="keys", shape=keys.shape, initializer="zeros")
        self.keys.assign(keys)
        self.built = True

    def call(self, inputs) -> Tensor:
        rows, texts = inputs
        affinities = ops.matmul(rows, ops.transpose(self.keys))  # (batch, keys)
        votes = ops.matmul(ops.exp(self.beta * (affinities - 1.0)), self.values)  # (batch, classes)
        return texts + self.alpha * votes


class _Bottleneck(keras.Model):
    """Mixtures of concepts and a head: scores and noise in, logits out, and a loss of the mixtures beside them."""

    def __init__(self, concepts, classes, l1):
        super().__init__(name="bottleneck", dtype="float32")
        self.l1, self.concepts = l1, concepts
        self.mixtures = self.add_weight(name="mixtures", shape=(concepts, concepts), initializer="identity")
        self.head = self.add_weight(name="head", shape=(concepts, classes), initializer="zeros")
        self.built = True

    def call(self, inputs) -> Tensor:
        scores, noise = inputs  # (batch, concepts), (batch, concepts, 2)
        mixed = ops.matmul(scores, self.mixtures)
        if self.l1 is None:
            over = [ops.log_softmax(mixed + noise[..., axis], axis=axis) for axis in (0, 1)]
            self.add_loss(-0.5 * (ops.mean(over[0]) + ops.mean(over[1])))
        else:
            # the slope of |x| at 0, where most entries begin, is 0 here; backends differ in theirs
            signs = ops.stop_gradient(ops.sign(self.mixtures))
            self.add_loss(self.l1 * ops.sum(self.mixtures * signs) / self.concepts)
        return ops.matmul(mixed, self.head)


class _CrossAttention(keras.Model):
    """The attention of a CrossTune: rows in, logits out."""

    def __init__(self, made):
        super().__init__(name="cross_attention", dtype="float32")
        self.made = {name: getattr(made, name) for name in ("descriptions", "zero_shot", "scale", "num_heads")}
        shape = made.query.shape
        self.matrices = {name: self.add_weight(name=name, shape=shape, initializer="zeros") for name in MATRICES}
        for name, weight in self.matrices.items():
            weight.assign(getattr(made, name))
        self.built = True

    def call(self, rows) -> Tensor:
        told, count = ops.convert_to_tensor(self.made["descriptions"]), self.made["num_heads"]
        heads = (-1, count, rows.shape[-1] // count)
        query, key, value = (
            ops.reshape(ops.matmul(each, self.matrices[name]), heads)
            for each, name in ((rows, "query"), (told, "key"), (told, "value"))
        )
        scores = ops.einsum("nhd,rhd->nhr", query, key) * heads[2] ** -0.5
        mixed = ops.einsum("nhr,rhd->nhd", ops.softmax(scores, axis=-1), value)
        moved = rows + ops.matmul(ops.reshape(mixed, (-1, rows.shape[-1])), self.matrices["out"])
        return self.made["scale"] * ops.matmul(l2_normalize(moved), ops.transpose(self.made["zero_shot"]))


def fit_cross_attention(made, rows, labels, **options) -> dict:
    """Trained matrices of a `CrossTune`, by name; for the options see there."""
    model = _CrossAttention(made)
    fit_in_batches(model, lambda part, random: rows[part], labels, weight_decay=0.01, **options)
    return {name: ops.convert_to_numpy(weight) for name, weight in model.matrices.items()}


def fit_cache(keys, values, alpha, beta, rows, texts, labels, **options) -> Array:
    """Trained keys of a Tip-Adapter; for the arguments see `TipAdapter.trained`."""
    model = _Cache(keys, values, alpha, beta)
    fit_in_batches(
        model, lambda part, random: (rows[part], texts[part]), labels, epsilon=1e-4, weight_decay=0.01, **options
    )
    return ops.convert_to_numpy(model.keys)


def fit_bottleneck(scores, labels, classes, l1, **options) -> tuple:
    """Trained mixtures and head; for the arguments see `SparseConceptBottleneck`, `l1` None for Gumbel noise."""
    model = _Bottleneck(scores.shape[1], classes, l1)

    def batch(part, random):
        noise = random.gumbel(size=(len(part), scores.shape[1], 2)) if l1 is None else np.zeros((len(part), 1, 2))
        return scores[part], noise.astype("float32")

    fit_in_batches(model, batch, labels, **options)
    return ops.convert_to_numpy(model.mixtures), ops.convert_to_numpy(model.head)


def fit_in_batches(
    model,
    batch,
    labels,
    epochs,
    learning_rate,
    batch_size,
    seed,
    epsilon=1e-7,
    weight_decay=0.0,
    sample_weight=None,
    go_on=None,
) -> None:
    """Steps of AdamW under a cosine, on batches that NumPy shuffles.

    Args:
        model: a `keras.Model` of one weight or more, which gives logits.
        batch: function of places and a generator to the inputs of the model.
        labels: int array, a class for each place.
        epochs, learning_rate, batch_size, seed, epsilon, weight_decay: of the training.
        sample_weight: float array, what each place counts; below 0 it is unlearned.
        go_on: function that is asked after each epoch whether there shall be another.
    """
    random = np.random.default_rng(seed)
    steps = epochs * -(-len(labels) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=weight_decay, epsilon=epsilon),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    )
    counts = np.ones(len(labels)) if sample_weight is None else sample_weight
    for _ in range(epochs):
        order = random.permutation(len(labels))
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            share = (counts[part] / len(part)).astype("float32")
            model.train_on_batch(batch(part, random), labels[part], sample_weight=share)
        if go_on is not None and not go_on():
            return
