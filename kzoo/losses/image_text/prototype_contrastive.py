"""ProtoCLIP's loss: each modality learns from the clusters of the other."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.parts.anchors import mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, Tile, cross_entropies, same
from kzoo.losses.parts.soft_targets import soft_targets
from kzoo.losses.parts.temperature import LearnableTemperature, check_temperature, resolve_scale
from kzoo.types import Tensor

STATE = ("a_prototypes", "b_prototypes", "a_targets", "b_targets")


@keras.saving.register_keras_serializable(package="kzoo")
class PrototypeContrastive(PairwiseLoss):
    """Each row must find the cluster that its partner was put in, among all clusters of the other modality.

    For unit rows `a_i`, whose partners were put into clusters `l_i` with prototypes `p_k`, the student's logits are
    `<a_i, c_k> / temperature`, with `c_k` the same cluster as seen from the side of `a` (its target), and the
    teacher says how near the clusters are to each other: `T_ik = softmax_k(<p_{l_i}, p_k> / target_temperature)`.
    `L` is the mean of `sum_k T_ik (LSE - z_ik)` over both sides.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: a `LearnableTemperature(0.07)` of the loss's own, as
            in the paper. The model's head, trained on pairs, is not read.
        target_temperature: of the teacher; 0 or less: `T` is 1 at `l_i`, 0 elsewhere.
        num_prototypes: clusters of each side that the loss holds as state, filled by `set_prototypes`; None: they
            are given in each call.
        dim: length of the embeddings; goes with `num_prototypes`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        a_labels, b_labels: int tensors `(batch,)`, cluster of each row among those of its own side; -1 leaves the row
            out of the mean of the other side.
        a_prototypes, b_prototypes: float tensors `(clusters, dim)`, as they come, without gradient. Default the
            state.
        a_targets, b_targets: float tensors `(clusters, dim)`; `a_targets` are the clusters of `b` in the space of `a`:
            the mean of the rows of `a` whose partners are in the cluster, 0 for an empty one. Default the other
            side's prototypes.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("a_labels", "b_labels"))`, with clusters in
        `set_prototypes`; or `constants={"a_prototypes": ..., "b_prototypes": ...}`.

    Returns:
        float32 scalar; `ln(clusters)`, without gradient, as long as the state is not set.

    Raises:
        ValueError: only one of `num_prototypes` and `dim`; no prototypes anywhere; only one side's; bad temperature.

    Recommendations:
        Next to `InfoNCE`: `InfoNCE() + PrototypeContrastive()`. Clusters are made anew every few thousand steps, by
        k-means of each side's embeddings, and are then given to `set_prototypes`.

    Example:
        >>> c, l = np.eye(2), np.array([0, 1])
        >>> PrototypeContrastive(1.0, -1)(c, c, a_labels=l, b_labels=l, a_prototypes=c, b_prototypes=c)
        0.3133

    Reference:
        Chen et al., Prototypical Contrastive Language Image Pretraining (ProtoCLIP), 2022, arXiv 2206.10996.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {key: key for key in ("a_labels", "b_labels", *STATE)}
    required_inputs = ("a_labels", "b_labels")
    shapes = PairwiseLoss.shapes | {
        "a_labels": "batch",
        "b_labels": "batch",
        "a_prototypes": "a_clusters _",
        "b_prototypes": "b_clusters _",
        "a_targets": "b_clusters dim",
        "b_targets": "a_clusters dim",
    }
    numbers = PairwiseLoss.numbers | {"a_labels": "index of a_clusters or -1", "b_labels": "index of b_clusters or -1"}

    def __init__(
        self,
        temperature=None,
        target_temperature=0.01,
        num_prototypes=None,
        dim=None,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        if (num_prototypes is None) != (dim is None):
            raise ValueError(f"num_prototypes={num_prototypes} and dim={dim} go together; give both, or neither.")
        self.temperature = LearnableTemperature() if temperature is None else check_temperature(temperature)
        self.target_temperature, self.num_prototypes = target_temperature, num_prototypes
        for key in STATE if num_prototypes else ():
            weight = self.add_weight(
                name=key, shape=(num_prototypes, dim), initializer="zeros", trainable=False, autocast=False
            )
            setattr(self, key, weight)

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.num_prototypes or batch_size

    def set_prototypes(self, a_prototypes, b_prototypes, a_targets=None, b_targets=None) -> None:
        """Replace the state by new clusters.

        Args:
            a_prototypes, b_prototypes, a_targets, b_targets: as in `Inputs`, float arrays `(num_prototypes, dim)`.

        Raises:
            ValueError: the loss holds no prototypes; another shape.
        """
        if self.num_prototypes is None:
            raise ValueError(
                "this PrototypeContrastive holds no prototypes; make it with num_prototypes=... and dim=..., or give "
                "them in each call."
            )
        a_targets = b_prototypes if a_targets is None else a_targets
        b_targets = a_prototypes if b_targets is None else b_targets
        given = dict(zip(STATE, (a_prototypes, b_prototypes, a_targets, b_targets)))
        for key, value in given.items():
            if tuple(value.shape) != getattr(self, key).shape:
                wanted = getattr(self, key).shape
                raise ValueError(f"{key} has the shape {tuple(value.shape)}; the loss was made for {wanted}.")
        for key, value in given.items():
            getattr(self, key).assign(value)

    def call(
        self,
        a,
        b,
        a_labels,
        b_labels,
        a_prototypes=None,
        b_prototypes=None,
        a_targets=None,
        b_targets=None,
        sample_weight=None,
    ) -> Tensor:
        if (a_prototypes is None) != (b_prototypes is None):
            raise ValueError("prototypes came for one side only; give a_prototypes and b_prototypes, or neither.")
        if a_prototypes is None:
            if self.num_prototypes is None:
                raise ValueError(
                    "no prototypes came and PrototypeContrastive holds none; give a_prototypes and b_prototypes, or "
                    "num_prototypes and dim to the loss and the clusters to its set_prototypes."
                )
            a_prototypes, b_prototypes = self.a_prototypes, self.b_prototypes
            a_targets = self.a_targets if a_targets is None else a_targets
            b_targets = self.b_targets if b_targets is None else b_targets
        a_targets = b_prototypes if a_targets is None else a_targets
        b_targets = a_prototypes if b_targets is None else b_targets
        of_a = self._one_side(a, a_targets, b_prototypes, b_labels, sample_weight)
        return 0.5 * (of_a + self._one_side(b, b_targets, a_prototypes, a_labels, sample_weight))

    def _one_side(self, x, targets, prototypes, labels, sample_weight):
        labels = ops.cast(labels, "int32")
        targets, prototypes = (ops.stop_gradient(ops.cast(each, "float32")) for each in (targets, prototypes))
        known = ops.maximum(labels, 0)
        rows = {"x": l2_normalize(x), "label": known, "prototype": ops.take(prototypes, known, axis=0)}
        columns = {"targets": targets, "prototypes": prototypes, "scale": resolve_scale(self.temperature)}

        def tile(i, k, rows, columns):
            z = ops.matmul(columns["scale"] * rows["x"], ops.transpose(columns["targets"]))  # (rows, clusters)
            if self.target_temperature <= 0:
                return Tile(z, same(rows["label"], k))
            near = ops.matmul(rows["prototype"], ops.transpose(columns["prototypes"])) / self.target_temperature
            return Tile(z, soft_targets(near))

        per_row, _ = cross_entropies(tile, rows, columns, block_size=self.block_size)
        return mean_of_anchors(per_row, labels >= 0, sample_weight)
