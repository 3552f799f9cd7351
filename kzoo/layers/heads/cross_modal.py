"""Pictures that look at their texts and texts that look at their pictures: DCLIP's teacher."""

import keras
from keras import ops

from kzoo.layers.attention import Attention
from kzoo.layers.configured import Configured
from kzoo.layers.linear import dense
from kzoo.layers.numerics import layer_norm
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class CrossModalAttention(Configured, keras.layers.Layer):
    """Cross-attention both ways between the tokens of a picture and those of its text, and a vector of each.

    Tokens are brought to one width, `V` and `T`. `V' = norm(V + attention(V, T))`, `T' = norm(T + attention(T, V))`,
    each over what is real; the vectors are their means, through a linear layer each.

    Such a vector depends on the partner, so it is no embedding to search with: it is what a teacher says of a pair,
    from which a student of two towers learns.

    Args:
        dim: width of tokens and vectors.
        num_heads: of both attentions; must divide `dim`.
        epsilon: of the layer norms.

    Inputs:
        image_tokens: float tensor `(batch, P, any)`, patches or regions.
        text_tokens: float tensor `(batch, L, any)`.
        text_token_mask: bool tensor `(batch, L)`, True where a token is real.

    Returns:
        two float tensors `(batch, dim)`, of the picture and of the text.

    Raises:
        ValueError: `num_heads` does not divide `dim`.

    The paper reads regions that a detector has cut out and spans of the text; here it is what the towers give as
    tokens, and width, one layer and the mean are our choice.

    Example:
        >>> reads = ("image_tokens", "text_tokens", "text_token_mask")
        >>> head = Head(CrossModalAttention(512), reads=reads, gives=("image_seen", "text_seen"))
        >>> teacher = kzoo.DualEncoder(image_encoder, text_encoder, heads=[head])
        >>> teacher.compile("clip_adamw", loss=InfoNCE(inputs=("image_seen", "text_seen")))

    Reference:
        Csizmadia et al., Distill CLIP (DCLIP), 2025, arXiv 2505.21549.
    """

    def __init__(self, dim, num_heads=8, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim

        # -- layers --
        def linear(name):
            return dense(dim, dim**-0.5, self.dtype_policy, name)

        self.image_in, self.text_in = linear("image_in"), linear("text_in")
        self.image_attention, self.text_attention = (
            Attention(dim, num_heads, dtype=self.dtype_policy, name=f"{name}_attention") for name in ("image", "text")
        )
        self.image_norm, self.text_norm = (layer_norm(epsilon, f"{name}_norm") for name in ("image", "text"))
        self.image_out, self.text_out = linear("image_out"), linear("text_out")

    def build(self, image_tokens_shape, text_tokens_shape, text_token_mask_shape=None) -> None:
        self.image_in.build(image_tokens_shape)
        self.text_in.build(text_tokens_shape)
        tokens = (None, None, self.dim)
        for layer in (self.image_attention, self.text_attention, self.image_norm, self.text_norm):
            layer.build(tokens)
        for layer in (self.image_out, self.text_out):
            layer.build((None, self.dim))

    def compute_output_shape(self, image_tokens_shape, text_tokens_shape, text_token_mask_shape=None) -> tuple:
        return (image_tokens_shape[0], self.dim), (text_tokens_shape[0], self.dim)

    # -- forward --
    def call(self, image_tokens, text_tokens, text_token_mask) -> tuple[Tensor, Tensor]:
        image, text = self.image_in(image_tokens), self.text_in(text_tokens)  # (batch, P, dim), (batch, L, dim)
        real = ops.cast(text_token_mask, "bool")
        seen = self.image_norm(image + self.image_attention(image, text, padding_mask=real))
        read = self.text_norm(text + self.text_attention(text, image))
        counts = ops.cast(real, read.dtype)[..., None]
        mean = ops.sum(read * counts, axis=1) / ops.maximum(ops.sum(counts, axis=1), 1.0)
        return self.image_out(ops.mean(seen, axis=1)), self.text_out(mean)
