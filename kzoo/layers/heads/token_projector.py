"""Tokens to the shared space: what FILIP and DreamLIP compare."""

import keras

from kzoo.layers.configured import Configured
from kzoo.layers.projection import Projection
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class TokenProjector(Configured, keras.layers.Layer):
    """Each token by itself to the space in which patches and words are compared.

    Towers differ in the width of their tokens, so each has a head of its own.

    Args:
        dim: width of the output, the same for all towers.
        hidden_dim: width between two layers; None for one layer.
        skip: tokens in front that are left out, such as the class token of a ViT (`prefix_tokens` of a tower).
        bias: of each layer.

    Inputs:
        float tensor `(batch, tokens, width)`.

    Returns:
        float tensor `(batch, tokens - skip, dim)`.

    Example:
        >>> patches = Head(TokenProjector(256, skip=1), reads="image_tokens", gives="image_projected_tokens")
        >>> words = Head(TokenProjector(256), reads="text_tokens", gives="text_projected_tokens")
        >>> loss = FineGrainedContrastive(inputs=("image_projected_tokens", "text_projected_tokens"))

    Reference:
        Yao et al., FILIP, 2021, arXiv 2111.07783; Zheng et al., DreamLIP, 2024, arXiv 2403.17007.
    """

    def __init__(self, dim, hidden_dim=None, skip=0, bias=False, **kwargs):
        super().__init__(**kwargs)
        self.skip = skip

        # -- layers --
        self.projection = Projection(dim, hidden_dim, bias=bias, dtype=self.dtype_policy, name="projection")

    def build(self, tokens_shape) -> None:
        self.projection.build(tokens_shape)

    def compute_output_shape(self, tokens_shape) -> tuple:
        length = tokens_shape[-2]
        length = None if length is None else length - self.skip
        return (*tokens_shape[:-2], length, self.projection.embed_dim)

    # -- forward --
    def call(self, tokens) -> Tensor:
        return self.projection(tokens[..., self.skip :, :])
