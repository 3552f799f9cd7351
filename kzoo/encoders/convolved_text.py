"""The text tower of MobileCLIP-S0: a transformer between two mixers that convolve along the text."""

import keras

from kzoo.arguments import FINITE
from kzoo.encoders.sequence import SEQUENCE_OPTIONS
from kzoo.encoders.text_transformer import TextTransformer
from kzoo.layers.length_mixer import KERNEL, LengthMixer
from kzoo.layers.merging import Mergeable, merge


@keras.saving.register_keras_serializable(package="kzoo")
class ConvolvedTextTransformer(Mergeable, TextTransformer):
    """Text tower: token and position embeddings, pre-norm blocks between two mixers, final norm, projection.

    Its embedding is that of the end of text. Every token sees all others, padding too: the context is always filled.
    `for_export` gives the tower with one convolution in the place of each mixer's sum of branches.

    Args:
        vocab_size: rows of the token table.
        context_length: rows of the position table.
        width: channels of the residual stream.
        depth: number of blocks between the mixers.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs of the blocks; default `4 * width`. Those of the mixers have `4 * width`.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        activation: `"quick_gelu"`, `"gelu"` or `"gelu_tanh"`.
        eot_id: id of the end-of-text token, which is pooled.
        kernel_size: of the convolutions of the mixers, in tokens, an odd number.
        mixer_scale: initial gain of the branches of the mixers, or None for no gain.
        momentum: share of the running statistics of the mixers' norms that a training step keeps.
        dropout: rate in the blocks while training.
        fused: one matmul for query, key and value.
        epsilon: of all norms.
        mask_token: have a learned vector for hidden ids.
        merged: one convolution in the place of each mixer's sum.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        mask, embeddings, prompts, layers, until: see `kzoo.encoders.Tower`; a position is an id, and the mixers are the
            first and the last of the blocks.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, after the final
        norm; `"token_mask"` bool `(batch, length)`, True up to the end of text.

    Raises:
        ValueError: ids of another rank or longer than the context, a kernel that is even.

    Example:
        >>> tower = ConvolvedTextTransformer(512, context_length=16, width=64, depth=2, num_heads=4, eot_id=2)
        >>> tower(np.array([[1, 7, 2, 0]]))["embedding"].shape
        (1, 64)

    Reference:
        Vasu et al., MobileCLIP, 2023, arXiv 2311.17049.
    """

    kind, title = "convolved_text", "text transformer with convolutions"
    options = SEQUENCE_OPTIONS - {"keep"}  # without its neighbours a token is another
    arguments = KERNEL | {"mixer_scale": FINITE | None}

    def __init__(
        self,
        vocab_size,
        context_length,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        activation="gelu",
        eot_id=49407,
        kernel_size=11,
        mixer_scale=1e-5,
        momentum=0.9,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        mask_token=False,
        merged=False,
        **kwargs,
    ):
        self.mixers = {"kernel_size": kernel_size, "layer_scale": mixer_scale, "momentum": momentum, "merged": merged}
        self.merged = merged
        super().__init__(
            vocab_size,
            context_length,
            width,
            depth,
            num_heads,
            mlp_dim,
            embed_dim,
            activation,
            causal=False,
            eot_id=eot_id,
            dropout=dropout,
            fused=fused,
            epsilon=epsilon,
            mask_token=mask_token,
            **kwargs,
        )

    def _make_blocks(self, depth, **of_blocks) -> list:
        options = {name: of_blocks[name] for name in ("activation", "epsilon")} | self.mixers
        first, last = (
            LengthMixer(4 * of_blocks["width"], dtype=self.dtype_policy, name=f"mixer_{place}", **options)
            for place in ("before", "after")
        )
        return [first, *super()._make_blocks(depth, **of_blocks), last]

    @property
    def parts(self) -> tuple:
        """Its layers in their order, the same whether or not it is merged."""
        return (*self.blocks, self.final_norm, *([] if self.projection is None else [self.projection]))

    def take_merged(self, other) -> None:
        super().take_merged(other)
        for name in ("token_embedding", "position_embedding", "mask_token"):
            if getattr(self, name) is not None:
                getattr(self, name).assign(getattr(other, name))

    def for_export(self) -> "ConvolvedTextTransformer":
        if self.merged:
            return self
        form = type(self).from_config(self.get_config() | {"merged": True})
        merge(form, self)
        return form

    # -- forward --
    def call(self, token_ids, training=None, mask=None, embeddings=None, prompts=None, layers=(), until=None) -> dict:
        options = {"mask": mask, "embeddings": embeddings, "prompts": prompts, "layers": layers, "until": until}
        return super().call(token_ids, training=training, **options)
