"""Contrast of a graph's nodes with their neighbours and of meta-nodes with each other."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MetaNodeContrastive(PairwiseLoss):
    """Nodes of a graph come close to their neighbours, while the sums of the clusters move apart.

    With cosines of which those of a node with itself are set to 0, and `M_c` the sum of the raw embeddings of
    cluster c: `L = -mean_i ln sum_j A_ij exp(tau cos(x_i, x_j)) + mean_c ln sum_d exp(tau cos(M_c, M_d))`.
    Nodes without an edge do not count in the first mean (our choice; the authors add 1e-10 to the sum).

    Args:
        tau: multiplies the cosines.
        num_clusters: number of clusters. One without a node counts as a vector of zeros.
        block_size: nodes compared at a time with all, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1",)`.

    Inputs:
        x: float tensor `(nodes, dim)`.
        adjacency: float tensor `(nodes, nodes)`, the weight of each edge, 0 where there is none.
        assignments: int tensor `(nodes,)`, the cluster of each node.
        sample_weight: float tensor `(nodes,)`, weighs the nodes in the first term.

    Feeding:
        `SelfSupervised(encoder)` of pictures or texts that are the nodes, and `kzoo.data.views` or
        `kzoo.data.text_views` with `views=1, matrices={"adjacency": Edges(edges, count)}` and an entry `assignments`,
        such as a run of `kzoo.data.clusterings`.

    Returns:
        float32 scalar; it may be negative.

    Raises:
        ValueError: `tau` or `num_clusters` is not positive.

    Recommendations:
        For graphs only. With labels instead of edges take `SupCon`.

    Example:
        >>> edges = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> MetaNodeContrastive(num_clusters=2)(np.eye(2), adjacency=edges, assignments=np.array([0, 1]))
        0.6931

    Reference:
        Kulatilleke et al., Efficient Block Contrastive Learning via Parameter-Free Meta-Node Approximation (PamC),
        2022, arXiv 2209.14067.
    """

    default_inputs = ("view_1",)
    optional_inputs = PairwiseLoss.optional_inputs | {"adjacency": "adjacency", "assignments": "assignments"}
    required_inputs = ("adjacency", "assignments")
    pair_inputs = ("adjacency",)
    shapes = PairwiseLoss.shapes | {
        "x": "nodes dim",
        "adjacency": "nodes nodes",
        "assignments": "nodes",
        "sample_weight": "nodes",
    }
    numbers = PairwiseLoss.numbers | {"assignments": "index of num_clusters"}

    def __init__(self, tau=1.0, num_clusters=16, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.tau, self.num_clusters = tau, num_clusters

    def negatives(self, batch_size) -> int:
        return self.num_clusters - 1

    def call(self, x, adjacency, assignments, sample_weight=None) -> Tensor:
        x = ops.cast(x, "float32")

        def attraction(i, real, rows, columns):
            z = self._scaled_cosines(i, rows["x"], columns["x"])
            edge = rows["adjacency"] > 0.0
            z = z + ops.log(ops.where(edge, rows["adjacency"], 1.0))
            return {"log_sum": masked_log_sum(z, edge)}, {}

        unit = l2_normalize(x)
        rows = {"x": unit, "adjacency": ops.cast(adjacency, "float32")}
        log_sum = by_blocks(attraction, rows, {"x": unit}, self.block_size)[0]["log_sum"]
        has_edge = log_sum > 0.5 * NEGATIVE

        c = ops.arange(self.num_clusters, dtype="int32")
        members = same(c, ops.cast(assignments, "int32"))  # (clusters, nodes)
        meta = l2_normalize(ops.matmul(members, x))
        repulsion = ops.mean(ops.logsumexp(self._scaled_cosines(c, meta, meta), axis=1))
        return repulsion - mean_of_anchors(ops.where(has_edge, log_sum, 0.0), has_edge, sample_weight)

    def _scaled_cosines(self, i, rows, columns):
        """`tau cos` of unit rows, 0 between a row and itself; `i` are the indices of the rows."""
        cosines = ops.matmul(rows, ops.transpose(columns))
        j = ops.arange(ops.shape(columns)[0], dtype="int32")
        return self.tau * cosines * (1.0 - same(i, j))
