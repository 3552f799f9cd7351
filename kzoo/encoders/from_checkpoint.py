"""Towers of checkpoints of other libraries; the room of presets, which knows their formats, opens them."""

from typing import Any

from kzoo.actions import perform
from kzoo.arguments import COUNT, FLAG, PATH, SIZE, one_of, takes
from kzoo.encoders.tower import Tower


@takes(
    name=PATH.said("a folder, or hf://owner/name"),
    tower=one_of("image", "text"),
    load_weights=FLAG,
    image_size=SIZE,
    context_length=COUNT,
)
def from_checkpoint(name, tower=None, load_weights=True, image_size=None, context_length=None, dtype=None) -> Tower:
    """Open one tower of a checkpoint, to be part of any model.

    Args:
        name: a folder, or `"hf://owner/name[@revision]"`, with one tower of transformers: a `CLIPVisionModel`,
            `CLIPTextModel`, either of them `WithProjection`, `SiglipVisionModel`, `SiglipTextModel`,
            `CLIPForImageClassification`, `SiglipForImageClassification`, or the same of MetaCLIP 2 and SigLIP 2; or
            anything that `kzoo.from_preset` opens, of which `tower` names one.
        tower: `"image"` or `"text"`, of a model with several.
        load_weights: False builds the architecture with random weights.
        image_size: as in `kzoo.from_preset`.
        context_length: as in `kzoo.from_preset`.
        dtype: as in `kzoo.from_preset`.

    Returns:
        the tower: `VisionTransformer`, `TextTransformer`, or what the model has. Its `embedding` is `image_embeds` or
        `text_embeds` of a class with a projection, before they are made unit length, and `pooler_output` of one
        without. Of a class for image classification it is the tower before its layer of classes, which
        `class_head_from_checkpoint` gives.

    Raises:
        ValueError: a folder without such a tower, weights that do not fit their config, or a model of several towers
            without `tower`.
        FileNotFoundError: no such folder, or no weights in it.

    Example:
        >>> image_encoder = kzoo.encoders.from_checkpoint("clip-vit-base-patch32-vision")
        >>> width = image_encoder.embed_dim
        >>> text_encoder = kzoo.encoders.TextTransformer(32000, 64, 512, 12, 8, embed_dim=width, eot_id=2)
        >>> model = kzoo.DualEncoder(image_encoder, text_encoder)
    """
    return perform("open_tower", name, tower, load_weights, image_size, context_length, dtype)


@takes(name=PATH.said("a folder, or hf://owner/name"))
def class_head_from_checkpoint(name) -> Any:
    """The layer of classes of a `CLIPForImageClassification` or `SiglipForImageClassification` of transformers.

    Args:
        name: folder, or `"hf://owner/name[@revision]"`.

    Returns:
        named tuple of `kernel` (token_dim, classes), `bias` (classes,) and `labels`, the names of the classes. The
        layer is linear, of the mean of the tower's `tokens` behind the first `prefix_tokens`.

    Raises:
        ValueError: a folder of another class.
        FileNotFoundError: no such folder, or no weights in it.

    Example:
        >>> tower, head = from_checkpoint("my-classifier"), class_head_from_checkpoint("my-classifier")
        >>> tokens = tower(images)["tokens"][:, tower.prefix_tokens :]
        >>> logits = keras.ops.mean(tokens, axis=1) @ head.kernel + head.bias
    """
    return perform("open_class_head", name)
