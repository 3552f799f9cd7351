"""Sizes of the models that are measured, in numbers that every library can be built from."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.suite.convolutions import products_of_convnext, products_of_resnet


@dataclass(frozen=True)
class Stack:
    """A transformer: `depth` blocks with an MLP of four times the width."""

    width: int
    depth: int
    heads: int

    mlp_dim = property(lambda self: 4 * self.width)


@dataclass(frozen=True)
class Size:
    """A CLIP with quick GELU, or a CoCa of these towers.

    Attributes:
        preset: row of kzoo with these numbers.
        open_clip: name of open_clip's config with these numbers, or None: it is built from the numbers.
        image_size, patch_size: in pixels.
        image: of the pictures; None: a convolutional tower, which only the names above tell.
        vocab_size, length: of token ids; the last id of the vocabulary ends a text.
        embed_dim: width of the embedding.
        queries: of CoCa's pool; None: this is a CLIP.
        convolutions: function of `(batch, embed_dim)` to the products of a convolutional tower.
    """

    preset: str
    open_clip: str | None
    image_size: int
    patch_size: int
    image: Stack | None
    text: Stack
    vocab_size: int
    length: int
    embed_dim: int
    queries: int | None = None
    convolutions: Callable | None = None

    named = property(lambda self: self.queries is not None or self.image is None)  # not built from numbers in kzoo
    patches = property(lambda self: (self.image_size // self.patch_size) ** 2)
    end_id = property(lambda self: self.vocab_size - 1)
    start_id = property(lambda self: self.vocab_size - 2)


BASE, LARGE = Stack(768, 12, 12), Stack(1024, 24, 16)
SIZES = {
    "tiny": Size("clip_nano", None, 32, 8, Stack(48, 2, 3), Stack(32, 2, 4), 512, 16, 24),
    "ViT-B/32": Size("clip_base", "ViT-B-32-quickgelu", 224, 32, BASE, Stack(512, 12, 8), 49408, 77, 512),
    "ViT-L/14": Size("clip_large_patch14", "ViT-L-14-quickgelu", 224, 14, LARGE, Stack(768, 12, 12), 49408, 77, 768),
    "RN50": Size(
        "clip_resnet50", "RN50-quickgelu", 224, 32, None, Stack(512, 12, 8), 49408, 77, 1024, None, products_of_resnet,
    ),
    "ConvNeXt-tiny": Size(
        "convnext_tiny", "convnext_tiny", 224, 32, None, Stack(512, 12, 8), 49408, 77, 1024, None, products_of_convnext,
    ),
    "tiny CoCa": Size("coca_nano", None, 32, 8, Stack(48, 2, 3), Stack(32, 2, 4), 512, 15, 32, queries=9),
    "CoCa-base": Size("coca_base", "coca_ViT-B-32", 224, 32, BASE, Stack(512, 12, 8), 49408, 76, 512, queries=256),
}  # fmt: skip
