"""The pairwise sigmoid loss of SigLIP."""

import keras
from keras import ops

from kzoo.layers.similarity import add_log_scale
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.products import sigmoid_sum, unit_rows
from kzoo.types import Tensor

DEFAULT_SCALE, DEFAULT_BIAS = 10.0, -10.0


@keras.saving.register_keras_serializable(package="kzoo")
class SigmoidContrastive(PairwiseLoss):
    """Each pair of the batch is one yes-or-no question: does this text belong to this image?

    With unit rows and `y_ij` = +1 on positives, -1 elsewhere:
    `L = (1/B) sum_ij softplus(-y_ij (scale <a_i, b_j> + bias))`. The divisor is B, not B^2.

    Args:
        scale: initial scale of the loss's own head, or None: scale and bias are those of the model that the
            loss is attached to, and 10 and -10 when it is called alone.
        bias: initial bias of the loss's own head; goes with `scale`.
        learnable: train the loss's own scale (as its logarithm) and bias.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; they are normalised.
        positives: bool tensor `(batch, batch)`, True where `b_j` belongs to `a_i`; default the diagonal.
        sample_weight: float tensor `(batch,)`, weighs the questions of row i and of column i.
        scale, bias: scalars of the model's head; read only when the loss has no head of its own.

    Returns:
        float32 scalar. `B ln 2` at scale 0 and bias 0.

    Raises:
        ValueError: only one of `scale` and `bias`; attached to a model whose head has no bias.

    Recommendations:
        `InfoNCE` is the safer choice below a batch of about a thousand.

    Example:
        >>> SigmoidContrastive(scale=10.0, bias=-10.0)(np.eye(4), np.eye(4))
        0.6933

    Reference:
        Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023, arXiv 2303.15343.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {
        "positives": "positives",
        "scale": "logit_scale",
        "bias": "logit_bias",
    }
    shapes = PairwiseLoss.shapes | {"positives": "batch batch"}

    def __init__(self, scale=None, bias=None, learnable=True, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        if (scale is None) != (bias is None):
            raise ValueError(f"scale={scale} and bias={bias} go together; give both, or neither for the model's head.")
        self.initial_scale, self.initial_bias, self.learnable = scale, bias, learnable
        self.owns_head = scale is not None
        if self.owns_head:
            self.build()

    def build(self) -> None:
        self.log_scale = add_log_scale(self, self.initial_scale, max(100.0, self.initial_scale), "log_scale")
        self.bias = self.add_weight(
            name="bias", shape=(), initializer=keras.initializers.Constant(self.initial_bias), autocast=False
        )
        self.log_scale.trainable = self.bias.trainable = self.learnable

    def call(self, a, b, positives=None, sample_weight=None, scale=None, bias=None) -> Tensor:
        if self.owns_head:
            scale, bias = ops.exp(self.log_scale), self.bias
        elif scale is None:
            scale, bias = DEFAULT_SCALE, DEFAULT_BIAS
        elif bias is None:
            raise ValueError(
                "SigmoidContrastive reads scale and bias of the model's similarity head, but this head has no "
                "bias; give the loss its own: SigmoidContrastive(scale=10.0, bias=-10.0)."
            )
        weight = ops.ones((ops.shape(a)[0],)) if sample_weight is None else ops.cast(sample_weight, "float32")
        rows = {"a": unit_rows(a, scale), "weight": weight}
        rows |= {} if positives is None else {"positives": ops.cast(positives, "bool")}
        columns = {"b": unit_rows(b), "weight": weight, "bias": bias}

        def questions(i, real, rows, columns):
            z = ops.matmul(rows["a"], ops.transpose(columns["b"])) + columns["bias"]
            j = ops.arange(ops.shape(z)[1], dtype="int32")
            positive = ops.equal(i[:, None], j[None, :]) if positives is None else rows["positives"]
            answers = ops.softplus(ops.where(positive, -z, z))
            if sample_weight is None:
                return {"sum": ops.sum(answers, axis=1)}, {}
            # each is asked twice, of row i and of column j
            of_row, of_columns = ops.sum(answers, axis=1), ops.matmul(answers, columns["weight"])
            return {"sum": 0.5 * (rows["weight"] * of_row + of_columns)}, {}

        def in_blocks(rows, columns, block_size):
            weights = None if sample_weight is None else columns["weight"]
            x, y, known = rows["a"], columns["b"], rows.get("positives")
            return {"sum": sigmoid_sum(x, y, columns["bias"], weights, known, block_size)[None]}, {}

        of_rows, _ = by_blocks(questions, rows, columns, self.block_size, in_blocks=in_blocks)
        return ops.sum(of_rows["sum"]) / ops.maximum(ops.sum(weight), 1e-12)
