"""WhitenedCSE: sentence embeddings that are whitened in shuffled groups of features."""

import keras
from keras import ops

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.candidates import own_among
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor

SMALLEST = 1e-12  # eigenvalue of a covariance; of the largest one, float32 resolves no less than the next line
SMALLEST_RATIO = 1e-7


@keras.saving.register_keras_serializable(package="kzoo")
class WhitenedCSE(PairwiseLoss):
    """The first view must find itself in each other view, after each was whitened in its own groups of features.

    A view's features are shuffled and split into G groups. Of a group X, centred over the batch, with
    `C = X^T X / B = U S U^T` it takes `Y = X U (S + eps)^{-1/2} U^T`, and puts the features back in order.
    `L = sum_{k > 1} (1/B) sum_i [ LSE_j z_ij - z_ii ]` with `z_ij = cos(Y1_i, Yk_j) / temperature`.

    The gradient is that of the formula, written so that equal eigenvalues, where differentiating a decomposition
    divides by zero, do no harm.

    Args:
        temperature: a float or a `LearnableTemperature`.
        num_groups: G, a divisor of the number of features.
        eps: added to the eigenvalues; without it a batch needs more rows than a group has features.
        seed: of the shuffles.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2", "view_3")`; any number from 2.

    Inputs:
        x1, x2, ...: float tensors `(batch, dim)`, passes of the same sentences with different dropout masks, before
            the projection.
        permutations: int tensor `(views, dim)`, the order of features in each view; default drawn in training, and
            as they are otherwise.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still is whitened and serves as a negative.

    Feeding:
        `SelfSupervised(text_encoder)` with dropout and `kzoo.data.text_views(texts, preprocessor, views=3)`; before the
        projection they are `inputs=("view_1_features", "view_2_features", "view_3_features")`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: features that do not split into `num_groups`, bad temperature.

    Recommendations:
        `SimCSE` is simpler and needs no large batch. Embeddings are used without the whitening once trained. The
        authors put the projection of BERT between the whitening and the cosine; here nothing stands between.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> WhitenedCSE(temperature=0.5, num_groups=1)(x, x)
        0.2539

    Reference:
        Zhuo et al., WhitenedCSE, 2023, arXiv 2305.17746.
    """

    default_inputs = ("view_1", "view_2", "view_3")
    input_counts = (2, None)
    optional_inputs = PairwiseLoss.optional_inputs | {"permutations": "permutations"}
    shapes = PairwiseLoss.shapes | {"views": "batch dim", "permutations": "views dim"}

    def __init__(self, temperature=0.05, num_groups=384, eps=1e-5, seed=None, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.num_groups, self.eps = num_groups, eps
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, *views, permutations=None, sample_weight=None, training=False) -> Tensor:
        dim = views[0].shape[-1]
        if dim % self.num_groups:
            raise ValueError(f"{dim} features do not split into num_groups={self.num_groups}; choose a divisor.")
        if permutations is None and training:
            permutations = [keras.random.shuffle(ops.arange(dim), seed=self.seed_generator) for _ in views]
        white = []
        for place, view in enumerate(views):
            view = ops.cast(view, "float32")
            if permutations is None:
                white.append(whitened(view, self.num_groups, self.eps))
                continue
            order = ops.cast(permutations[place], "int32")
            shuffled = whitened(ops.take(view, order, axis=1), self.num_groups, self.eps)
            white.append(ops.take(shuffled, ops.argsort(order), axis=1))
        first, *others = white
        scale = resolve_scale(self.temperature)
        per_row = sum(own_among(first, [other], scale, block_size=self.block_size)[0] for other in others)
        return weighted_mean(per_row, sample_weight)


def whitened(x, num_groups, eps=0.0) -> Tensor:
    """A batch of features without correlation inside of each of the groups of columns: `(batch, dim)`."""
    size = x.shape[-1] // num_groups
    groups = ops.transpose(ops.reshape(x, (-1, num_groups, size)), (1, 0, 2))  # (groups, batch, size)
    groups = groups - ops.mean(groups, axis=1, keepdims=True)
    covariance = ops.matmul(ops.transpose(groups, (0, 2, 1)), groups) / ops.cast(ops.shape(x)[0], "float32")
    white = ops.matmul(groups, _inverse_root(covariance + eps * ops.eye(size)))
    return ops.reshape(ops.transpose(white, (1, 0, 2)), (-1, num_groups * size))


def _inverse_root(matrix):
    """`matrix^{-1/2}` of symmetric matrices `(..., n, n)`; directions without any extent are scaled like the smallest.

    The decomposition gets no gradient. That of the function of the matrix is added by its first-order term, whose
    factors `(f(s_i) - f(s_j)) / (s_i - s_j) = -1 / (r_i r_j (r_i + r_j))`, with `r` the roots, are finite.
    """
    constant = ops.stop_gradient(matrix)
    s, u = ops.eigh(constant)
    floor = ops.maximum(SMALLEST_RATIO * s[..., -1:], SMALLEST)
    moves = ops.cast(s > floor, "float32")
    root = ops.sqrt(ops.maximum(s, floor))
    one, other = root[..., :, None], root[..., None, :]
    factors = -ops.maximum(moves[..., :, None], moves[..., None, :]) / (one * other * (one + other))
    u, factors, root = (ops.stop_gradient(each) for each in (u, factors, root))
    transposed = ops.swapaxes(u, -1, -2)
    change = factors * ops.matmul(transposed, ops.matmul(matrix - constant, u))
    return ops.matmul(u / root[..., None, :], transposed) + ops.matmul(u, ops.matmul(change, transposed))
