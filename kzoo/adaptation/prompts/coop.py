"""CoOp: the words around a class name, learned."""

import keras

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, FLAG, NAME, one_of
from kzoo.types import Tensor

CLASS_POSITIONS = ("end", "middle", "front")


@keras.saving.register_keras_serializable(package="kzoo")
class CoOp(PromptedClassifier):
    """Context optimisation: vectors in place of the words around a class name, trained on a few pictures of each class.

    The text of a class is `[start] context name. [end]`. The vectors stand for the embeddings of tokens, before
    positions; all else stays. With `init` the model begins as the zero-shot classifier of `"<init> <name>."`.

    Args:
        model: a dual encoder whose text tower runs from its embeddings, with a vocabulary. It is copied, and stays what
            it is.
        class_names: list of names, all different; an underscore is read as a space.
        n_ctx: vectors of the context; default 16, or as many as the longest name leaves room for, with `init` as many
            as its text has tokens; fewer than those leave the others text.
        class_specific: a context for each class, in place of one for all.
        class_position: where the name stands: `"end"`, behind the context; `"middle"`, behind its first half; or
            `"front"`.
        init: a text such as `"a photo of a"` that the context begins as; None: normal numbers of deviation 0.02.
        knowledge_weight: what is added to the loss is so much of the mean squared distance between the class
            embeddings and those of `template` (KgCoOp, which takes 8), so that classes that were not trained are
            not forgotten. For unit vectors it is twice one minus their cosine.
        template: the text of a class without a context, for `knowledge_weight`.

    Inputs:
        dict with `images`, as in `DualEncoder`, and for the loss `labels` int `(batch,)`, places in `class_names`.

    Returns:
        dict: `image_embeddings` `(batch, embed_dim)` and `logits` `(batch, classes)`, float32.

    Raises:
        ValueError: a model without a tower of pictures or texts, or whose text tower does not run from embeddings; a
            name that leaves no room for the context; `init` with a context for each class, or with a larger `n_ctx`.

    The authors train by SGD, 0.002 with a cosine to 0 and one epoch at 1e-5 first, 32 pictures a step, for 50 epochs
    with one picture of each class, 100 with 2 or 4, 200 with 8 or 16. Layout and initial numbers are those of their
    code, which gives `init` no more than one context for all classes. KgCoOp we know from the paper.

    Example:
        >>> model = kzoo.adaptation.CoOp(clip, ["wren", "robin"], init="a photo of a")
        >>> model.compile(keras.optimizers.SGD(0.002, momentum=0.9))
        >>> model.fit({"images": images, "labels": labels}, batch_size=32, epochs=50)
        >>> model.export("birds_onnx")

    Reference:
        Zhou et al., Learning to Prompt for Vision-Language Models, 2021, arXiv 2109.01134; Yao et al., KgCoOp, 2023,
        arXiv 2303.13283.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT | None,
        "class_specific": FLAG,
        "class_position": one_of(*CLASS_POSITIONS),
        "init": NAME.said("a text such as 'a photo of a'") | None,
    }

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        class_specific=False,
        class_position="end",
        init=None,
        knowledge_weight=0.0,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, knowledge_weight, template, **kwargs)
        self.context = Context(self.model, self.class_names, n_ctx, class_specific, class_position, init)
        self.settle_prompts()

    def embed_classes(self, training=None) -> Tensor:
        return self.context.embed(self.model.text_encoder)
