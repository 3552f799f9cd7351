"""The cross-entropy of a classifier whose logits are products with one vector per class, a block of rows at a time."""

from keras import ops

from kzoo.losses.parts.pairwise import Tile, cross_entropies, same
from kzoo.types import Tensor


def class_cross_entropies(features, classes, labels, scale=1.0, label_smoothing=0.0, block_size=None) -> Tensor:
    """`(1 - e) (LSE z - z_y) + e mean_c (LSE z - z_c)` with `z = scale * features @ classes^T`, of each row.

    Args:
        features: float tensor `(batch, dim)`.
        classes: float tensor `(classes, dim)`.
        labels: int tensor `(batch,)`.
        scale: a number or a scalar tensor.
        label_smoothing: `e` above.
        block_size: rows at a time, or None.

    Returns:
        float32 tensor `(batch,)`.
    """
    e = label_smoothing

    def tile(i, j, rows, columns):
        z = ops.matmul(columns["scale"] * rows["features"], ops.transpose(columns["classes"]))
        target = same(rows["labels"], j)
        return Tile(z, (1.0 - e) * target + e / columns["classes"].shape[0] if e else target)

    rows = {"features": ops.cast(features, "float32"), "labels": ops.cast(labels, "int32")}
    columns = {"classes": ops.cast(classes, "float32"), "scale": scale}
    return cross_entropies(tile, rows, columns, block_size=block_size)[0]
