"""The vision transformer: raw pixels in, embedding and tokens out."""

from functools import partial

import keras
import numpy as np
from keras import ops

from kzoo.arguments import one_of
from kzoo.encoders.pixels import CLIP_MEAN, CLIP_STD, ImageTower, check_images, normalize_pixels
from kzoo.encoders.sequence import SequenceTower, kept, unturned
from kzoo.layers.attention import BIASES
from kzoo.layers.numerics import layer_norm
from kzoo.layers.patch_embedding import PatchEmbedding, as_size
from kzoo.layers.pooling import AttentionPooling, QueryPooling
from kzoo.layers.projection import tower_projection
from kzoo.layers.relative_positions import RelativePositions, relative_offsets
from kzoo.layers.rotary import ORDERS, rotary_angles
from kzoo.layers.stems import stem_layer
from kzoo.layers.transformer import GATES, transformer_blocks
from kzoo.types import Tensor

POOLS = ("class_token", "average", "average_all", "attention", "queries")
QUERY_LAYOUTS = ("single", "parallel", "cascade")
STEMS = ("convolutions", "padded_convolutions", "mbconv")


@keras.saving.register_keras_serializable(package="kzoo")
class VisionTransformer(SequenceTower, ImageTower):
    """ViT image tower with the normalisation of raw pixels inside.

    Args:
        image_size: side in pixels, or `(height, width)`.
        patch_size: side of a patch in pixels.
        width: channels of the residual stream.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_dim: hidden width of the MLPs; default `4 * width`.
        embed_dim: width of the embedding after a projection; None for no projection.
        activation: `"quick_gelu"`, `"gelu"` or `"gelu_tanh"`.
        class_token: prepend a learned token to the patches.
        pool: `"class_token"`, `"average"` (over the patches), `"average_all"` (over these and the class token),
            `"attention"` (MAP head) or `"queries"`: CoCa's, whose pooled queries are the tokens that a captioning
            decoder reads.
        norm_tokens: apply the last norm to all tokens, not to the pooled one only: the pooled one is the same, the
            tokens are what BLIP's text towers read.
        patch_tokens: give out the tokens of the patches alone, without the class token, as open_clip's CoCa reads them
            where no queries pool.
        num_queries, query_heads: of the pool `"queries"`.
        query_layout: how it makes the embedding. `"single"` (every released CoCa): the first query is the
            embedding, the others are the tokens. `"parallel"` and `"cascade"` (the paper): a query of its own reads
            the patches, or the pooled queries.
        query_projection: project the embedding of the pool `"queries"`; False: it is what the query pooled.
        pre_norm: a layer norm between the embedding and the first block, as in CLIP.
        patch_bias: bias of the patch projection.
        hidden_dim: width between two layers of the projection, with a GELU; None for one layer.
        projection_bias: bias of the last projection.
        layer_scale: initial gain of the block branches, or None.
        dropout: rate in the blocks while training.
        fused: one matmul for query, key and value.
        epsilon: of the layer norms.
        mean, std: per channel, in units of [0, 1] pixels.
        mask_token: have a learned vector for hidden patches.
        positions: `"learned"`, or `"sin_cos"`: those of MAE and MoCo v3, which stay as they are. None: no table.
        position_prefix: the class token has a position, too.
        relative_dim: hidden width of the MLP, one for each block, that makes a bias of attention from how far apart two
            patches are; None for no such bias.
        stem: what makes tokens of pixels: None for a projection of each patch, `"convolutions"` (MobileCLIP-B),
            `"padded_convolutions"` (the same a pixel further, as Apple's own code has it) or `"mbconv"` (ViTamin). A
            stem leaves a token for 16 x 16 pixels, which is then the `patch_size`.
        stem_width: channels of the first convolutions of the stem `"mbconv"`.
        stem_stages: `(channels, blocks)` of each of its two stages.
        rotary: `"rows"` or `"columns"`: beside the table, queries and keys of the patches are turned by their place,
            with the channels of that axis first; None for no rotary positions.
        rotary_grid: rows and columns that the grid of every image is stretched to for them; default none.
        rotary_offset: place of the first row and column for them.
        attention_bias, inner_norm, mlp, mlp_norm, mlp_input_norm, res_post_norm: of each block, see
            `kzoo.layers.TransformerBlock`.
        pool_heads, pool_mlp_dim: of the pool `"attention"`; default those of the blocks.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].
        any_size: take images of another size than `image_size`, such as the small crops of self-supervised training:
            the position table is resampled for them at each step. Otherwise they are refused.
        mask, keep, embeddings, prompts, layers, until, tokens: see `kzoo.encoders.Tower`; a position is a patch.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, [1 +] patches, width)`,
        the sequence after the last block, after the last norm too where a pool reads it; of the pool `"queries"` the
        pooled queries `(batch, queries, embed_dim)`.

    Raises:
        ValueError: unknown pool, `"class_token"` pooling without a class token, rotary positions of heads whose width
            is no multiple of 4, a stem with another patch size, images of another shape.

    Example:
        >>> tower = VisionTransformer(image_size=32, patch_size=8, width=64, depth=2, num_heads=4, embed_dim=16)
        >>> tower(np.zeros((2, 32, 32, 3), "uint8"))["embedding"].shape
        (2, 16)

    Reference:
        Dosovitskiy et al., ViT, 2020, arXiv 2010.11929; Radford et al., CLIP, 2021, arXiv 2103.00020; Yu et al.,
        CoCa, 2022, arXiv 2205.01917; rotary positions and gated MLPs: Fang et al., EVA-02, 2023, arXiv 2303.11331;
        positions by an MLP: Liu et al., Swin Transformer V2, 2021, arXiv 2111.09883; stems of convolutions: Xiao et
        al., Early Convolutions Help Transformers See Better, 2021, arXiv 2106.14881.
    """

    kind, title = "vit", "vision transformer"
    after_stack = ("post_norm", "attention_pool", "query_pool", "contrastive_pool", "projection")
    options = SequenceTower.options | {"any_size", "tokens"}
    arguments = {
        "pool": one_of(*POOLS),
        "query_layout": one_of(*QUERY_LAYOUTS),
        "rotary": one_of(*ORDERS),
        "stem": one_of(*STEMS),
        "attention_bias": one_of(*BIASES),
        "mlp": one_of(*GATES),
    }

    def __init__(
        self,
        image_size,
        patch_size,
        width,
        depth,
        num_heads,
        mlp_dim=None,
        embed_dim=None,
        activation="gelu",
        class_token=True,
        pool="class_token",
        norm_tokens=False,
        patch_tokens=False,
        num_queries=256,
        query_heads=8,
        query_layout="single",
        query_projection=True,
        pre_norm=True,
        patch_bias=False,
        projection_bias=False,
        layer_scale=None,
        dropout=0.0,
        fused=False,
        epsilon=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        mask_token=False,
        positions="learned",
        position_prefix=True,
        relative_dim=None,
        stem=None,
        stem_width=None,
        stem_stages=(),
        rotary=None,
        rotary_grid=None,
        rotary_offset=0.0,
        attention_bias="all",
        inner_norm=False,
        mlp="plain",
        mlp_norm=False,
        mlp_input_norm=False,
        res_post_norm=False,
        pool_heads=None,
        pool_mlp_dim=None,
        hidden_dim=None,
        **kwargs,
    ):
        # no autocast: pixels are normalised in float32, each sub-layer casts for itself
        super().__init__(autocast=False, **kwargs)
        if pool == "class_token" and not class_token:
            raise ValueError("pool='class_token' needs class_token=True; choose 'average' or 'attention'.")
        self.image_size = as_size(image_size)
        self.width, self.embed_dim = width, embed_dim or width
        self._declare_sequence(depth, mask_token)
        self.token_dim = self.embed_dim if pool == "queries" else width
        self.prefix_tokens = int(class_token and pool != "queries" and not patch_tokens)
        self.class_token, self.pool, self.query_layout = class_token, pool, query_layout
        self.patch_tokens = patch_tokens
        self.norm_first = norm_tokens or pool == "attention" or (pool == "queries" and query_layout != "single")
        self.mean, self.std = tuple(mean), tuple(std)
        self.angles_of = None
        if rotary is not None:
            rules = {"order": rotary, "reference": rotary_grid, "offset": rotary_offset}
            self.angles_of = partial(rotary_angles, head_width=width // num_heads, **rules)
            self.angles_of((1, 1))  # stops where heads cannot be turned
        mlp_dim = mlp_dim or 4 * width
        policy = self.dtype_policy

        # -- layers --
        self.embedding = PatchEmbedding(
            self.image_size,
            patch_size,
            width,
            class_token,
            patch_bias,
            positions,
            position_prefix,
            stem_layer(stem, patch_size, width, stem_width, stem_stages, policy),
            dtype=policy,
            name="embedding",
        )
        self.relative_positions = None
        if relative_dim is not None:
            self.options = self.options - {"keep", "prompts"}  # they would change which tokens are how far apart
            self.relative_positions = [
                RelativePositions(num_heads, relative_dim, int(class_token), dtype=policy, name=f"relative_{number}")
                for number in range(depth)
            ]
        self.pre_norm = layer_norm(epsilon, "pre_norm") if pre_norm else None
        self.blocks = transformer_blocks(
            depth,
            policy,
            width=width,
            num_heads=num_heads,
            mlp_dim=mlp_dim,
            activation=activation,
            layer_scale=layer_scale,
            dropout=dropout,
            fused=fused,
            epsilon=epsilon,
            attention_bias=attention_bias,
            inner_norm=inner_norm,
            mlp=mlp,
            mlp_norm=mlp_norm,
            mlp_input_norm=mlp_input_norm,
            res_post_norm=res_post_norm,
        )
        self.post_norm = layer_norm(epsilon, "post_norm")
        self.attention_pool = None
        if pool == "attention":
            of_pool = (pool_heads or num_heads, pool_mlp_dim or mlp_dim, activation, epsilon)
            self.attention_pool = AttentionPooling(width, *of_pool, dtype=policy, name="attention_pool")
        self.query_pool = self.contrastive_pool = None
        if pool == "queries":
            self.query_pool = QueryPooling(
                self.embed_dim, num_queries, query_heads, epsilon, dtype=policy, name="query_pool"
            )
            if query_layout != "single":
                self.contrastive_pool = QueryPooling(
                    self.embed_dim, 1, query_heads, epsilon, dtype=policy, name="contrastive_pool"
                )
        self.pooled_width = self.embed_dim if pool == "queries" else width
        projected = embed_dim if pool != "queries" or query_projection else None
        self.projection = tower_projection(projected, hidden_dim, self.pooled_width, projection_bias, policy)
        self.build((None, *self.image_size, 3))

    def build(self, images_shape) -> None:
        self.embedding.build(images_shape)
        tokens_shape = (None, self.num_tokens, self.width)
        for layer in (self.pre_norm, *self.blocks, self.attention_pool, self.query_pool):
            if layer is not None:
                layer.build(tokens_shape)
        for layer in self.relative_positions or ():
            layer.build((None, 2), (None, None))
        self.post_norm.build(tokens_shape if self.norm_first else (None, None, self.pooled_width))
        if self.contrastive_pool is not None:
            cascade = self.query_layout == "cascade"
            self.contrastive_pool.build((None, None, self.pooled_width if cascade else self.width))
        if self.projection is not None:
            self.projection.build((None, self.pooled_width))
        self._build_mask_token()

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the tokens, where they are patches."""
        return None if self.pool == "queries" else self.embedding.grid

    @property
    def position_path(self) -> str | None:
        """Where the position table is, if there is one."""
        return None if self.embedding.positions is None else "embedding.position_embedding"

    @property
    def position_grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches that have a position of their own."""
        return None if self.embedding.positions is None else self.embedding.grid

    @property
    def num_tokens(self) -> int:
        """Length of the sequence in the blocks."""
        rows, columns = self.embedding.grid
        return rows * columns + int(self.class_token)

    # -- forward --
    def call(
        self,
        images,
        training=None,
        any_size=False,
        mask=None,
        keep=None,
        embeddings=None,
        prompts=None,
        layers=(),
        until=None,
        tokens=True,
    ) -> dict:
        check_images(images.shape, self.image_size, any_size)
        rows, columns = self.embedding.grid_of(images)
        if mask is None and embeddings is None:
            x = self.embedding(normalize_pixels(images, self.mean, self.std), training=training)
        else:
            x = self.embed(images, training) if embeddings is None else self._standing_in(embeddings, rows * columns)
            x = self.embedding(images, patches=self._hidden(x, mask))
        start = int(self.class_token)
        if keep is not None:
            x = kept(x, keep, before=start)  # (batch, [1 +] kept, width)
        if self.pre_norm is not None:
            x = self.pre_norm(x)
        places = {"rotary": self._rotary((rows, columns), keep)}
        places["position_biases"] = self._relative((rows, columns), keep, prompts)
        options = {"prompts": prompts, "layers": layers, "until": until, "training": training}
        if self.pool == "class_token" and self.pools_alone(tokens, layers, until, prompts, **places):
            options["alone"] = {"place": 0}
        return self._run(x, self._finished, start, **places, **options)

    def embed(self, images, training=None) -> Tensor:
        return self.embedding(normalize_pixels(images, self.mean, self.std), placed=False, training=training)

    def _rotary(self, grid, keep):
        """Sines and cosines of the places of the tokens; a class token has none, kept patches have their own."""
        if self.angles_of is None:
            return None
        angles = self.angles_of(grid)
        waves = [ops.convert_to_tensor(wave(angles), "float32") for wave in (np.sin, np.cos)]
        if keep is not None:
            waves = [ops.take(wave, keep, axis=0) for wave in waves]  # (batch, kept, head_width / 2)
        return unturned(waves, 0, int(self.class_token))

    def _relative(self, grid, keep, prompts):
        """The bias of each block by relative positions, `(num_heads, num_tokens, num_tokens)`; None without them."""
        if self.relative_positions is None:
            return None
        if keep is not None or prompts:
            raise ValueError(
                f"{self.name} places its tokens by how far apart they are, and takes no keep and no prompts; leave "
                "them out, or take a tower with a position table."
            )
        offsets, places = relative_offsets(grid)
        return [layer(offsets, places) for layer in self.relative_positions]

    def _finished(self, x):
        """What leaves a block, `(batch, num_tokens, width)`, as `(embedding, tokens)`."""
        if self.norm_first:
            x = self.post_norm(x)
        embedding, tokens = self.pooled(x)
        return embedding if self.projection is None else self.projection(embedding), tokens

    def pooled(self, x) -> tuple:
        """`(batch, num_tokens, width)` to the pooled vector `(batch, pooled_width)` and the tokens to give out."""
        if self.pool == "attention":
            return self.attention_pool(x), x
        if self.pool == "queries":
            return self._pooled_by_queries(x)
        patches = x[:, int(self.class_token) :]
        averaged = x if self.pool == "average_all" else patches
        embedding = x[:, 0] if self.pool == "class_token" else ops.mean(averaged, axis=1)
        return embedding if self.norm_first else self.post_norm(embedding), patches if self.patch_tokens else x

    def _pooled_by_queries(self, x):
        tokens = self.query_pool(x)  # (batch, num_queries, embed_dim)
        if self.query_layout == "single":
            tokens = self.post_norm(tokens)
            return tokens[:, 0], tokens[:, 1:]
        source = tokens if self.query_layout == "cascade" else x
        return ops.squeeze(self.contrastive_pool(source), axis=1), tokens
