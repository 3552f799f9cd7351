"""Hydra: pairs of any two classes, compared in a part of the embedding that the two classes choose."""

import keras
from keras import ops

from kzoo.layers.numerics import NORM_FLOOR, embed, l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions, same
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ArbitraryPairs(PairwiseLoss):
    """Each row must find its partner in the part of the embedding that a gate of the two classes opens.

    The gate of a pair is `g = sigmoid(MLP((e(y) + e(y')) / 2))`, the same for both orders of the labels, with a
    learned table `e`. With `z_ij = <n(g_i * a_i), n(g_i * b_j)> / t`: softmax cross-entropy with the partner as the
    target, averaged over both directions; the gate is always that of the row.

    Args:
        num_classes: labels that the table knows; None: gates are given in the call.
        dim: length of an embedding, and of a gate; goes with `num_classes`.
        label_dim: length of a label's vector.
        hidden: units of the hidden layer of the MLP.
        temperature: `t` above, a float or a `LearnableTemperature`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        labels_a, labels_b: int tensors `(batch,)`.
        gates: float tensor `(batch, dim)`, in place of labels; only the direction of a gate counts.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder)` and `kzoo.data.views` with entries `labels_a` and `labels_b`; of views of one thing
        both are its own: `ArbitraryPairs(..., labels_a="labels", labels_b="labels")`. Pairs of texts with labels:
        `kzoo.data.text_pairs`.

    Returns:
        float32 scalar; `ln(batch)` when all embeddings are equal.

    Raises:
        ValueError: only one of `num_classes` and `dim`, or neither labels nor gates in the call.

    Recommendations:
        When a batch holds pairs of unlike classes that share some attribute. For pairs of one kind, `InfoNCE`.

    Example:
        >>> ArbitraryPairs()(np.eye(2), np.eye(2), gates=np.ones((2, 2)))
        4.5e-05

    Reference:
        Inspired by Hydra, 2024, arXiv 2410.18200: the gate is theirs, the softmax over the batch and the size of the
        hidden layer are our choice.
    """

    default_inputs = ("view_1", "view_2")
    optional_inputs = Loss.optional_inputs | {"labels_a": "labels_a", "labels_b": "labels_b", "gates": "gates"}
    shapes = PairwiseLoss.shapes | {"labels_a": "batch", "labels_b": "batch", "gates": "batch dim"}
    numbers = PairwiseLoss.numbers | {"labels_a": "index of num_classes", "labels_b": "index of num_classes"}

    def __init__(
        self,
        num_classes=None,
        dim=None,
        label_dim=128,
        hidden=256,
        temperature=0.1,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        if (num_classes is None) != (dim is None):
            raise ValueError(f"num_classes={num_classes} and dim={dim} go together; give both, or neither for gates.")
        self.temperature, self.num_classes = check_temperature(temperature), num_classes
        if num_classes is not None:
            self.label_table = self.add_weight(
                name="label_table", shape=(num_classes, label_dim), initializer="glorot_uniform"
            )
            self.hidden_layer = keras.layers.Dense(hidden, activation="relu", dtype="float32", name="hidden")
            self.gate_layer = keras.layers.Dense(dim, activation="sigmoid", dtype="float32", name="gate")
            self.hidden_layer.build((None, label_dim))
            self.gate_layer.build((None, hidden))

    def call(self, a, b, labels_a=None, labels_b=None, gates=None, sample_weight=None) -> Tensor:
        if gates is None:
            gates = self._gates(labels_a, labels_b)
        gates, a, b = l2_normalize(gates), l2_normalize(a), l2_normalize(b)  # the length of a gate cancels
        scale = resolve_scale(self.temperature)

        def tile(i, j, rows, columns):
            others = ops.transpose(columns["y"])
            seen = rows["gates"] * l2_normalize(rows["gates"] * rows["x"])
            squared = ops.matmul(ops.square(rows["gates"]), ops.square(others))  # of g_i * y_j
            z = ops.matmul(seen, others) * ops.rsqrt(ops.maximum(squared, NORM_FLOOR))
            return Tile(columns["scale"] * z, same(i, j))

        directions = [
            cross_entropies(tile, {"x": x, "gates": gates}, {"y": y, "scale": scale}, block_size=self.block_size)[0]
            for x, y in ((a, b), (b, a))
        ]
        return weighted_mean(mean_of_directions(*directions), sample_weight)

    def _gates(self, labels_a, labels_b):
        if self.num_classes is None or labels_a is None or labels_b is None:
            raise ValueError(
                f"ArbitraryPairs reads gates or both labels, but got no gates, and labels_a and labels_b "
                f"{'without num_classes' if self.num_classes is None else 'not both'}; give gates, or num_classes, "
                "dim and both labels."
            )
        label_vectors = [embed(self.label_table, ops.cast(each, "int32")) for each in (labels_a, labels_b)]
        return self.gate_layer(self.hidden_layer(0.5 * sum(label_vectors)))
