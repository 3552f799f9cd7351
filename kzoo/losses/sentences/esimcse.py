"""ESimCSE: SimCSE with a queue of past sentences."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.candidates import own_among
from kzoo.losses.parts.pairwise import PairwiseLoss
from kzoo.losses.parts.queue import add_queue, enqueue, filled
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class ESimCSE(PairwiseLoss):
    """`SimCSE` with more negatives: sentences of past batches, from a slowly moving copy of the encoder.

    With the queue Q and the candidates `C = [b; Q]`, `z_ij = cos(a_i, C_j) / temperature`:
    `L = (1/B) sum_i [ LSE_j z_ij - z_ii ]`. Then the normalised momentum embeddings go into the queue. It starts
    empty, and slots that hold nothing yet are no candidates.

    Args:
        temperature: a float or a `LearnableTemperature`.
        queue_size: K, slots of the queue; the paper takes 2.5 batches.
        dim: length of an embedding.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("view_1", "view_2")`.

    Inputs:
        a, b: float tensors `(batch, dim)`, two passes of the same sentences. They are normalised.
        momentum: float tensor `(batch, dim)`, the same sentences by the momentum encoder without dropout; no
            gradient goes to it.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    Feeding:
        `SelfSupervised(text_encoder, Projector((256, dim)), teacher=kzoo.training.EMATeacher(0.995))` and
        `kzoo.data.text_views(texts, preprocessor, augmentation=(None, kzoo.preprocessing.RepeatWords()))`.

    Returns:
        float32 scalar. `ln(batch + filled slots)` when all embeddings are equal.

    Raises:
        ValueError: bad temperature, a size that is not a positive whole number.

    Recommendations:
        `SimCSE` where the batch itself is large. The paper moves the momentum encoder by a factor of 0.995, and
        repeats words of `b`'s sentences at a rate of 0.32: both happen before the loss.

    Example:
        >>> ESimCSE(temperature=0.5, queue_size=8, dim=4)(np.eye(4), np.eye(4), momentum=np.eye(4))
        0.3408

    Reference:
        Wu et al., ESimCSE, 2021, arXiv 2109.04380.
    """

    default_inputs = ("view_1", "view_2")
    optional_inputs = PairwiseLoss.optional_inputs | {"momentum": "teacher_view_1"}
    required_inputs = ("momentum",)
    shapes = PairwiseLoss.shapes | {"momentum": "batch dim"}

    def __init__(self, temperature=0.05, queue_size=160, dim=768, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.queue_size, self.dim = queue_size, dim
        add_queue(self, queue_size, dim, empty=True)

    def pairs(self, batch_size) -> tuple:
        return batch_size, batch_size + self.queue_size

    def call(self, a, b, momentum, sample_weight=None, training=False) -> Tensor:
        queue = ops.stop_gradient(ops.convert_to_tensor(self.queue))
        keep = ops.concatenate([ops.ones((ops.shape(b)[0],), "bool"), filled(queue)])
        scale = resolve_scale(self.temperature)
        per_row, _ = own_among(a, [b, queue], scale, block_size=self.block_size, keep=keep)
        if training:
            enqueue(self, l2_normalize(momentum))
        return weighted_mean(per_row, sample_weight)
