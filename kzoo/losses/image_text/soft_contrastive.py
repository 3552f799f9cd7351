"""Soft contrastive learning, with targets from the similarity of labels."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, mean_of_directions
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SoftContrastive(PairwiseLoss):
    """Samples attract each other as much as the names of their labels resemble each other.

    With label embeddings `l`: `T_ij = softmax_j(cos(l_i, l_j) / label_temperature)`, without gradient, and
    `z_ij = cos(a_i, b_j) / temperature`: `L = (1/B) sum_i [ LSE_j z_ij - sum_j T_ij z_ij ]`. The other direction
    takes the same T with the roles of `a` and `b` swapped.

    Args:
        temperature: a float or a `LearnableTemperature`.
        label_temperature: a float, of the targets; small ones leave only the most similar labels.
        symmetric: average of both directions.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        label_embeddings: float tensor `(batch, label dim)`, the embedding of each pair's label, from a frozen
            sentence encoder for instance.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("label_embeddings",))`; of sentences
        `kzoo.data.text_pairs` with that column, `SelfSupervised` and `inputs=("view_1", "view_2")`.

    Returns:
        float32 scalar, at least the entropy of the targets.

    Raises:
        ValueError: bad temperature.

    Recommendations:
        `SupCon` where labels are equal or not, with nothing between. `InfoNCE` where each sample is its own label.

    Example:
        >>> SoftContrastive(1.0, label_temperature=0.1)(np.eye(4), np.eye(4), label_embeddings=np.eye(4))
        0.7438

    Reference:
        Burdisso et al., Dialog2Flow, 2024, arXiv 2410.18481.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"label_embeddings": "label_embeddings"}
    required_inputs = ("label_embeddings",)
    shapes = PairwiseLoss.shapes | {"label_embeddings": "batch label_dim"}
    numbers = PairwiseLoss.numbers | {"label_embeddings": "number"}

    def __init__(
        self, temperature=0.05, label_temperature=0.35, symmetric=True, block_size=None, inputs=None, **kwargs
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.label_temperature = float(label_temperature)
        self.symmetric = symmetric

    def call(self, a, b, label_embeddings, sample_weight=None) -> Tensor:
        a, b = l2_normalize(a), l2_normalize(b)
        labels = ops.stop_gradient(l2_normalize(label_embeddings))
        scale = resolve_scale(self.temperature)

        def tile(i, j, rows, columns):
            z = ops.matmul(columns["scale"] * rows["x"], ops.transpose(columns["y"]))
            resemblance = ops.matmul(rows["label"], ops.transpose(columns["label"])) / self.label_temperature
            return Tile(z, ops.stop_gradient(ops.exp(ops.log_softmax(resemblance, axis=1))))

        def of_rows(x, y):
            columns = {"y": y, "label": labels, "scale": scale}
            return cross_entropies(tile, {"x": x, "label": labels}, columns, "a_to_b", self.block_size)[0]

        return weighted_mean(
            mean_of_directions(of_rows(a, b), of_rows(b, a) if self.symmetric else None), sample_weight
        )
