"""Backbones of keras-hub as towers."""

from functools import cached_property
from typing import Any, Self

import keras
from keras import ops

from kzoo.arguments import FINITE, POSITIVE
from kzoo.encoders.keras_hub_backbone import (
    context_length_of,
    image_size_of,
    open_backbone,
    outputs_of,
    patch_grid,
    per_channel,
    returns_only_pooled,
    takes_images,
    tokens_before_patches,
    vocab_size_of,
)
from kzoo.encoders.pixels import ImageTower, check_images, normalize_pixels
from kzoo.encoders.token_ids import TextTower, check_token_ids
from kzoo.encoders.tower import Tower
from kzoo.keras_contact import untracked
from kzoo.layers.arguments import BY_CHANNEL, SPREAD
from kzoo.layers.linear import dense
from kzoo.layers.pooling import pool_end_of_text, pool_mean, until_end_of_text

IMAGE_POOLS = ("class_token", "average", "pooled")
TEXT_POOLS = ("mean", "first", "end_of_text", "pooled")


def from_keras_hub(backbone, embed_dim=None, dtype=None, **arguments) -> Any:
    """Wrap a backbone of keras-hub as a tower of a `DualEncoder`.

    Whether it becomes an image or a text tower, and what it is fed, is read from the backbone's own inputs.

    Args:
        backbone: a `keras_hub.models.Backbone` that takes pictures (`ViTBackbone`, `SigLIPVisionEncoder`,
            `ResNetBackbone`, ...) or `token_ids` (`BertBackbone`, `XLMRobertaBackbone`, ...), with weights or
            without; or the config of one, from `get_config` of a tower, which is built with random weights.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        dtype: policy that a config is built with. A backbone that is built already brings its own.
        **arguments: of `KerasHubImageEncoder` or `KerasHubTextEncoder`, whichever it becomes.

    Returns:
        `KerasHubImageEncoder` or `KerasHubTextEncoder`.

    Raises:
        ImportError: keras-hub is not installed.
        TypeError: no backbone, or an argument that this kind of tower does not know.
        ValueError: a backbone with other inputs or outputs than a tower has; the sentence names them.

    Example:
        >>> backbone = keras_hub.models.Backbone.from_preset("vit_base_patch16_224_imagenet21k")
        >>> image_encoder = from_keras_hub(backbone, mean=0.5, std=0.5)
        >>> image_encoder.trainable = False
        >>> text_encoder = TextTransformer(32000, 64, 512, 12, 8, embed_dim=image_encoder.embed_dim, eot_id=2)
        >>> model = DualEncoder(image_encoder, text_encoder)

    Reference:
        Zhai et al., LiT, 2021, arXiv 2111.07991, for the use that locks the image tower.
    """
    backbone = open_backbone(backbone, dtype)
    tower = KerasHubImageEncoder if takes_images(backbone) else KerasHubTextEncoder
    return tower(backbone, embed_dim, **arguments, **({} if dtype is None else {"dtype": dtype}))


