"""PixPro: pixels agree with those of another crop, after propagation between similar ones."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.pixels import both_ways
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PixPro(Loss):
    """Each pixel, smoothed by those of its own map that are like it, agrees with the same spot in another crop.

    With `A_uv = max(<n(x_u), n(x_v)>, 0)^gamma` and `y_u = n(sum_v A_uv n(g(x_v)))`, the agreement of one direction is
    the mean cosine of `y_u` with the key of the other crop over all pairs of pixels that show the same spot; an image
    without any agrees by 0. `L = -(agreement(x1, k2) + agreement(x2, k1))`, averaged over the images.

    Args:
        gamma: sharpness of the propagation.
        pos_ratio: two pixels show the same spot when their distance is less than this many diagonals of a pixel.
        transform_layers: linear layers in `g`, which the loss owns and trains; 0: `g(x) = x`.
        dim: channels of a map; only for `g`.
        inputs: names of the tensors to read; default
            `("view_1_map", "view_2_map", "teacher_view_1_map", "teacher_view_2_map")`.

    Inputs:
        x1, x2: float tensors `(batch, height, width, channels)`, of the two crops.
        k1, k2: the same, of the momentum encoder; they get no gradient.
        boxes_a, boxes_b: float tensors `(batch, 4)`: x0, y0, x1, y1 of the crops in the image; x0 and x1 swapped for
            one that is mirrored.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `SelfSupervised(encoder, teacher=kzoo.training.EMATeacher(0.99))`, an encoder whose tokens are a map, and
        `kzoo.data.views(images, steps, boxes=True)`; `dim` is the encoder's `token_dim`.

    Returns:
        float32 scalar in [-2, 2], -2 at best; half of what the authors' code returns.

    Raises:
        ValueError: `transform_layers` without `dim`.

    Recommendations:
        For dense tasks (detection, segmentation), next to a loss on whole images. `PixContrast` has negatives.

    Example:
        >>> x, box = np.ones((1, 2, 2, 3)), np.array([[0.0, 0.0, 1.0, 1.0]])
        >>> PixPro(transform_layers=0)(x, x, x, x, boxes_a=box, boxes_b=box)
        -2.0

    Reference:
        Xie et al., Propagate Yourself, 2020, arXiv 2011.10043.
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

    def __init__(self, gamma=2.0, pos_ratio=0.7, transform_layers=1, dim=None, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        if transform_layers and dim is None:
            raise ValueError(
                f"PixPro with transform_layers={transform_layers} needs dim, the channels of a map; give it, or "
                "transform_layers=0."
            )
        self.gamma, self.pos_ratio = gamma, pos_ratio
        self.transform = [
            keras.layers.Dense(dim, dtype="float32", name=f"transform_{layer}") for layer in range(transform_layers)
        ]
        for layer in self.transform:
            layer.build((None, None, dim))

    def call(self, x1, x2, k1, k2, boxes_a, boxes_b, sample_weight=None) -> Tensor:
        ways = both_ways(x1, x2, k1, k2, boxes_a, boxes_b, self.pos_ratio)
        return weighted_mean(-sum(self._agreement(*way) for way in ways), sample_weight)

    def _agreement(self, x, key, mask):
        unit, value = l2_normalize(x), x
        likeness = ops.relu(ops.matmul(unit, ops.transpose(unit, (0, 2, 1))))
        likeness = (likeness + 1e-6 if self.gamma < 1.0 else likeness) ** self.gamma  # a root is steep at 0
        for layer in self.transform:
            value = layer(value)
        y = l2_normalize(ops.matmul(likeness, l2_normalize(value)))
        cosines = ops.matmul(y, ops.transpose(l2_normalize(key), (0, 2, 1)))
        mask = ops.cast(mask, "float32")
        return ops.sum(mask * cosines, axis=(1, 2)) / (ops.sum(mask, axis=(1, 2)) + 1e-6)
