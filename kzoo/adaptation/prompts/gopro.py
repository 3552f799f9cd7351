"""GOPro: a context made of what a picture shows and how it looks, the same for all views of it."""

import keras
from keras import ops

from kzoo.adaptation.prompts.by_picture import ClassesByPicture
from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.prompts.frozen import needs
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, NOT_NEGATIVE, POSITIVE, takes
from kzoo.data import ViewDataset, views
from kzoo.layers.numerics import BatchNormalization
from kzoo.losses import NTXent
from kzoo.models.answers import Rule
from kzoo.models.slots import Slot
from kzoo.preprocessing import Augmentation, AugMix
from kzoo.types import Tensor

VIEWS = ("view_1", "view_2", "view_3")  # the picture as it is, by MoCo v3's augmentation, by AugMix
EPSILON = 1e-8  # of a variance


@keras.saving.register_keras_serializable(package="kzoo")
class GOPro(ClassesByPicture):
    """Generated prompts: CoOp's context, moved for each picture by its style and content, and trained so that other
    views of it give the same classes.

    After each block of the image tower, style is the mean of the channels' means and deviations over tokens, content
    their means; both go through linear layers of their own to the width of a text, and are averaged. A linear map over
    the blocks makes a vector for each slot of the context. To the cross-entropy is added how far the class embeddings
    of both other views are from those of the picture, in the mean squared difference of each; and `view_weight` times
    SimCLR's loss of picture and second view, behind a linear layer with a batch norm.

    The texts of all classes are embedded anew for each picture and view, as by `CoCoOp`: `micro_batch_size` of
    `compile` holds the memory of a few, and SimCLR's loss compares those with each other.

    Args:
        model: as of `CoOp`; its image tower is a transformer of kzoo.
        class_names, n_ctx, init, knowledge_weight, template: as of `CoOp`.
        view_weight: of SimCLR's loss.
        simclr_temperature: of SimCLR's loss.

    Inputs:
        as `CoOp`, with pictures and labels alone trained by the cross-entropy. With `view_1`, `view_2` and `view_3` in
        the place of `images`, as `views` gives them, by all of it.

    Returns:
        as `CoOp`.

    Raises:
        ValueError: as `CoOp`; an image tower whose blocks cannot be asked.

    Losses and projectors are those of the authors' code, which makes all slots alike by one map for all, and does not
    train the layer before SimCLR's loss; the map for each slot is the paper's, and the layer is trained here. Layers
    begin as Keras' do.

    Example:
        >>> model = kzoo.adaptation.GOPro(clip, ["wren", "robin"])
        >>> model.compile(keras.optimizers.SGD(0.002, momentum=0.9))
        >>> model.fit(model.views(photos, labels, batch_size=4), epochs=10)

    Reference:
        Singha et al., GOPro: Generate and Optimize Prompts in CLIP using Self-Supervised Learning, 2023, arXiv
        2308.11605.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT | None,
        "init": CoOp.arguments["init"],
        "view_weight": NOT_NEGATIVE,
        "simclr_temperature": POSITIVE,
    }

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        init="a photo of a",
        view_weight=0.1,
        simclr_temperature=0.1,
        knowledge_weight=0.0,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, knowledge_weight, template, **kwargs)
        tower = self.model.image_encoder
        needs(tower, "layers")
        self.view_weight = view_weight
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        blocks, width, count = tower.num_blocks, self.context.width, self.context.count

        def projections(name):
            # of each block one: the spread is that of a matrix alone
            limit = (6.0 / (tower.token_dim + width)) ** 0.5
            spread = keras.initializers.RandomUniform(-limit, limit)
            shape = (blocks, tower.token_dim, width)
            kernel = self.add_weight(name=f"{name}_kernel", shape=shape, initializer=spread, autocast=False)
            bias = self.add_weight(name=f"{name}_bias", shape=(blocks, width), initializer="zeros", autocast=False)
            return kernel, bias

        self.style, self.content = projections("style"), projections("content")
        self.slots_of = keras.layers.Dense(count, dtype="float32", name="slots")
        self.slots_of.build((None, width, blocks))
        self.view_projection = keras.layers.Dense(self.embed_dim, dtype="float32", name="view_projection")
        self.view_norm = BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32", name="view_norm")
        for layer in (self.view_projection, self.view_norm):
            layer.build((None, self.embed_dim))
        self.contrast = NTXent(simclr_temperature, name="contrast")
        self.settle_prompts()

    # -- data --
    @takes(batch_size=COUNT)
    def views(self, images, labels, batch_size=4, **options) -> ViewDataset:
        """A data set for `fit`: each picture as it is, by MoCo v3's augmentation and by AugMix, with its label.

        Args:
            images: pictures, as `kzoo.data.views` takes them in a dict.
            labels: int array `(n,)`, places in `class_names`.
            batch_size: pictures of a step, at least 2.
            **options: of `kzoo.data.views`, such as `seed`.

        Returns:
            `kzoo.data.ViewDataset`.
        """
        plain = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0))
        made = {"views": 3, "augmentation": (plain, Augmentation.moco_v3()[0], AugMix())}
        return views({"images": images, "labels": labels}, self.preprocessor, batch_size, **made, **options)

    def slots(self, batch) -> list:
        if VIEWS[0] not in batch:
            return super().slots(batch)
        names = ("image", *(f"{name}_image" for name in VIEWS[1:]))
        return [Slot(name, "image", {"images": view}) for name, view in zip(names, VIEWS) if view in batch]

    # -- forward --
    def rules(self, batch) -> list:
        reads = ["image_embeddings", "image_layer_tokens"]
        if {*VIEWS} <= {*batch}:
            reads += ["view_2_image_embeddings", "view_2_image_layer_tokens", "view_3_image_layer_tokens"]
        return [Rule(tuple(reads), ("logits",), self._logits_of_views)]

    def _logits_of_views(self, images, tokens, *others, training):
        classes = self._classes(tokens)
        self.stay_near(classes)
        if others:
            seen, tokens_2, tokens_3 = others
            for view in (tokens_2, tokens_3):
                self.add_loss(ops.mean(ops.square(classes - self._classes(view))))
            projected = [self.view_norm(self.view_projection(each), training=training) for each in (images, seen)]
            self.add_loss(self.view_weight * self.contrast(*projected))
        else:  # nothing, so that all that is trained has a gradient
            self.add_loss(0.0 * ops.sum(self.view_norm(self.view_projection(images), training=False)))
        return (self.compared(images, classes),)

    def _classes(self, tokens):
        """Class embeddings `(batch, classes, embed_dim)` by the tokens of a view, `(batch, blocks, tokens, width)`."""
        tokens = ops.cast(tokens, "float32")
        means = ops.mean(tokens, axis=2)  # (batch, blocks, width)
        spread = ops.sqrt(ops.mean(ops.square(tokens - means[:, :, None]), axis=2) + EPSILON)
        style, content = _projected((means + spread) / 2, *self.style), _projected(means, *self.content)
        mixed = ops.transpose((style + content) / 2, (0, 2, 1))  # (batch, text width, blocks)
        shift = ops.transpose(self.slots_of(mixed), (0, 2, 1))  # (batch, n_ctx, text width)
        vectors = ops.convert_to_tensor(self.context.vectors) + shift
        return self.context.embed(self.model.text_encoder, vectors)


def _projected(x, kernel, bias) -> Tensor:
    """A linear layer of each block: `(batch, blocks, width)` to `(batch, blocks, text width)`."""
    return ops.einsum("blw,lwd->bld", x, ops.convert_to_tensor(kernel)) + ops.convert_to_tensor(bias)
