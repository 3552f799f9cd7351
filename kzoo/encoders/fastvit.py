"""FastViT, the image tower of MobileCLIP: convolutions that inference merges, and attention where the map is small."""

import keras
from keras import ops

from kzoo.arguments import COUNT, FINITE, FLAG, POSITIVE, one_of, sequence, whole
from kzoo.encoders.fastvit_stage import MIXERS, NORMS, Stage
from kzoo.encoders.pixels import ImageTower, check_images, normalize_pixels
from kzoo.layers.branches import LARGEST_KERNEL, BranchedConv, multiplier, rounded_share
from kzoo.layers.convolution import feature_tokens
from kzoo.layers.merging import Mergeable
from kzoo.layers.patch_embedding import as_size
from kzoo.layers.projection import tower_projection

OF_STAGES = sequence(FLAG, "True or False for each stage", 1)


@keras.saving.register_keras_serializable(package="kzoo")
class FastViT(Mergeable, ImageTower):
    """FastViT image tower with the normalisation of raw pixels inside.

    While it trains, what mixes positions is a sum of branches, each with a batch norm; `for_export` gives the tower
    with one convolution in the place of each sum.

    Args:
        image_size: side in pixels, or `(height, width)`.
        depths: number of blocks of each stage, such as `(2, 6, 10, 2)`.
        widths: channels of each stage, each a multiple of those before it.
        mlp_ratios: for each stage, hidden channels of the MLPs, in units of its width.
        mixers: for each stage, what mixes positions: `"repmixer"` or `"attention"`, with 32 channels a head.
        positions_before: for each stage, whether a convolution tells positions apart before its blocks.
        downsamples: for each stage, whether strided convolutions stand before it, as they do anyway where its width is
            another.
        squeezes: for each stage, whether these have a gate, squeeze and excitation.
        mixer_kernel: side of the kernels of the RepMixers.
        down_kernel, down_strides: of the strided convolutions.
        down_activation: whether an activation follows these convolutions, too.
        stem_branches: whether the strided convolutions of the stem have a branch of 1 x 1.
        expansion: channels of the last feature map, in units of the last width.
        layer_scale: initial gain of the branches of a block, or None for no gain.
        norm: before attention, `"batch"` or `"layer"`.
        embed_dim: width of the embedding; None for no projection.
        hidden_dim: width between two layers of the projection, with a GELU; None for one layer.
        projection_bias: bias of its last layer.
        activation: of convolutions and MLPs.
        epsilon: of all norms.
        momentum: share of the running statistics that a training step keeps.
        merged: one convolution in the place of each sum of branches.
        mean, std: per channel, in units of [0, 1] pixels.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, rows * columns, expansion *
        widths[-1])`, the last feature map.

    Raises:
        ValueError: lists that are not as long as the stages, widths that are no multiples, images of another shape.

    Example:
        >>> tower = FastViT(64, depths=(1, 1), widths=(8, 32), mlp_ratios=(3, 3), mixers=("repmixer", "attention"),
        ...     positions_before=(False, True), downsamples=(False, True), squeezes=(False, True), embed_dim=16)
        >>> tower(np.zeros((2, 64, 64, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        Vasu et al., FastViT, 2023, arXiv 2303.14189; Vasu et al., MobileCLIP, 2023, arXiv 2311.17049; Faghri et al.,
        MobileCLIP2, 2025, arXiv 2508.20691.
    """

    kind, title = "fastvit", "FastViT"
    stack, after_stack = "stages", ("final_conv", "projection")
    options = frozenset({"any_size"})
    arguments = {
        "depths": sequence(COUNT, "blocks of each stage, at least 1", 1),
        "widths": sequence(COUNT, "channels of each stage, at least 1", 1),
        "mlp_ratios": sequence(POSITIVE, "a positive number for each stage", 1),
        "mixers": sequence(one_of(*MIXERS), f"for each stage one of {', '.join(MIXERS)}", 1),
        "positions_before": OF_STAGES,
        "downsamples": OF_STAGES,
        "squeezes": OF_STAGES,
        "mixer_kernel": whole(1, LARGEST_KERNEL),
        "down_kernel": whole(3, LARGEST_KERNEL),
        "down_strides": COUNT,
        "down_activation": FLAG,
        "stem_branches": FLAG,
        "expansion": POSITIVE,
        "layer_scale": FINITE | None,
        "norm": one_of(*NORMS),
        "merged": FLAG,
    }

    def __init__(
        self,
        image_size,
        depths,
        widths,
        mlp_ratios,
        mixers,
        positions_before,
        downsamples,
        squeezes,
        mixer_kernel=3,
        down_kernel=7,
        down_strides=2,
        down_activation=True,
        stem_branches=True,
        expansion=2.0,
        layer_scale=1e-5,
        norm="batch",
        embed_dim=None,
        hidden_dim=None,
        projection_bias=False,
        activation="gelu",
        epsilon=1e-5,
        momentum=0.9,
        merged=False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        stages = len(depths)
        by_stage = {
            "depth": depths,
            "width": widths,
            "mlp_ratio": mlp_ratios,
            "mixer": mixers,
            "positions": positions_before,
            "downsample": downsamples,
            "squeeze": squeezes,
        }
        for name, values in by_stage.items():
            if len(values) != stages:
                raise ValueError(
                    f"depths has {stages} stages, but {len(values)} are given of {name}; give one for each."
                )
        self.image_size, self.merged = as_size(image_size), merged
        self.mean, self.std = tuple(mean), tuple(std)
        common = {"activation": activation, "epsilon": epsilon, "momentum": momentum, "merged": merged}
        common["dtype"] = self.dtype_policy

        # -- layers --
        first, sides = widths[0], (3, 1) if stem_branches else (3,)
        self.stem = [
            BranchedConv(first, sides, 2, name="stem_1", **common),
            BranchedConv(first, sides, 2, multiplier=1, name="stem_2", **common),
            BranchedConv(first, (1,), identity=True, name="stem_3", **common),
        ]
        of_all = common | {
            "mixer_kernel": mixer_kernel,
            "down_kernel": down_kernel,
            "down_strides": down_strides,
            "down_activation": down_activation,
            "layer_scale": layer_scale,
            "norm": norm,
        }
        self.stages, before = [], first
        for stage in range(stages):
            own = {name: values[stage] for name, values in by_stage.items()} | {"width_before": before}
            own["downsample"] = own["downsample"] or own["width"] != before
            self.stages.append(Stage(**own, **of_all, name=f"stage_{stage + 1}"))
            before = own["width"]
        self.token_dim = int(before * expansion)
        self.final_conv = BranchedConv(
            self.token_dim,
            (3, 1),
            multiplier=multiplier(before, self.token_dim),
            identity=self.token_dim == before,
            squeeze=rounded_share(self.token_dim, 1 / 16, 1),
            name="final_conv",
            **common,
        )
        self.embed_dim = embed_dim or self.token_dim
        self.projection = tower_projection(embed_dim, hidden_dim, self.token_dim, projection_bias, self.dtype_policy)
        self.build((None, *self.image_size, 3))

    @property
    def parts(self) -> tuple:
        """Its layers in their order, the same whether or not it is merged."""
        return (*self.stem, *self.stages, self.final_conv, *([] if self.projection is None else [self.projection]))

    def build(self, images_shape) -> None:
        shape = images_shape
        for layer in (*self.stem, *self.stages, self.final_conv):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.grid = shape[1:3]
        if self.projection is not None:
            self.projection.build((None, self.token_dim))

    # -- forward --
    def call(self, images, training=None, any_size=False) -> dict:
        check_images(images.shape, self.image_size, any_size)
        x = normalize_pixels(images, self.mean, self.std)
        for layer in (*self.stem, *self.stages, self.final_conv):
            x = layer(x, training=training)
        tokens = feature_tokens(x)  # (batch, rows * columns, expansion * widths[-1])
        embedding = ops.mean(tokens, axis=1)
        return {"embedding": embedding if self.projection is None else self.projection(embedding), "tokens": tokens}

    def for_export(self) -> "FastViT":
        if self.merged:
            return self
        form = type(self).from_config(self.get_config() | {"merged": True})
        form.take_merged(self)
        return form