class KerasHubEncoder(Tower):
    """What the two towers share: the part of the backbone's graph that is used, a projection, the config."""

    kind, title = "keras_hub", "backbone of keras-hub"  # `from_keras_hub` builds both

    after_stack = ("projection",)
    arguments = {
        "mean": (FINITE | BY_CHANNEL).said("a number, or three, one for each channel"),
        "std": (POSITIVE | SPREAD).said("a positive number, or three, one for each channel"),
    }

    def __init__(self, backbone, embed_dim, pool, pools, **kwargs):
        policy, dtype = backbone.dtype_policy, kwargs.pop("dtype", None)
        if dtype is not None and keras.dtype_policies.get(dtype).name != policy.name:
            raise ValueError(
                f"the tower is asked for in {keras.dtype_policies.get(dtype).name}, but its {type(backbone).__name__} "
                f"was built in {policy.name}; build the backbone with that dtype, or leave dtype out."
            )
        # no autocast: pixels are normalised in float32, each layer of the backbone casts for itself
        super().__init__(autocast=False, dtype=policy, **kwargs)
        outputs = outputs_of(backbone)
        if pool not in pools:
            raise ValueError(f"pool {pool!r} is unknown; choose one of {', '.join(pools)}.")
        if pool == "pooled" and "pooled" not in outputs:
            raise ValueError(f"{type(backbone).__name__} has no pooled output of its own; choose another pool.")
        self.pool = pool
        # What is tracked, trained and counted are the layers that the embedding depends on: the dense layer behind
        # BERT's pooled output would decay without ever getting a gradient.
        untracked(self, "backbone", backbone)
        del self._arguments["backbone"]  # a saved file would find its weights there, under another path

        # -- layers --
        used = {name: tensor for name, tensor in outputs.items() if name == "tokens" or pool == "pooled"}
        self.features = keras.Model({tensor.name: tensor for tensor in backbone.inputs}, used, name="features")
        width, self.token_dim = (
            outputs[name].shape[-1] for name in ("pooled" if pool == "pooled" else "tokens", "tokens")
        )
        self.embed_dim = embed_dim or width
        self.projection = None
        if embed_dim is not None:
            self.projection = dense(embed_dim, width**-0.5, policy, "projection", use_bias=False)
        self.build((None, width))
        if not self.trainable:  # of a layer that is built locked, Keras leaves the sub-layers open
            for layer in filter(None, (self.features, self.projection)):
                layer.trainable = False

    def build(self, embedding_shape) -> None:
        if self.projection is not None:
            self.projection.build(embedding_shape)

    # -- forward --
    def run(self, inputs, training) -> Any:
        """Outputs of the backbone; a locked one runs as in inference, without dropout."""
        locked = not (self.features.trainable and self.backbone.trainable)
        return self.features(inputs, training=False if locked else training)

    def projected(self, embedding, tokens) -> dict:
        if self.projection is not None:
            embedding = self.projection(embedding)
        return {"embedding": embedding, "tokens": tokens}

    # -- config --
    def get_config(self) -> dict:
        backbone = keras.saving.serialize_keras_object(self.backbone)
        kept = ("module", "class_name", "config", "registered_name")  # not how the user compiled it
        return super().get_config() | {"backbone": {key: backbone[key] for key in kept}}

    @classmethod
    def from_config(cls, config) -> Self:
        return cls(**config | {"backbone": open_backbone(config["backbone"], config.get("dtype"))})


