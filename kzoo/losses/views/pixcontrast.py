"""PixContrast: pixels find the same spot in another crop."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss
from kzoo.losses.parts.anchors import masked_log_sum, mean_of_anchors
from kzoo.losses.parts.pixels import both_ways
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PixContrast(Loss):
    """Each pixel must find those that show the same spot among all pixels of another crop of its image.

    With cosines `s_uv` to the other crop's keys: `L_u = LSE_v s_uv / t - LSE_{v same spot} s_uv / t`, averaged over
    the pixels of the batch whose spot the other crop shows, and over both directions.

    Args:
        temperature: `t` above, a float or a `LearnableTemperature`.
        pos_ratio: two pixels show the same spot when their distance is less than this many diagonals of a pixel.
        inputs: names of the tensors to read; default
            `("view_1_map", "view_2_map", "teacher_view_1_map", "teacher_view_2_map")`.

    Inputs:
        x1, x2: float tensors `(batch, height, width, channels)`, of the two crops.
        k1, k2: the same, of the momentum encoder; they get no gradient.
        boxes_a, boxes_b: float tensors `(batch, 4)`: x0, y0, x1, y1 of the crops in the image; x0 and x1 swapped for
            one that is mirrored.
        sample_weight: float tensor `(batch,)`, weighs the pixels of an image.

    Feeding:
        `SelfSupervised(encoder, teacher=kzoo.training.EMATeacher(0.99))`, an encoder whose tokens are a map, and
        `kzoo.data.views(images, steps, boxes=True)`.

    Returns:
        float32 scalar; 0 when no two crops overlap.

    Recommendations:
        `PixPro` transfers better to dense tasks in the paper, and needs no negatives.

    Example:
        >>> x, box = np.ones((1, 2, 2, 3)), np.array([[0.0, 0.0, 1.0, 1.0]])
        >>> PixContrast(pos_ratio=0.5)(x, x, x, x, boxes_a=box, boxes_b=box)
        1.3863

    Reference:
        Xie et al., Propagate Yourself, 2020, arXiv 2011.10043; written from the paper.
    """

    default_inputs = ("view_1_map", "view_2_map", "teacher_view_1_map", "teacher_view_2_map")
    optional_inputs = Loss.optional_inputs | {"boxes_a": "view_1_box", "boxes_b": "view_2_box"}
    required_inputs = ("boxes_a", "boxes_b")
    shapes = Loss.shapes | {
        "x1": "batch height width channels",
        "x2": "batch height width channels",
        "k1": "batch height width channels",
        "k2": "batch height width channels",
        "boxes_a": "batch 4",
        "boxes_b": "batch 4",
    }

    def __init__(self, temperature=0.3, pos_ratio=0.7, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.temperature, self.pos_ratio = check_temperature(temperature), pos_ratio

    def call(self, x1, x2, k1, k2, boxes_a, boxes_b, sample_weight=None) -> Tensor:
        scale = resolve_scale(self.temperature)
        weight = None if sample_weight is None else ops.cast(sample_weight, "float32")[:, None]
        directions = []
        for x, key, mask in both_ways(x1, x2, k1, k2, boxes_a, boxes_b, self.pos_ratio):
            z = scale * ops.matmul(l2_normalize(x), ops.transpose(l2_normalize(key), (0, 2, 1)))
            shown = ops.any(mask, axis=2)
            value = ops.where(shown, ops.logsumexp(z, axis=2) - masked_log_sum(z, mask), 0.0)
            directions.append(mean_of_anchors(value, shown, weight))
        return sum(directions) / 2.0
