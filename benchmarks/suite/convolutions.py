"""The products of convolutional towers: a convolution of k x k pixels is one, of `k * k * channels` numbers for each
pixel that comes out. Depthwise ones are none."""

from collections import Counter

POOL_HEAD = 64  # channels of a head of CLIP's attention pool


def products_of_resnet(batch, embed_dim, side=224, width=64, depths=(3, 4, 6, 3)) -> Counter:
    """Of CLIP's ResNet: three convolutions, bottlenecks whose strides are averages, and attention as the pool.

    Args:
        batch: pictures.
        embed_dim: width of the embedding.
        side: of a picture, in pixels.
        width: channels after the stem.
        depths: blocks of each stage.

    Returns:
        Counter, as `work.products_of` gives it.
    """
    found, half, side = Counter(), width // 2, side // 2
    for channels, columns in ((3, half), (half, half), (half, width)):
        found[1, batch * side**2, 9 * channels, columns] += 1
    side, channels = side // 2, width
    for stage, depth in enumerate(depths):
        planes = width * 2**stage
        for block in range(depth):
            after = side // 2 if stage and not block else side
            found[1, batch * side**2, channels, planes] += 1
            found[1, batch * side**2, 9 * planes, planes] += 1
            found[1, batch * after**2, planes, 4 * planes] += 1
            if not block:
                found[1, batch * after**2, channels, 4 * planes] += 1
            side, channels = after, 4 * planes
    tokens, heads = side**2 + 1, channels // POOL_HEAD
    found[1, batch, channels, channels] += 1  # the mean alone asks
    found[1, batch * tokens, channels, channels] += 2
    found[batch * heads, 1, POOL_HEAD, tokens] += 1
    found[batch * heads, 1, tokens, POOL_HEAD] += 1
    found[1, batch, channels, embed_dim] += 1
    return found


def products_of_convnext(batch, embed_dim, side=224, widths=(96, 192, 384, 768), depths=(3, 3, 9, 3)) -> Counter:
    """Of a ConvNeXt: patches of 4 x 4 pixels, then stages between which 2 x 2 become one.

    Args:
        batch, embed_dim, side: as above.
        widths, depths: channels and blocks of each stage.
    """
    found, channels, by = Counter(), 3, 4
    for width, depth in zip(widths, depths, strict=True):
        side //= by
        found[1, batch * side**2, by**2 * channels, width] += 1
        found[1, batch * side**2, width, 4 * width] += depth
        found[1, batch * side**2, 4 * width, width] += depth
        channels, by = width, 2
    found[1, batch, channels, embed_dim] += 1
    return found
