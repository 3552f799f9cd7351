"""CoCoOp: a context that depends on the picture."""

import keras
from keras import ops

from kzoo.adaptation.prompts.by_picture import ClassesByPicture
from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT
from kzoo.models.answers import Rule


@keras.saving.register_keras_serializable(package="kzoo")
class CoCoOp(ClassesByPicture):
    """Conditional context optimisation: CoOp's context, moved for each picture by a small network that reads it.

    Each vector of the context is moved by the same `h(f)`, with `f` the picture's embedding at unit length and `h` two
    linear layers with a relu between them. Classes that were not trained are told apart better than by `CoOp`.

    The texts of all classes are embedded anew for each picture: a step runs the text tower on `batch * classes` texts.
    Give `compile` a `micro_batch_size` of a few pictures, or one, and the memory is that of so many, with the same
    gradients; it holds for `evaluate` and `classify` as well.

    Args:
        model, class_names, n_ctx, init, knowledge_weight, template: as of `CoOp`.
        reduction: the width between the linear layers is that of the embedding, divided by this.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`.

    Raises:
        ValueError: as `CoOp`; a `reduction` above the width of the embedding.

    The authors train one picture a step for 10 epochs, by SGD with 0.002. Layers and input are those of their code; the
    layers begin as Keras' do.

    Example:
        >>> model = kzoo.adaptation.CoCoOp(clip, ["wren", "robin"])
        >>> model.compile(keras.optimizers.SGD(0.002, momentum=0.9), micro_batch_size=1)
        >>> model.fit({"images": images, "labels": labels}, batch_size=8, epochs=10)

    Reference:
        Zhou et al., Conditional Prompt Learning for Vision-Language Models, 2022, arXiv 2203.05557.
    """

    arguments = (
        PromptedClassifier.arguments | {"n_ctx": COUNT | None, "init": CoOp.arguments["init"]} | {"reduction": COUNT}
    )

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        init="a photo of a",
        reduction=16,
        knowledge_weight=0.0,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, knowledge_weight, template, **kwargs)
        if reduction > self.embed_dim:
            raise ValueError(
                f"reduction is {reduction}, but the embedding has {self.embed_dim} channels; give at most as many."
            )
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        hidden, width = self.embed_dim // reduction, self.context.width
        self.meta_hidden = keras.layers.Dense(hidden, activation="relu", dtype="float32", name="meta_hidden")
        self.meta_output = keras.layers.Dense(width, dtype="float32", name="meta_output")
        self.meta_hidden.build((None, self.embed_dim))
        self.meta_output.build((None, hidden))
        self.settle_prompts()

    def rules(self, batch) -> list:
        return [Rule(("image_embeddings",), ("logits",), self._logits_of_each)]

    def _logits_of_each(self, images, training):
        shift = self.meta_output(self.meta_hidden(images))  # (batch, width)
        vectors = ops.convert_to_tensor(self.context.vectors) + shift[:, None]  # (batch, n_ctx, width)
        classes = self.context.embed(self.model.text_encoder, vectors)  # (batch, classes, embed_dim)
        self.stay_near(classes)
        return (self.compared(images, classes),)