@keras.saving.register_keras_serializable(package="kzoo")
class KerasHubImageEncoder(KerasHubEncoder, ImageTower):
    """Image tower around a backbone of keras-hub, with the normalisation of raw pixels inside.

    Args:
        backbone: a `keras_hub.models.Backbone` with one input, pictures, channels last.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        pool: `"class_token"`, `"average"` (over the patches or the feature map) or `"pooled"` (the backbone's own);
            default the backbone's own if it returns nothing else, the class token if it has one, else the average.
        image_size: side in pixels or `(height, width)`, for a backbone that takes pictures of any size.
        mean, std: what the backbone was trained with, in units of [0, 1] pixels, a number or one per channel. A
            `keras_hub.layers.ImageConverter` says the same as `scale = 1 / (255 std)` and `offset = -mean / std`.

    Inputs:
        images: uint8 or float tensor `(batch, height, width, 3)`, values in [0, 255].

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`, a feature map
        row by row.

    Raises:
        ValueError: mean or std missing, an image size that the backbone does not take, an unknown pool.

    Example:
        >>> backbone = keras_hub.models.ViTBackbone((32, 32, 3), 8, 2, 4, 64, 128)
        >>> tower = from_keras_hub(backbone, embed_dim=16, mean=0.5, std=0.5)
        >>> tower(np.zeros((2, 32, 32, 3), "uint8"))["embedding"].shape
        (2, 16)
    """

    def __init__(self, backbone, embed_dim=None, pool=None, image_size=None, mean=None, std=None, **kwargs):
        if mean is None or std is None:
            raise ValueError(
                f"{type(backbone).__name__} needs mean and std, with which its pictures were normalised in training: "
                "0.5 and 0.5 for pixels in [-1, 1]."
            )
        image_size = image_size_of(backbone, image_size)
        prefix = tokens_before_patches(backbone, image_size, outputs_of(backbone)["tokens"].shape)
        default = "pooled" if returns_only_pooled(backbone) else "class_token" if prefix else "average"
        super().__init__(backbone, embed_dim, pool or default, IMAGE_POOLS, **kwargs)
        self.image_size = image_size
        self.mean, self.std = per_channel(mean, "mean"), per_channel(std, "std")

    @cached_property
    def _grid_and_prefix(self):
        """`(prefix_tokens, grid)`."""
        pixels = keras.KerasTensor((1, *self.image_size, 3), dtype="float32")
        declared = self.features.compute_output_spec({self.backbone.inputs[0].name: pixels})["tokens"].shape
        if len(declared) == 4:
            return 0, tuple(declared[1:3])
        # of a run, not of the graph: the shape that SigLIP's graph declares has a token too many
        shape = self.compute_output_spec(pixels, training=False)["tokens"].shape
        prefix = tokens_before_patches(self.backbone, self.image_size, shape)
        grid = patch_grid(self.backbone, self.image_size)
        return prefix, grid if grid is not None and grid[0] * grid[1] == shape[1] - prefix else None

    @property
    def prefix_tokens(self) -> int:
        """Class and register tokens before the patches."""
        return self._grid_and_prefix[0]

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patches or of the feature map, where they are known."""
        return self._grid_and_prefix[1]

    # -- forward --
    def call(self, images, training=None) -> dict:
        check_images(images.shape, self.image_size)
        pixels = normalize_pixels(images, self.mean, self.std)
        outputs = self.run({self.backbone.inputs[0].name: pixels}, training)
        tokens = outputs["tokens"]
        # asked of the tensor itself: the shape that SigLIP's graph declares has a token too many
        prefix = tokens_before_patches(self.backbone, self.image_size, tokens.shape)
        if len(tokens.shape) == 4:
            rows, columns, width = tokens.shape[1:]
            tokens = ops.reshape(tokens, (-1, rows * columns, width))  # (batch, length, width)
        if self.pool == "class_token":
            if not prefix:
                raise ValueError(f"{type(self.backbone).__name__} has no class token; choose another pool.")
            embedding = tokens[:, 0]
        elif self.pool == "average":
            embedding = ops.mean(tokens[:, prefix:], axis=1)
        else:
            embedding = outputs["pooled"]
        return self.projected(embedding, tokens)

    # -- config --
    def get_config(self) -> dict:
        chosen = {"pool": self.pool, "image_size": self.image_size, "mean": self.mean, "std": self.std}
        return super().get_config() | chosen


@keras.saving.register_keras_serializable(package="kzoo")
class KerasHubTextEncoder(KerasHubEncoder, TextTower):
    """Text tower around a backbone of keras-hub.

    Args:
        backbone: a `keras_hub.models.Backbone` that takes `token_ids`, and perhaps `padding_mask` and `segment_ids`,
            which are then all 0. One that takes no `padding_mask` lets padding into its tokens.
        embed_dim: width of the embedding after a linear projection; None for no projection.
        pool: `"mean"` (over the real tokens), `"first"` (BERT's class token), `"end_of_text"` (the first position whose
            id is `eot_id`) or `"pooled"` (the backbone's own); default the backbone's own if it returns nothing else,
            else the mean.
        vocab_size: rows of the token table, for a backbone that does not say it.
        context_length: most ids of a text; default what the backbone has positions for.
        pad_id: id of its tokenizer's padding. Where no `padding_mask` is given, as in an exported graph, the ids that
            differ from it are the real ones.
        eot_id: id of the end-of-text token, for that pool.

    Inputs:
        token_ids: int tensor `(batch, length)`, `length <= context_length`.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, not normalised; `"tokens"` `(batch, length, width)`; `"token_mask"`
        bool `(batch, length)` where padding or the end of text is known.

    Raises:
        ValueError: `pad_id` or `context_length` missing, ids of another rank or longer than the context, an unknown
            pool.

    Example:
        >>> backbone = keras_hub.models.BertBackbone(512, 2, 4, 64, 128, max_sequence_length=16)
        >>> tower = from_keras_hub(backbone, embed_dim=16, pad_id=0)
        >>> tower(np.array([[1, 7, 2, 0]]))["embedding"].shape
        (1, 16)
    """

    def __init__(
        self,
        backbone,
        embed_dim=None,
        pool=None,
        vocab_size=None,
        context_length=None,
        pad_id=None,
        eot_id=None,
        **kwargs,
    ):
        name = type(backbone).__name__
        pool = pool or ("pooled" if returns_only_pooled(backbone) else "mean")
        super().__init__(backbone, embed_dim, pool, TEXT_POOLS, **kwargs)
        self.input_names = [tensor.name for tensor in backbone.inputs]
        if pad_id is None and (pool == "mean" or "padding_mask" in self.input_names):
            raise ValueError(f"{name} needs pad_id, the id that its tokenizer fills a text up with.")
        if (eot_id is None) == (pool == "end_of_text"):
            raise ValueError(
                f"eot_id is {eot_id} and pool is {pool!r}; an end-of-text pool needs the id, no other does."
            )
        self.vocab_size = vocab_size_of(backbone, vocab_size)
        self.context_length = context_length_of(backbone, context_length)
        # without a mask, what it pools itself depends on the padding: SigLIP's pools the last of all positions
        only_pooled = returns_only_pooled(backbone) and "padding_mask" not in self.input_names
        self.fixed_length = backbone.max_sequence_length if only_pooled else None
        self.pad_id, self.eot_id = pad_id or 0, eot_id  # where none is needed, none is read
        self.reads_padding_mask = pool == "mean" or "padding_mask" in self.input_names

    # -- inputs --
    def fits(self, given, shape, any_size=False) -> bool:
        return super().fits(given, shape) and self.fixed_length in (None, shape[0])

    def wants(self, given) -> str:
        if self.fixed_length is not None:
            return f"{type(self.backbone).__name__} takes exactly {self.fixed_length} ids a row; pad the texts"
        return super().wants(given)

    # -- forward --
    def call(self, token_ids, padding_mask=None, training=None) -> dict:
        length = check_token_ids(token_ids.shape, self.context_length)
        if self.fixed_length not in (None, length):
            raise ValueError(
                f"token_ids have {length} ids a row, but {type(self.backbone).__name__} takes exactly "
                f"{self.fixed_length}; pad the texts."
            )
        if padding_mask is None:
            padding_mask = ops.not_equal(token_ids, self.pad_id)
        feed = {"token_ids": token_ids}
        if "padding_mask" in self.input_names:
            feed["padding_mask"] = ops.cast(padding_mask, "int32")
        if "segment_ids" in self.input_names:
            feed["segment_ids"] = ops.zeros_like(token_ids)
        outputs = self.run(feed, training)
        tokens = outputs["tokens"]  # (batch, length, width)
        if self.pool == "mean":
            embedding = pool_mean(tokens, padding_mask)
        elif self.pool == "first":
            embedding = tokens[:, 0]
        elif self.pool == "end_of_text":
            embedding = pool_end_of_text(tokens, token_ids, self.eot_id)
        else:
            embedding = outputs["pooled"]
        return self.projected(embedding, tokens) | self._token_mask(token_ids, padding_mask)

    def _token_mask(self, token_ids, padding_mask):
        if self.reads_padding_mask:
            return {"token_mask": ops.cast(padding_mask, "bool")}
        if self.pool == "end_of_text":
            return {"token_mask": until_end_of_text(token_ids, self.eot_id)}
        return {}

    # -- config --
    def get_config(self) -> dict:
        chosen = {"pool": self.pool, "vocab_size": self.vocab_size, "context_length": self.context_length}
        return super().get_config() | chosen
