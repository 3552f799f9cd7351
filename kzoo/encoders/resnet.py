"""Residual networks: CLIP's with its attention pool, and the plain one of ConVIRT."""

import keras
from keras import ops

from kzoo.arguments import COUNT, one_of, sequence
from kzoo.encoders.pixels import CLIP_MEAN, CLIP_STD, ImageTower, check_images, normalize_pixels
from kzoo.layers.attention import Attention
from kzoo.layers.configured import Configured
from kzoo.layers.convolution import ConvNorm, average_pool, feature_tokens, max_pool
from kzoo.layers.initializers import Normal
from kzoo.layers.patch_embedding import as_size, image_grid
from kzoo.layers.projection import Projection
from kzoo.types import Tensor

POOLS = ("attention", "average")
EXPANSION = 4  # channels that leave a bottleneck, in units of those inside
REDUCTION = 32  # pixels per position of the last feature map


@keras.saving.register_keras_serializable(package="kzoo")
class ResNet(ImageTower):
    """ResNet image tower with the normalisation of raw pixels inside.

    Args:
        image_size: side in pixels, or `(height, width)`.
        depths: number of blocks of the four stages, such as `(3, 4, 6, 3)`.
        width: channels of the first stage; the last has `32 * width`.
        embed_dim: width of the embedding.
        antialias: CLIP's variant: three small convolutions in the stem, and an average pool wherever the plain
            variant strides. Otherwise one 7 x 7 convolution and a max pool, and strides in the 3 x 3 convolutions.
        pool: `"attention"` (the mean of the feature map asks all its positions) or `"average"`, with a
            `Projection` after it.
        head_width: channels per head of the attention pool.
        hidden_dim: width between two layers of that projection (with a ReLU); None for one layer.
        epsilon: of the batch norms.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`, where the pool is `"average"`.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, rows * columns, 32 * width)`,
        the last feature map.

    Raises:
        ValueError: unknown pool, images of another shape.

    Example:
        >>> tower = ResNet(image_size=64, depths=(1, 1, 1, 1), width=8, embed_dim=16)
        >>> tower(np.zeros((2, 64, 64, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        He et al., 2015, arXiv 1512.03385; the antialiased variant: Radford et al., CLIP, 2021, arXiv 2103.00020;
        the average pool and two-layer projection: Zhang et al., ConVIRT, 2020, arXiv 2010.00747.
    """

    kind, title = "resnet", "ResNet"
    stack, after_stack = "stages", ("attention_pool", "projection")
    arguments = {
        "pool": one_of(*POOLS),
        "depths": sequence(COUNT, "blocks of each stage, at least 1", 1),
    }

    def __init__(
        self,
        image_size,
        depths,
        width,
        embed_dim,
        antialias=True,
        pool="attention",
        head_width=64,
        hidden_dim=None,
        epsilon=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.image_size, self.embed_dim = as_size(image_size), embed_dim
        image_grid(self.image_size, REDUCTION)  # stops where the last feature map would be empty
        self.pool, self.mean, self.std = pool, tuple(mean), tuple(std)
        policy = self.dtype_policy
        common = {"epsilon": epsilon, "dtype": policy}

        # -- layers --
        relu = {"activation": "relu", **common}
        if antialias:
            self.stem = [
                ConvNorm(width // 2, 3, strides=2, padding=1, name="stem_1", **relu),
                ConvNorm(width // 2, 3, padding=1, name="stem_2", **relu),
                ConvNorm(width, 3, padding=1, name="stem_3", **relu),
            ]
            self.stem_pool = average_pool(2, policy, "stem_pool")
        else:
            self.stem = [ConvNorm(width, 7, strides=2, padding=3, name="stem_1", **relu)]
            self.stem_pool = max_pool(3, 2, policy, "stem_pool")
        self.antialias = antialias
        self.stages = []
        for stage, depth in enumerate(depths):
            name = f"stage_{stage + 1}_block"
            strides = [2 if stage and not block else 1 for block in range(depth)]
            self.stages.append(
                [
                    Bottleneck(width * 2**stage, strides[block], not block, antialias, name=f"{name}_{block}", **common)
                    for block in range(depth)
                ]
            )
        self.token_dim = width * 2 ** (len(depths) - 1) * EXPANSION
        self.attention_pool = self.projection = None
        if pool == "attention":
            self.attention_pool = MeanQueryPooling(
                self.token_dim, self.token_dim // head_width, embed_dim, dtype=policy, name="attention_pool"
            )
            self.position_path = "attention_pool.position_embedding"
        else:
            self.options = frozenset({"any_size"})
            self.projection = Projection(embed_dim, hidden_dim, "relu", bias=True, dtype=policy, name="projection")
        self.build((None, *self.image_size, 3))

    def build(self, images_shape) -> None:
        shape = images_shape
        for layer in (*self.stem, self.stem_pool, *(block for stage in self.stages for block in stage)):
            if layer is self.stem_pool and not self.antialias:
                shape = (shape[0], shape[1] + 2, shape[2] + 2, shape[3])
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.grid = shape[1:3]
        if self.pool == "attention":
            self.position_grid = self.grid
            self.attention_pool.build((None, shape[1] * shape[2], shape[3]))
        else:
            self.projection.build((None, shape[3]))

    # -- forward --
    def call(self, images, training=None, any_size=False) -> dict:
        # the attention pool's positions are no grid that could be resampled: the mean has one too
        check_images(images.shape, self.image_size, any_size and self.pool == "average")
        x = normalize_pixels(images, self.mean, self.std)
        for layer in self.stem:
            x = layer(x, training=training)
        if not self.antialias:
            x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # after a ReLU: zero is as low as it gets
        x = self.stem_pool(x)
        for stage in self.stages:
            for block in stage:
                x = block(x, training=training)
        tokens = feature_tokens(x)  # (batch, rows * columns, 32 width)
        if self.pool == "attention":
            embedding = self.attention_pool(tokens)
        else:
            embedding = self.projection(ops.mean(tokens, axis=1))
        return {"embedding": embedding, "tokens": tokens}


@keras.saving.register_keras_serializable(package="kzoo")
class Bottleneck(Configured, keras.layers.Layer):
    """`relu(x + expand(conv(reduce(x))))` with 1 x 1, 3 x 3 and 1 x 1 convolutions.

    Args:
        filters: channels inside; four times as many leave.
        strides: of the 3 x 3 convolution, or of the average pools where `antialias`.
        shortcut: project `x`, because its channels or its size change.
        antialias: pool instead of striding.
        epsilon: of the batch norms.
    """

    def __init__(self, filters, strides=1, shortcut=False, antialias=True, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        common = {"epsilon": epsilon, "dtype": self.dtype_policy}
        pooled, strided = (strides, 1) if antialias else (1, strides)

        # -- layers --
        self.conv_1 = ConvNorm(filters, activation="relu", name="conv_1", **common)
        self.conv_2 = ConvNorm(filters, 3, strides=strided, padding=1, activation="relu", name="conv_2", **common)
        self.pool = average_pool(pooled, self.dtype_policy, "pool") if pooled > 1 else None
        self.conv_3 = ConvNorm(filters * EXPANSION, name="conv_3", **common)
        self.shortcut = None
        if shortcut:
            self.shortcut = ConvNorm(filters * EXPANSION, strides=strided, name="shortcut", **common)

    def build(self, x_shape) -> None:
        shape = x_shape
        for layer in (self.conv_1, self.conv_2, self.pool, self.conv_3):
            if layer is not None:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        if self.shortcut is not None:
            self.shortcut.build(x_shape if self.pool is None else self.pool.compute_output_shape(x_shape))

    def compute_output_shape(self, x_shape) -> tuple:
        for layer in (self.conv_1, self.conv_2, self.pool, self.conv_3):
            if layer is not None:
                x_shape = layer.compute_output_shape(x_shape)
        return x_shape

    # -- forward --
    def call(self, x, training=None) -> Tensor:
        mixed = self.conv_2(self.conv_1(x, training=training), training=training)
        if self.pool is not None:
            mixed, x = self.pool(mixed), self.pool(x)
        mixed = self.conv_3(mixed, training=training)
        if self.shortcut is not None:
            x = self.shortcut(x, training=training)
        return ops.relu(ops.add(mixed, x))  # not `+`: the input may be half precision, norms are float32


@keras.saving.register_keras_serializable(package="kzoo")
class MeanQueryPooling(Configured, keras.layers.Layer):
    """The mean of all tokens asks the mean and all tokens, with learned positions.

    Args:
        width: channels of the tokens.
        num_heads: attention heads; must divide `width`.
        embed_dim: width of the output.

    Inputs:
        float tensor `(batch, length, width)`.

    Returns:
        float tensor `(batch, embed_dim)`.

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    def __init__(self, width, num_heads, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.attention = Attention(width, num_heads, out_width=embed_dim, dtype=self.dtype_policy, name="attention")

    def build(self, tokens_shape) -> None:
        _, length, width = tokens_shape
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(length + 1, width), initializer=Normal(stddev=width**-0.5)
        )
        self.attention.build((None, 1, width), (None, length + 1, width))

    # -- forward --
    def call(self, tokens) -> Tensor:
        x = self._placed(tokens)
        return ops.squeeze(self.attention(x[:, :1], x), axis=1)

    def each(self, tokens) -> Tensor:
        """What each token is answered, as the mean is in a call: `(batch, length, embed_dim)`."""
        x = self._placed(tokens)
        return self.attention(x[:, 1:], x)

    def _placed(self, tokens):
        x = ops.concatenate([ops.mean(tokens, axis=1, keepdims=True), tokens], axis=1)  # (batch, 1 + length, width)
        return x + self.position_embedding
