"""DenseCLIP: score maps of classes, one number for each place of a picture."""

from typing import NoReturn

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.prompts.by_picture import ClassesByPicture
from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.prompts.context_decoder import ContextDecoder
from kzoo.adaptation.prompts.counted import accuracy_of
from kzoo.arguments import COUNT, FLAG, POSITIVE, takes
from kzoo.encoders.dense import check_dense, dense_embeddings
from kzoo.evaluation.zero_shot import softmax
from kzoo.inference.embed import BATCH_SIZE
from kzoo.layers.numerics import l2_normalize
from kzoo.models.answers import Rule
from kzoo.types import Array

NO_CLASS = -1  # a label that does not count
CONTEXT = 8  # vectors: a text of 13 tokens, of which the name has 5


@keras.saving.register_keras_serializable(package="kzoo")
class DenseCLIP(ClassesByPicture):
    """Score maps: how near each place of a picture is to each class, trained on pictures whose places have labels.

    Places are the tokens of the image tower, brought into the space of its embedding; texts have a learned context, as
    `CoOp`'s, and are moved by what a decoder makes of the picture: `t + gamma * decoder(t, [whole; places])`, with a
    gain of each channel that begins small. The score map is their cosine. Trained are context, decoder, gains and,
    unless it is locked, the image tower; the text tower stays as it is.

    A head for segmentation reads `scored_map`, the last feature map with the scores behind its channels.

    Args:
        model: as of `CoOp`; its image tower is a ViT that pools its class token or an average, or a ResNet.
        class_names: as of `CoOp`.
        n_ctx: vectors of the context.
        depth: blocks of the decoder; 3 in the paper, 6 by default in its code.
        width: of the decoder.
        num_heads: of the decoder.
        gamma_init: what the gains begin as.
        tau: the scores are divided by it for the loss.
        train_backbone: train the image tower, at a tenth of the learning rate.

    Inputs:
        dict with `images`, as in `DualEncoder`, and for the loss `labels` int `(batch, any, any)`, places in
            `class_names` of a map of any size, of which the nearest label is taken for each place; -1 does not count.

    Returns:
        dict: `image_embeddings`, `score_maps` `(batch, rows, columns, classes)`, cosines; and by request
        `scored_map` `(batch, rows, columns, token_dim + classes)`.

    Raises:
        ValueError: as `CoOp`; an image tower whose tokens are in no space of embeddings.

    Texts, decoder and first numbers are those of the authors' code, with a full stop behind each name, as CoOp has it.
    The cross-entropy on score maps is auxiliary there, beside that of a segmentation head (Semantic FPN), which is the
    caller's here; their heads see maps of several blocks.

    Example:
        >>> model = kzoo.adaptation.DenseCLIP(clip, ["sky", "grass", "bird"])
        >>> model.compile(kzoo.training.AdamW(1e-4))
        >>> model.fit({"images": images, "labels": label_maps}, batch_size=16, epochs=20)
        >>> model.segment(["meadow.jpg"]).argmax(axis=-1)

    Reference:
        Rao et al., DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting, 2021, arXiv 2112.01518.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT,
        "depth": COUNT,
        "gamma_init": POSITIVE,
        "tau": POSITIVE,
        "train_backbone": FLAG,
    }

    def __init__(
        self,
        model,
        class_names,
        n_ctx=CONTEXT,
        depth=3,
        width=256,
        num_heads=4,
        gamma_init=1e-4,
        tau=0.07,
        train_backbone=True,
        **kwargs,
    ):
        super().__init__(model, class_names, **kwargs)
        tower = self.model.image_encoder
        check_dense(tower)
        self.tau, self.train_backbone = tau, train_backbone
        self.context = Context(self.model, self.class_names, n_ctx, std=1.0)
        self.decoder = ContextDecoder(self.embed_dim, depth, width, num_heads, name="decoder")
        gains = keras.initializers.Constant(gamma_init)
        self.gamma = self.add_weight(name="gamma", shape=(self.embed_dim,), initializer=gains, autocast=False)
        if train_backbone:
            self.model.trainable = True
            self.model.text_encoder.trainable = self.model.similarity.trainable = False
        loss = {"loss": "Captioning", "inputs": ["cell_logits", "cell_labels"], "mask": "cell_mask"}
        self.settle(self.model.similarity, (), None, self.model.preprocessor, (loss,))

    def rate_ratios(self) -> dict:
        """Id of a variable -> what its learning rate is multiplied by."""
        return {id(each): 0.1 for each in self.model.image_encoder.trainable_variables}

    def shapes(self) -> dict:
        rows, columns = self.model.image_encoder.grid
        classes, width = len(self.class_names), self.model.image_encoder.token_dim
        known = {name: each for name, each in super().shapes().items() if name != "logits"}
        return known | {
            "score_maps": (None, rows, columns, classes),
            "scored_map": (None, rows, columns, width + classes),
            "cell_logits": (None, rows * columns, classes),
            "cell_labels": (None, rows * columns),
            "cell_mask": (None, rows * columns),
        }

    # -- forward --
    def rules(self, batch) -> list:
        reads = ("image_features", "image_tokens")
        found = [Rule(reads, ("score_maps", "scored_map", "cell_logits"), self._scored)]
        if "labels" in batch:
            found.append(Rule(("labels",), ("cell_labels", "cell_mask"), self._labelled))
        return found

    def default_outputs(self, batch, slots) -> list:
        return ["image_embeddings", "score_maps"]

    def _scored(self, whole, tokens, training):
        tower, (rows, columns) = self.model.image_encoder, self.model.image_encoder.grid
        places = ops.cast(dense_embeddings(tower, tokens), "float32")  # (batch, rows * columns, embed_dim)
        texts = self.context.features(self.model.text_encoder)[None]  # (1, classes, embed_dim)
        texts = texts + ops.zeros_like(places[:, :1])  # for each picture
        memory = ops.concatenate([ops.cast(whole, "float32")[:, None], places], axis=1)
        texts = texts + self.gamma * self.decoder(texts, memory, training=training)
        scores = ops.matmul(l2_normalize(places), ops.transpose(l2_normalize(texts), (0, 2, 1)))
        maps = ops.reshape(scores, (-1, rows, columns, scores.shape[-1]))
        tokens = ops.cast(tokens[:, tower.prefix_tokens :], "float32")
        features = ops.reshape(tokens, (-1, rows, columns, tokens.shape[-1]))
        return maps, ops.concatenate([features, maps], axis=-1), scores / self.tau

    def _labelled(self, labels, training):
        rows, columns = self.model.image_encoder.grid
        labels = ops.cast(labels, "int32")
        for axis, count in ((1, rows), (2, columns)):
            size = labels.shape[axis]
            labels = ops.take(labels, ((np.arange(count) + 0.5) * size / count).astype("int32"), axis=axis)
        labels = ops.reshape(labels, (-1, rows * columns))
        counts = ops.not_equal(labels, NO_CLASS)
        return ops.where(counts, labels, 0), counts

    def measured(self, loss) -> dict:
        names = ("cell_logits", "cell_labels")
        return {"cell_accuracy": accuracy_of(*names, "cell_mask")} if {*names} <= {*loss.reading()} else {}

    # -- checks --
    def check_fed(self, batch, read) -> None:
        super().check_fed(batch, read)
        labels = batch.get("labels")
        if labels is None or not hasattr(labels, "shape"):
            return
        if len(labels.shape) != 3:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}, but (batch, rows, columns) is expected, a class for each "
                "place."
            )
        if isinstance(labels, np.ndarray) and labels.size:
            low, high = labels.min(), labels.max()
            if low < NO_CLASS or high >= len(self.class_names):
                raise ValueError(
                    f"labels are from {low} to {high}, but 0 to {len(self.class_names) - 1} is expected, or -1 where "
                    "there is no class."
                )

    # -- use --
    @takes(batch_size=COUNT)
    def segment(self, images, batch_size=BATCH_SIZE) -> Array:
        """Probabilities of the classes at each place.

        Args:
            images, batch_size: as in `DualEncoder.encode_image`.

        Returns:
            float32 array `(n, rows, columns, classes)`, the softmax of the scores by `tau`; the last axis sums to 1.

        Raises:
            ValueError: no pictures, or one that cannot be read.
        """
        maps = self._of_pictures(images, batch_size, "score_maps")
        return softmax(maps.reshape(-1, maps.shape[-1]) / self.tau).reshape(maps.shape)

    def classify(self, images, batch_size=BATCH_SIZE) -> NoReturn:
        """Refused: there is a class at each place, see `segment`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("DenseCLIP says of each place of a picture what is there; call segment(images).")

    logits = classify
