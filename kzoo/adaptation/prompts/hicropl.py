"""HiCroPL: prompts of both towers, each made of the other's where that one knows more."""

import keras
from keras import ops

from kzoo.adaptation.classifiers.templates import describe_classes
from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import STD, Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.prompts.deep import CoupledTower, DeepTexts
from kzoo.adaptation.prompts.frozen import is_opening, needs
from kzoo.adaptation.prompts.mapper import Mapper, Proxy
from kzoo.adaptation.prompts.vpt import encoder_with
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, NOT_NEGATIVE, TABLE
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import l2_normalize
from kzoo.models.answers import Rule
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Tensor

DEPTH = 12  # of the paper, which is all blocks of its towers


@keras.saving.register_keras_serializable(package="kzoo")
class HiCroPL(PromptedClassifier):
    """Hierarchical cross-modal prompt learning: in early blocks textual prompts make the visual ones, in later blocks
    visual prompts the textual ones.

    Before each of the first `prompted_blocks` blocks of both towers stand `n_ctx` prompts. Up to `cross_layer` a proxy
    of the textual prompts of each block is made by attention, and all visual prompts of these blocks are mapped by
    cross-attention to these proxies; from there on it is the other way around. An embedding is the sum, at unit length,
    of that with prompts and that without: of a picture the tower's own, of a class that of its texts, `t_0`. To the
    cross-entropy is added `distill_weight` times how far both sums are from what stood without prompts: one minus the
    mean cosine of pictures, and of classes. A step runs the text tower once and the image tower twice.

    Args:
        model, class_names, n_ctx, init: as of `MaPLe`.
        prompted_blocks: how many blocks have prompts, from the first; default 12, or all of the tower with fewer.
        cross_layer: the first block whose textual prompts are made of visual ones; default half of them.
        distill_weight: of what is added to the loss.
        descriptions: dict of each class name -> list of texts, whose mean is `t_0`; None: the text of `template`.
        template: as of `CoOp`.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`; `image_embeddings` are the sums.

    Raises:
        ValueError: as `MaPLe`; a `cross_layer` above `prompted_blocks`; descriptions of other classes.

    Layers and numbers are those of the authors' code, where `t_0` is of descriptions by a language model. What is
    mapped is not part of the gradient there, and overwrites the stored prompts at each call, in evaluation, too; here,
    as in the paper, mappers and proxies are trained, and a call changes nothing. First numbers are drawn for each
    block, where the code has them in common. Visual prompts stand where those of `MaPLe` do. 8 heads attend, or the
    largest number that divides 8 and the width.

    Example:
        >>> model = kzoo.adaptation.HiCroPL(clip, ["wren", "robin"], n_ctx=4, init="a photo of a")
        >>> model.compile(keras.optimizers.Adam(0.0025, epsilon=1e-3))
        >>> model.fit({"images": images, "labels": labels}, batch_size=32, epochs=50)

    Reference:
        Zheng et al., Hierarchical Cross-modal Prompt Learning for Vision-Language Models, 2025, arXiv 2507.14976.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT | None,
        "prompted_blocks": COUNT | None,
        "cross_layer": COUNT | None,
        "distill_weight": NOT_NEGATIVE,
        "init": CoOp.arguments["init"],
        "descriptions": TABLE | None,
    }
    reads_template = True

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        prompted_blocks=None,
        cross_layer=None,
        distill_weight=12.0,
        init=None,
        descriptions=None,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, template=template, **kwargs)
        image, text = self.model.image_encoder, self.model.text_encoder
        for tower in (image, text):
            needs(tower, "prompts")
        least = min(image.num_blocks, text.num_blocks)
        blocks = prompted_blocks or min(DEPTH, least)
        if blocks > least:
            raise ValueError(f"prompted_blocks is {blocks}, but a tower has {least} blocks; give at most as many.")
        cross = cross_layer or max(blocks // 2, 1)
        if cross > blocks:
            raise ValueError(f"cross_layer is {cross}, but {blocks} blocks have prompts; give at most as many.")
        self.distill_weight, self.cross = distill_weight, cross
        self._describe(descriptions)
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        count, width = self.context.count, self.context.width

        def prompts(name, number, channels):
            shape, initializer = (count, channels), Normal(stddev=STD)
            return self.add_weight(name=f"{name}_{number}", shape=shape, initializer=initializer, autocast=False)

        self.further = [prompts("further", number, width) for number in range(1, blocks)]
        self.visual = [prompts("visual", number, image.width) for number in range(blocks)]
        # -- layers --
        self.text_proxies = [Proxy(width, name=f"text_proxy_{number}") for number in range(cross)]
        self.visual_proxies = [Proxy(image.width, name=f"visual_proxy_{number}") for number in range(cross, blocks)]
        self.to_visual = Mapper(image.width, width, name="to_visual")
        self.to_text = Mapper(width, image.width, name="to_text") if cross < blocks else None
        self.texts = DeepTexts(self.context, text)
        self.prompted = CoupledTower(
            image, self.visual_prompts, count, blocks, adds_plain=True, name="prompted_image_encoder"
        )
        self.settle_prompts()

    def _describe(self, descriptions):
        if descriptions is None:
            return
        if {*descriptions} != {*self.class_names}:
            odd = sorted({*descriptions} ^ {*self.class_names})[0]
            raise ValueError(f"descriptions and class names differ, such as by {odd!r}; describe each class.")
        texts = {name: descriptions[name] for name in self.class_names}
        texts = {name: [own] if isinstance(own, str) else list(own) for name, own in texts.items()}
        self._arguments["descriptions"] = texts
        if not is_opening():
            self.zero_shot.assign(describe_classes(self.model.encode_text, texts)[1])

    def modalities(self) -> dict:
        return {"image": self.prompted}

    def towers(self) -> dict:
        return {"image_encoder": self.prompted}

    # -- forward --
    def text_prompts(self) -> list[Tensor]:
        """The tokens before each block of the text tower, `(n_ctx, width)` each."""
        own = [ops.convert_to_tensor(each) for each in (self.context.vectors, *self.further)]
        if self.to_text is None:
            return own
        later = [ops.convert_to_tensor(each) for each in self.visual[self.cross :]]
        return [*own[: self.cross], *_mapped(own[self.cross :], later, self.visual_proxies, self.to_text)]

    def visual_prompts(self) -> list[Tensor]:
        """The tokens before each block of the image tower, `(n_ctx, width)` each."""
        own = [ops.convert_to_tensor(each) for each in self.visual]
        texts = [ops.convert_to_tensor(each) for each in (self.context.vectors, *self.further)[: self.cross]]
        return [*_mapped(own[: self.cross], texts, self.text_proxies, self.to_visual), *own[self.cross :]]

    def _class_sums(self):
        """Sums of the class embeddings with prompts and without, both at unit length, `(classes, embed_dim)`."""
        return self.texts.embed(self.text_prompts()) + ops.convert_to_tensor(self.zero_shot)

    def embed_classes(self, training=None) -> Tensor:
        return l2_normalize(self._class_sums())

    def rules(self, batch) -> list:
        return [Rule(("image_embeddings", "image_features"), ("logits",), self._logits_of_sums)]

    def _logits_of_sums(self, images, sums, training):
        classes = self._class_sums()
        if self.distill_weight:
            self.add_loss(self.distill_weight * (_left(sums) + _left(classes)))
        return (self.similarity(images, l2_normalize(classes)),)

    # -- use --
    def encoder(self) -> DualEncoder:
        """The dual encoder that embeds pictures as this model does, its prompts as they are now."""
        return encoder_with(self, self.prompted.baked())


def _mapped(prompts, others, proxies, mapper):
    """Prompts of some blocks as a mapper makes them of the proxies of others, list of `(n_ctx, width)`."""
    found = ops.concatenate([proxy(each) for proxy, each in zip(proxies, others, strict=True)], axis=0)
    mapped = mapper(ops.stack([1.0 * each for each in prompts]), found)  # of weights TensorFlow makes no stack
    return [mapped[number] for number in range(len(prompts))]


def _left(sums):
    """One minus the mean cosine of `a + b` and `b`, of unit vectors: that cosine is half the length of the sum."""
    lengths = ops.sqrt(ops.maximum(ops.sum(ops.square(ops.cast(sums, "float32")), axis=-1), 1e-12))
    return 1.0 - ops.mean(lengths) / 2.0
