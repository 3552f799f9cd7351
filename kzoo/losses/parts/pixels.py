"""Two crops of an image, pixel by pixel: which places of their feature maps show the same spot."""

from keras import ops

from kzoo.types import Tensor


def same_spots(boxes_a, boxes_b, grid, ratio) -> Tensor:
    """Which pixels of two maps are near each other in the image they were cut from.

    Near is a distance of less than `ratio` times the longer diagonal of a pixel of the two maps. A crop that is
    mirrored has its `x0` and `x1` swapped.

    Args:
        boxes_a, boxes_b: float tensors `(batch, 4)`: x0, y0, x1, y1 of the crops in the image.
        grid: `(height, width)` of both maps.
        ratio: `ratio` above.

    Returns:
        bool tensor `(batch, height * width, height * width)`, places of a map row by row.

    Example:
        >>> same_spots(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2]]), (2, 2), 0.5)[0, 1]
        [True, False, False, False]
    """
    (x_a, y_a, length_a), (x_b, y_b, length_b) = _centres(boxes_a, *grid), _centres(boxes_b, *grid)
    squared = ops.square(x_a[:, :, None] - x_b[:, None, :]) + ops.square(y_a[:, :, None] - y_b[:, None, :])
    return ops.sqrt(squared) < ratio * ops.maximum(length_a, length_b)[:, None, None]


def both_ways(x1, x2, k1, k2, boxes_a, boxes_b, ratio) -> tuple:
    """Each view's map with the other's key and the spots they share: two of `(query, key, mask)`.

    Args:
        x1, x2: float tensors `(batch, height, width, channels)`.
        k1, k2: the same, of the momentum encoder; they get no gradient.
        boxes_a, boxes_b: `(batch, 4)`.
        ratio: of `same_spots`.

    Returns:
        Queries and keys float32 `(batch, height * width, channels)`, masks bool `(batch, pixels, pixels)`.
    """
    height, width = x1.shape[1:3]
    x1, x2, k1, k2 = (_flat(each) for each in (x1, x2, k1, k2))
    mask = same_spots(boxes_a, boxes_b, (height, width), ratio)
    return (x1, ops.stop_gradient(k2), mask), (x2, ops.stop_gradient(k1), ops.transpose(mask, (0, 2, 1)))


def _flat(x):
    return ops.reshape(ops.cast(x, "float32"), (-1, x.shape[1] * x.shape[2], x.shape[3]))


def _centres(boxes, height, width):
    """x and y of each pixel's centre, `(batch, height * width)`, and the diagonal of a pixel, `(batch,)`."""
    x0, y0, x1, y1 = (ops.cast(boxes, "float32")[:, place, None] for place in range(4))
    pixel_width, pixel_height = (x1 - x0) / width, (y1 - y0) / height
    place = ops.arange(height * width)
    row, column = place // width, place % width
    x = (ops.cast(column, "float32") + 0.5) * pixel_width + x0
    y = (ops.cast(row, "float32") + 0.5) * pixel_height + y0
    return x, y, ops.sqrt(ops.square(pixel_width) + ops.square(pixel_height))[:, 0]
