"""The classifier that prompts make of a dual encoder: pictures in, logits over named classes out."""

from collections.abc import Callable
from typing import Self

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.adapted_classifier import AdaptedClassifier
from kzoo.adaptation.classifiers.arrays import classes_of
from kzoo.adaptation.classifiers.zero_shot import ZeroShot
from kzoo.adaptation.prompts.frozen import frozen_copy, is_opening, opening
from kzoo.adaptation.texts import TEMPLATE, embedded_classes
from kzoo.arguments import COUNT, NOT_NEGATIVE, PATH, TEXT, able, takes
from kzoo.evaluation.zero_shot import fill_templates, softmax
from kzoo.inference.embed import BATCH_SIZE, Embedder, check_some, in_batches
from kzoo.models.answers import Rule
from kzoo.models.contrastive import ContrastiveModel
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Array, Tensor


class PromptedClassifier(ContrastiveModel):
    """Base of the classifiers made of a dual encoder whose weights stay and of prompts that are trained.

    Towers and similarity are copies with the weights that they had: the model that is given stays what it is, and what
    is trained of it later is not seen here. Nothing of them is trained.

    `fit` takes pictures and labels, `{"images": ..., "labels": ...}` or a data set that yields such dicts; the loss is
    the cross-entropy of the logits, unless `compile` is given another. `accuracy` is logged beside it.

    A subclass calls this constructor, makes the weights of its prompts, calls `settle_prompts`, and defines
    `embed_classes`, or `rules` where what it says of a class depends on the picture.

    Args:
        model: a dual encoder.
        class_names: list of names, all different.
        knowledge_weight: of the squared distance between the class embeddings and those of `template`, added to the
            loss.
        template: the text of a class without any prompt, with `{}` for its name.

    Inputs:
        dict with `images`, as in `DualEncoder`, and for the loss `labels` int `(batch,)`, places in `class_names`.

    Returns:
        dict: `image_embeddings` `(batch, embed_dim)` and `logits` `(batch, classes)`, float32.
    """

    tower_names = {"image": "image_encoder"}
    reads_template = False  # whether the method needs the classes of the template, whatever is asked for
    arguments = ContrastiveModel.arguments | {
        "class_names": able("__iter__", "a list of names"),
        "knowledge_weight": NOT_NEGATIVE,
        "template": TEXT,
    }

    def __init__(self, model, class_names, knowledge_weight=0.0, template=TEMPLATE, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.class_names = classes_of(class_names)
        fill_templates(["a"], template)
        self.model = model if is_opening() else frozen_copy(model)
        self.model.trainable = False
        self._arguments.update(model=self.model, class_names=list(self.class_names))  # not the model that was given
        self.knowledge_weight, self.template, self.zero_shot = knowledge_weight, template, None
        if knowledge_weight or self.reads_template:
            self.zero_shot = self.add_weight(
                name="zero_shot",
                shape=(len(self.class_names), self.embed_dim),
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            if not is_opening():
                self.zero_shot.assign(self.template_embeddings())

    def settle_prompts(self) -> None:
        """Keep what every model has; the last call of a constructor."""
        self.settle(self.model.similarity, (), None, self.model.preprocessor, ({"loss": "CrossEntropy"},))

    # -- config --
    def get_config(self) -> dict:
        # a copy of the encoder, not the encoder: who makes a second model of this needs its own
        return super().get_config() | {"model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config) -> Self:
        with opening():
            return super().from_config(config)

    # -- parts --
    def modalities(self) -> dict:
        return {"image": self.model.image_encoder}

    def towers(self) -> dict:
        return {"image_encoder": self.model.image_encoder}

    @property
    def embed_dim(self) -> int:
        """Width of the shared space."""
        return self.model.embed_dim

    def shapes(self) -> dict:
        return super().shapes() | {"logits": (None, len(self.class_names))}

    # -- forward --
    def embed_classes(self, training=None) -> Tensor:
        """An embedding of each class, float32 `(classes, embed_dim)`, unit length."""
        raise NotImplementedError(f"{type(self).__name__} gives no class embeddings; define `embed_classes`.")

    def rules(self, batch) -> list:
        return [Rule(("image_embeddings",), ("logits",), self._logits)]

    def _logits(self, images, training):
        classes = self.embed_classes(training)
        self.stay_near(classes)
        return (self.similarity(images, classes),)

    def stay_near(self, classes) -> None:
        """Add to the loss how far class embeddings `(..., classes, embed_dim)` are from those of the template."""
        if self.knowledge_weight:
            distances = ops.sum(ops.square(classes - self.zero_shot), axis=-1)
            self.add_loss(self.knowledge_weight * ops.mean(distances))

    def default_outputs(self, batch, slots) -> list:
        return [*super().default_outputs(batch, slots), "logits"]

    def predicted(self, batch) -> list[str]:
        return self.default_outputs(batch, self.slots(batch))

    def measured(self, loss) -> dict[str, Callable]:
        return {"accuracy": _accuracy} if {"logits", "labels"} <= {*loss.reading()} else {}

    def wants(self, batch) -> str:
        return super().wants(batch).removesuffix(".") + ", with 'labels' (batch,) beside them to train."

    # -- use --
    def template_embeddings(self) -> Array:
        """What the classes are without prompts: the embedding of each in `template`, `(classes, embed_dim)`."""
        return embedded_classes(self.model, self.class_names, self.template)

    @takes(batch_size=COUNT)
    def encode_image(self, images, batch_size=BATCH_SIZE) -> Array:
        """Embed pictures as `bake()` takes them.

        Args:
            images, batch_size: as in `DualEncoder.encode_image`.

        Returns:
            float32 array `(n, embed_dim)`, unit length.

        Raises:
            ValueError: no pictures, or one that cannot be read.
        """
        return self._of_pictures(images, batch_size, "image_embeddings")

    @takes(batch_size=COUNT)
    def classify(self, images, batch_size=BATCH_SIZE) -> Array:
        """Probabilities of the classes.

        Args:
            images, batch_size: as in `DualEncoder.encode_image`.

        Returns:
            float32 array `(n, classes)`; rows sum to 1.

        Raises:
            ValueError: no pictures, or one that cannot be read.

        Example:
            >>> [model.class_names[place] for place in model.classify(["wren.jpg"]).argmax(axis=-1)]
            ['wren']
        """
        return softmax(self.logits(images, batch_size))

    @takes(batch_size=COUNT)
    def logits(self, images, batch_size=BATCH_SIZE) -> Array:
        """Scores of the classes before the softmax.

        Args:
            images, batch_size: as in `classify`.

        Returns:
            float32 array `(n, classes)`.

        Raises:
            ValueError: as `classify`.
        """
        return self._of_pictures(images, batch_size, "logits")

    def _of_pictures(self, images, batch_size, name):
        images = Embedder.as_list(images)
        check_some("images", images)

        def embed(batch):
            return np.asarray(self.predict_on_batch(batch)[name])

        return in_batches(len(images), batch_size, lambda part: self.preprocessor.encode_images(images[part]), embed)

    def encoder(self) -> DualEncoder:
        """The dual encoder that embeds pictures as this model does; its weights are this model's own, and locked."""
        return self.model

    def bake(self) -> ZeroShot:
        """The classifier that is left when the prompts have been read: an embedding of each class.

        It takes embeddings of `encode_image`, of this model, of `encoder()` or of an export, and is saved as a small
        file. A bias of the similarity, which all logits have alike, is not part of it.

        Returns:
            `kzoo.adaptation.ZeroShot`.

        Example:
            >>> classifier = model.bake()
            >>> classifier.accuracy(model.encode_image(photos), labels)
            0.94
        """
        embed = self.compiled_once("classes", lambda model: model.embed_classes)
        scale, _ = self.similarity.numbers()
        return ZeroShot(ops.convert_to_numpy(embed()), self.class_names, scale)

    @takes(folder=PATH)
    def export(self, folder, format="onnx", **kwargs) -> dict:
        """Write `encoder()` as verified graphs, and the baked classifier beside them.

        Args:
            folder, format, **kwargs: as in `DualEncoder.export`.

        Returns:
            dict: the manifest. `classifier.safetensors` in the folder is what `bake()` gives.

        Raises:
            ValueError, OSError: as `DualEncoder.export`, and before it what `bake` raises.

        Example:
            >>> model.export("birds_onnx")
            >>> encoder = kzoo.export.runtime.load("birds_onnx")
            >>> classifier = kzoo.adaptation.EmbeddingClassifier.load("birds_onnx/classifier.safetensors")
            >>> classifier.predict(encoder.encode_image(["wren.jpg"]))
            array([3])
        """
        return AdaptedClassifier(self.encoder(), self.bake()).export(folder, format, **kwargs)


def _accuracy(tensors):
    """Share of the pictures whose class has the largest logit."""
    found = ops.cast(ops.argmax(tensors["logits"], axis=-1), "int32")
    return ops.mean(ops.cast(ops.equal(found, ops.cast(ops.reshape(tensors["labels"], (-1,)), "int32")), "float32"))
