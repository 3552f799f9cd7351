"""Texts that look at the picture, and a picture that looks at the texts."""

import math

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.prompts.by_picture import ClassesByPicture
from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT
from kzoo.layers.attention import Attention
from kzoo.layers.numerics import l2_normalize
from kzoo.models.answers import Rule

HEADS = 8  # of both attentions, where they divide the width


@keras.saving.register_keras_serializable(package="kzoo")
class TaskOrientedPrompt(ClassesByPicture):
    """Task-oriented mutual learning: the context of each class attends to the picture, and the picture to the classes.

    Class-aware text prompt: the vectors of the context of a class, with the mean of its name's tokens added, ask the
    tokens of the picture, and are moved by the answer. Text-guided feature tuning: the embedding of the picture asks
    the classes, and is moved by the answer. Both answers begin at zero, so that the model begins as `CoOp`.

    The texts of all classes are embedded anew for each picture, as by `CoCoOp`: `micro_batch_size` of `compile` holds
    the memory of a few.

    Args:
        model: as of `CoOp`; its image tower gives tokens.
        class_names, n_ctx, init, knowledge_weight, template: as of `CoOp`.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`; `image_embeddings` are those of the model, before they ask the classes.

    Raises:
        ValueError: as `CoOp`; an image tower without tokens.

    We know what the paper does, and not its layers: what asks, what is asked, one layer of attention with 8 heads (or
    the largest number that divides 8 and the width), and that it begins at zero are our choice.

    Example:
        >>> model = kzoo.adaptation.TaskOrientedPrompt(clip, ["wren", "robin"])
        >>> model.compile(keras.optimizers.SGD(0.002, momentum=0.9), micro_batch_size=1)
        >>> model.fit({"images": images, "labels": labels}, batch_size=8, epochs=10)

    Reference:
        Long et al., Task-Oriented Multi-Modal Mutual Learning for Vision-Language Models, 2023, arXiv 2303.17169.
    """

    arguments = PromptedClassifier.arguments | {"n_ctx": COUNT | None, "init": CoOp.arguments["init"]}

    def __init__(
        self, model, class_names, n_ctx=None, init="a photo of a", knowledge_weight=0.0, template=TEMPLATE, **kwargs
    ):
        super().__init__(model, class_names, knowledge_weight, template, **kwargs)
        tower = self.model.image_encoder
        if tower.token_dim is None:
            raise ValueError(
                f"{type(tower).__name__} gives no tokens that a text could attend to; take CoCoOp, which reads the "
                "embedding of a picture."
            )
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        width = self.context.width
        self.prompt_attention = _attention(width, tower.token_dim, "prompt_attention")
        self.feature_attention = _attention(self.embed_dim, self.embed_dim, "feature_attention")
        self.settle_prompts()

    def rules(self, batch) -> list:
        return [Rule(("image_embeddings", "image_tokens"), ("logits",), self._logits_of_both)]

    def _logits_of_both(self, images, tokens, training):
        classes = self.context.embed(self.model.text_encoder, self._contexts(tokens))  # (batch, classes, embed_dim)
        self.stay_near(classes)
        moved = l2_normalize(images + self.feature_attention(images[:, None], classes)[:, 0])
        return (self.compared(moved, classes),)

    def _contexts(self, tokens):
        """The context of each picture and class, `(batch, classes, n_ctx, width)`."""
        vectors, names = ops.convert_to_tensor(self.context.vectors), self.context.names(self.model.text_encoder)
        asks = vectors[None] + names[:, None]  # (classes, n_ctx, width)
        shape, tokens = asks.shape, ops.cast(tokens, "float32")
        asks = ops.reshape(asks, (1, -1, shape[-1])) + ops.zeros_like(tokens[:, :1, :1])
        answers = self.prompt_attention(asks, tokens)
        return vectors + ops.reshape(answers, (-1, *shape))


def _attention(width, context_width, name) -> Attention:
    """Attention whose answer begins at zero."""
    layer = Attention(width, math.gcd(HEADS, width), dtype="float32", name=name)
    layer.build((None, None, width), (None, None, context_width))
    layer.out.kernel.assign(np.zeros(layer.out.kernel.shape))
    return layer
