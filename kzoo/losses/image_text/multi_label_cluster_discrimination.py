"""MLCD: an image belongs to several clusters at once."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import masked_log_sum
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MultiLabelClusterDiscrimination(PairwiseLoss):
    """Each row must come nearer to the centers of all its clusters, and away from all other centers.

    With unit rows and centers, `s_ik = scale <a_i, c_k>` and the clusters `P_i` of row i:
    `L = (1/B) sum_i [ log(1 + sum_{k not in P_i} e^s_ik) + log(1 + sum_{k in P_i} e^-s_ik) ]`. Written from memory of
    the paper, whose code for training was not published; it may use another scale, a margin, a sample of the classes.

    Args:
        scale: `scale` above.
        num_classes: number of centers that the loss owns and trains, weight `centers`; None: they are given.
        dim: length of the embeddings; goes with `num_classes`.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings",)` where the loss owns the centers, else
            `("image_embeddings", "centers")`.

    Inputs:
        a: float tensor `(batch, dim)`; normalised.
        centers: float tensor `(classes, dim)`; normalised. Only where the loss has none of its own.
        positives: int tensor `(batch, count)`, clusters of each row. One that occurs twice counts once; -1 fills up
            rows that have fewer.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, columns=("positives",))`; for a loss without centers of
        its own `constants={"centers": centers}`, which are then not trained.

    Returns:
        float32 scalar; `ln(classes) + ln 2` where all products are 0 and each row has one cluster.

    Raises:
        ValueError: only one of `num_classes` and `dim`; centers given to a loss that has its own, or none anywhere;
            `scale` is not positive.

    Recommendations:
        Where the clusters change while training, give the centers. For pairs with labels: `UnifiedContrastive`.

    Example:
        >>> MultiLabelClusterDiscrimination()(np.eye(2), np.eye(2), positives=np.array([[0], [1]]))
        1.0064

    Reference:
        An et al., Multi-label Cluster Discrimination for Visual Representation Learning (MLCD), 2024, arXiv
        2407.17331.
    """

    default_inputs = ("image_embeddings", "centers")
    input_counts = (1, 2)
    optional_inputs = PairwiseLoss.optional_inputs | {"positives": "positives"}
    required_inputs = ("positives",)
    shapes = PairwiseLoss.shapes | {"centers": "classes dim", "positives": "batch count"}
    numbers = PairwiseLoss.numbers | {"positives": "index of classes or -1"}

    def __init__(self, scale=1.0, num_classes=None, dim=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs or self.default_inputs[: 2 if num_classes is None else 1], **kwargs)
        if (num_classes is None) != (dim is None):
            raise ValueError(f"num_classes={num_classes} and dim={dim} go together; give both, or neither.")
        self.scale, self.num_classes = scale, num_classes
        if num_classes is not None:
            unit_length = keras.initializers.RandomNormal(stddev=dim**-0.5)
            self.centers = self.add_weight(
                name="centers", shape=(num_classes, dim), initializer=unit_length, autocast=False
            )

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.num_classes or batch_size

    def call(self, a, centers=None, positives=None, sample_weight=None) -> Tensor:
        if (centers is None) == (self.num_classes is None):
            received = "none came" if centers is None else f"others came, {tuple(centers.shape)}"
            has = "no centers of its own" if centers is None else "centers of its own"
            raise ValueError(
                f"the loss has {has}, but {received}; give num_classes and dim to the loss, or centers to its call."
            )
        if positives is None:
            raise ValueError("positives is missing; give the clusters of each row, int (batch, count).")
        centers = self.centers if centers is None else centers
        rows = {"a": l2_normalize(a), "positives": ops.cast(positives, "int32")}

        def clusters(i, real, rows, columns):
            s = self.scale * ops.matmul(rows["a"], ops.transpose(columns["centers"]))  # (rows, classes)
            classes = ops.arange(ops.shape(s)[1], dtype="int32")
            own = ops.any(ops.equal(rows["positives"][:, :, None], classes), axis=1)
            away = masked_log_sum(s, ops.logical_not(own))
            near = masked_log_sum(-s, own)
            return {"value": ops.softplus(away) + ops.softplus(near)}, {}

        of_rows, _ = by_blocks(clusters, rows, {"centers": l2_normalize(centers)}, self.block_size)
        return weighted_mean(of_rows["value"], sample_weight)
