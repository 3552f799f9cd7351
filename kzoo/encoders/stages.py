"""What towers share that are made of stages."""

from kzoo.encoders.pixels import ImageTower, check_images, normalize_pixels


class StagedTower(ImageTower):
    """Base of the towers of a stem with a norm, stages that halve the map, and a mean over the last map.

    A subclass's constructor sets `image_size`, `mean`, `std` and `token_dim`, makes `stem`, `stem_norm`, `stages`,
    `post_norm` and `projection` (or None), and builds itself; it defines `_pooled`.
    """

    options = frozenset({"any_size"})
    stack, after_stack = "stages", ("post_norm", "projection")

    def build(self, images_shape) -> None:
        self.stem.build(images_shape)
        shape = self.stem.compute_output_shape(images_shape)
        self.stem_norm.build(shape)
        for stage in self.stages:
            stage.build(shape)
            shape = stage.compute_output_shape(shape)
        self.grid = tuple(shape[1:3])
        self.post_norm.build((None, self.token_dim))
        if self.projection is not None:
            self.projection.build((None, self.token_dim))

    # -- forward --
    def call(self, images, training=None, any_size=False) -> dict:
        check_images(images.shape, self.image_size, any_size)
        x = self.stem_norm(self.stem(normalize_pixels(images, self.mean, self.std)))
        for stage in self.stages:
            x = stage(x)
        embedding, tokens = self._pooled(x)
        return {"embedding": embedding if self.projection is None else self.projection(embedding), "tokens": tokens}

    def _pooled(self, x):
        """The last map `(batch, rows, columns, token_dim)` as `(embedding, tokens)`, before the projection."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its last map is pooled.")


def of_stages(name, value, depths) -> tuple:
    """One value for each stage: the same for all, or one after the other.

    Args:
        name: of the argument, for the sentence.
        value: a number, or a list of them.
        depths: number of blocks of each stage.

    Raises:
        ValueError: another number of values than of stages.

    Example:
        >>> of_stages("window_size", 7, depths=(2, 2, 6, 2))
        (7, 7, 7, 7)
    """
    if not hasattr(value, "__len__"):
        return (value,) * len(depths)
    if len(value) != len(depths):
        raise ValueError(
            f"{name} has {len(value)} values, but depths has {len(depths)} stages; give one for each stage."
        )
    return tuple(value)
