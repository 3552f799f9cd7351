"""SwAV, online clustering."""

import keras
from keras import ops

from kzoo.layers.numerics import NEGATIVE, l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.queue import add_queue, enqueue, filled
from kzoo.losses.parts.soft_targets import soft_targets
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class SwAV(Loss):
    """Each view must foretell which prototypes the other view is assigned to, where all prototypes are used alike.

    With unit rows of the views and of the prototypes `C`, `S_v = v C^T`. The codes `Q_v`, without gradient, are
    `exp(S_v / epsilon)` scaled in turn to equal sums of prototypes and of rows (Sinkhorn-Knopp), so that rows sum to 1:
    `L = mean over u in {1, 2}, v != u of - (1/B) sum_i sum_k Q_u,ik log softmax(S_v,i / temperature)_k`.

    Args:
        num_prototypes: rows of `C`, which are trained.
        dim: length of the embeddings.
        temperature: a float or a `LearnableTemperature`.
        epsilon: entropy of the codes; smaller makes them harder.
        iterations: turns of the scaling.
        queue_size: past embeddings of each of the two first views that help to balance the codes, 0 for none. The
            queue starts empty and takes part as it fills, which is our choice.
        seed: of the prototypes.
        inputs: names of the views to read, two or more, the two global ones first; default `("view_1", "view_2")`.

    Inputs:
        *views: float tensors `(batch, dim)`; they are normalised. The first two give codes, all of them predict.
        sample_weight: float tensor `(batch,)`; all rows balance the codes.

    Returns:
        float32 scalar, `ln(num_prototypes)` where all embeddings are equal and every prototype is as near.

    Raises:
        ValueError: embeddings that are not of length `dim`; `iterations` below 1, `epsilon` of 0.

    Recommendations:
        With several small crops, for batches too small for `NTXent`. Give a batch below the number of prototypes a
        queue, and keep the prototypes still for the first epoch (`loss.prototypes.trainable = False`).

    Example:
        >>> loss = SwAV(num_prototypes=4, dim=4)
        >>> loss.prototypes.assign(np.eye(4))
        >>> loss(np.eye(4), np.eye(4))
        0.0001

    Reference:
        Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (SwAV), 2020, arXiv
        2006.09882.
    """

    default_inputs = ("view_1", "view_2")
    input_counts = (2, None)
    shapes = Loss.shapes | {"views": "batch dim"}

    def __init__(
        self,
        num_prototypes=3000,
        dim=128,
        temperature=0.1,
        epsilon=0.05,
        iterations=3,
        queue_size=0,
        seed=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(inputs=inputs, **kwargs)
        self.temperature, self.epsilon, self.iterations = check_temperature(temperature), epsilon, iterations
        self.num_prototypes, self.dim, self.queue_size = num_prototypes, dim, queue_size
        normal = keras.initializers.RandomNormal(stddev=dim**-0.5, seed=seed)
        self.prototypes = self.add_weight(name="prototypes", shape=(num_prototypes, dim), initializer=normal)
        if queue_size:
            add_queue(self, queue_size, dim, num_groups=2, empty=True)

    def pairs(self, batch_size) -> tuple:
        return len(self.input_names) * batch_size, self.num_prototypes

    def negatives(self, batch_size) -> int:
        return 0

    def call(self, *views, sample_weight=None, training=False) -> Tensor:
        for view in views:
            if view.shape[-1] != self.dim:
                raise ValueError(
                    f"SwAV has prototypes of dim={self.dim}, but received embeddings of length {view.shape[-1]}; "
                    f"give the loss dim={view.shape[-1]}."
                )
        views = [l2_normalize(view) for view in views]
        prototypes = ops.transpose(l2_normalize(self.prototypes))
        scores = [ops.matmul(view, prototypes) for view in views]
        scale = resolve_scale(self.temperature)
        log_p = [ops.log_softmax(scale * each, axis=1) for each in scores]
        per_row = 0.0
        for u in (0, 1):
            codes = self.codes(scores[u], u, prototypes)
            first, *rest = (log_p[v] for v in range(len(views)) if v != u)
            per_row = per_row - 0.5 * ops.sum(codes * sum(rest, first), axis=1) / (len(views) - 1)
        if training and self.queue_size:
            batch = ops.shape(views[0])[0]
            view_of_row = ops.arange(2 * batch, dtype="int32") // batch
            enqueue(self, ops.concatenate(views[:2], axis=0), view_of_row)
        return weighted_mean(per_row, sample_weight)

    def codes(self, scores, view, prototypes) -> Tensor:
        """`Q` of a view, `(batch, num_prototypes)`."""
        batch, known = ops.shape(scores)[0], None
        if self.queue_size:
            queue = ops.convert_to_tensor(self.queue)[view]
            known = ops.concatenate([filled(queue), ops.ones((batch,), "bool")])[:, None]
            scores = ops.concatenate([ops.matmul(queue, prototypes), scores], axis=0)
        return sinkhorn(ops.stop_gradient(scores), self.epsilon, self.iterations, known)[-batch:]


def sinkhorn(scores, epsilon, iterations, known=None) -> Tensor:
    """Balanced assignments of rows to columns: rows sum to 1, columns to nearly equal shares.

    The constants of the usual form cancel: each turn divides columns by their sum, then rows by theirs. The first one
    is done on logarithms, in which nothing underflows. After it no column is nearly empty, and the others only find
    what rows and columns are to be multiplied by.

    Args:
        scores: float tensor `(rows, columns)`.
        epsilon: temperature of the assignments.
        iterations: turns.
        known: bool tensor `(rows, 1)`, False where a row takes no part.

    Returns:
        float32 tensor `(rows, columns)`.

    Example:
        >>> sinkhorn(np.array([[0.0, 0.0], [0.0, 0.0]], "float32"), 0.05, 3)
        [[0.5, 0.5], [0.5, 0.5]]
    """
    log_q = ops.cast(scores, "float32") / epsilon
    there = 1.0 if known is None else ops.cast(known[:, 0], "float32")
    log_q = log_q if known is None else ops.where(known, log_q, NEGATIVE)
    q = soft_targets(log_q - ops.logsumexp(log_q, axis=0, keepdims=True))
    of_rows, of_columns = ops.ones_like(q[:, 0]), ops.ones_like(q[0])
    for _ in range(iterations - 1):
        of_columns = 1.0 / ops.matmul(of_rows * there, q)
        of_rows = 1.0 / ops.matmul(q, of_columns)
    return of_rows[:, None] * q * of_columns[None, :]
