"""MaPLe: prompts of both towers, those of pictures made of those of texts."""

import keras
from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import STD, Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.prompts.deep import CoupledTower, DeepTexts
from kzoo.adaptation.prompts.frozen import needs
from kzoo.adaptation.prompts.vpt import encoder_with
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT
from kzoo.layers.initializers import Normal
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Tensor

DEPTH = 9  # of the paper, in towers of 12 blocks


@keras.saving.register_keras_serializable(package="kzoo")
class MaPLe(PromptedClassifier):
    """Multi-modal prompt learning: a context of the texts, prompts before further blocks of both towers, and a linear
    layer for each block that makes the visual prompts of the textual ones, so that both learn together.

    Before block 0 of the text tower stands CoOp's context, before the next ones others in its place; of each the linear
    layer of its block makes the tokens that stand there in the image tower. A step runs both towers, forward and
    backward.

    Args:
        model: as of `CoOp`; both towers are transformers of kzoo, the text tower a `TextTransformer`.
        class_names: as of `CoOp`.
        n_ctx: tokens before a block.
        prompted_blocks: how many blocks have prompts, from the first; default 9, or all of the tower with fewer.
        init: a text, the first `n_ctx` tokens of which the context begins as, while the others stay; None: normal
            numbers of deviation 0.02, as of the prompts of later blocks.
        knowledge_weight, template: as of `CoOp`.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`; `image_embeddings` are those with the prompts.

    Raises:
        ValueError: as `CoOp`; towers that take no prompts, or have fewer blocks; an `n_ctx` above the tokens of `init`.

    We know the paper, and of its code what is told of it. Visual prompts stand behind the class token and after the
    norm before the blocks; there they are the last tokens, and go through that norm.

    Example:
        >>> model = kzoo.adaptation.MaPLe(clip, ["wren", "robin"])
        >>> model.compile(keras.optimizers.SGD(0.0035, momentum=0.9))
        >>> model.fit({"images": images, "labels": labels}, batch_size=4, epochs=5)

    Reference:
        Khattak et al., MaPLe: Multi-modal Prompt Learning, 2022, arXiv 2210.03117.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT,
        "prompted_blocks": COUNT | None,
        "init": CoOp.arguments["init"],
    }

    def __init__(
        self,
        model,
        class_names,
        n_ctx=2,
        prompted_blocks=None,
        init="a photo of a",
        knowledge_weight=0.0,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, knowledge_weight, template, **kwargs)
        image, text = self.model.image_encoder, self.model.text_encoder
        for tower in (image, text):
            needs(tower, "prompts")
        least = min(image.num_blocks, text.num_blocks)
        blocks = prompted_blocks or min(DEPTH, least)
        if blocks > least:
            raise ValueError(f"prompted_blocks is {blocks}, but a tower has {least} blocks; give at most as many.")
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        width = self.context.width
        self.further = [
            self.add_weight(
                name=f"further_{number}", shape=(n_ctx, width), initializer=Normal(stddev=STD), autocast=False
            )
            for number in range(1, blocks)
        ]
        self.couplings = [
            keras.layers.Dense(image.width, dtype="float32", name=f"coupling_{number}") for number in range(blocks)
        ]
        for layer in self.couplings:
            layer.build((None, width))
        self.texts = DeepTexts(self.context, text)
        self.prompted = CoupledTower(image, self.visual_prompts, n_ctx, blocks, name="prompted_image_encoder")
        self.settle_prompts()

    def modalities(self) -> dict:
        return {"image": self.prompted}

    def towers(self) -> dict:
        return {"image_encoder": self.prompted}

    # -- forward --
    def text_prompts(self) -> list[Tensor]:
        """The tokens before each block of the text tower, `(n_ctx, width)` each."""
        return [ops.convert_to_tensor(each) for each in (self.context.vectors, *self.further)]

    def visual_prompts(self) -> list[Tensor]:
        """The tokens before each block of the image tower, `(n_ctx, width)` each."""
        return [layer(prompts) for layer, prompts in zip(self.couplings, self.text_prompts())]

    def embed_classes(self, training=None) -> Tensor:
        return self.texts.embed(self.text_prompts())

    # -- use --
    def encoder(self) -> DualEncoder:
        """The dual encoder that embeds pictures as this model does, its prompts as they are now."""
        return encoder_with(self, self.prompted.baked())
