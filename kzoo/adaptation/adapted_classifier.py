"""A model and a classifier of its embeddings as one object: pictures in, classes out."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from kzoo.adaptation.classifiers.arrays import labels_of
from kzoo.adaptation.classifiers.classifier import CLASSIFIER_FILE, EmbeddingClassifier
from kzoo.arguments import COUNT, FLAG, NAME, PATH, Checked, able, instance, takes
from kzoo.backend import explain_missing
from kzoo.evaluation.zero_shot import softmax
from kzoo.inference.embed import BATCH_SIZE
from kzoo.types import Array

MODEL_FILE = "classifier.keras"  # of a classifier whose classes depend on the picture
ENCODER = able("encode_image embed_dim", "a model of pictures and texts, or an export of one")


class AdaptedClassifier(Checked):
    """A model that embeds pictures, and a classifier of its embeddings: what `kzoo.adapt` gives.

    Args:
        encoder: a `kzoo.DualEncoder`, or an export opened by `kzoo.export.runtime`.
        classifier: a `kzoo.adaptation.EmbeddingClassifier` that was made with it.

    Attributes:
        classes: tuple of names.

    Raises:
        ValueError: a classifier of embeddings of another width.

    Example:
        >>> adapted = kzoo.adapt(model, "photos/", method="gda", shots=8).model
        >>> [adapted.classes[place] for place in adapted.predict(["wren.jpg"])]
        ['wren']
        >>> adapted.export("birds_onnx")
        >>> kzoo.adaptation.AdaptedClassifier.load("birds_onnx").predict(["wren.jpg"])  # without Keras
        array([3])
    """

    arguments: ClassVar[dict] = {
        "encoder": ENCODER,
        "classifier": instance(EmbeddingClassifier, "a kzoo.adaptation.EmbeddingClassifier"),
    }

    def __init__(self, encoder, classifier):
        if classifier.dim != encoder.embed_dim:
            raise ValueError(
                f"the classifier is of embeddings of {classifier.dim} channels, but the model gives "
                f"{encoder.embed_dim}; give the model that it was made with."
            )
        self.encoder, self.classifier = encoder, classifier

    def __repr__(self) -> str:
        name = getattr(self.encoder, "name", type(self.encoder).__name__)
        return f"<AdaptedClassifier of {len(self.classes)} classes, {type(self.classifier).__name__} on {name}>"

    @property
    def classes(self) -> tuple:
        return self.classifier.classes

    # -- in use --
    @takes(batch_size=COUNT)
    def logits(self, images, batch_size=BATCH_SIZE) -> Array:
        """Scores of each class, the larger the likelier.

        Args:
            images: as in `DualEncoder.encode_image`; embeddings are welcome.
            batch_size: pictures per forward pass.

        Returns:
            float32 array `(n, classes)`.

        Raises:
            ValueError: no pictures, or one that cannot be read.
        """
        return self.classifier.logits(self.encoder.encode_image(images, batch_size))

    @takes(batch_size=COUNT)
    def classify(self, images, batch_size=BATCH_SIZE) -> Array:
        """Shares of the classes: the softmax of `logits`, which are probabilities as far as the method gives such.

        Args:
            images, batch_size: as in `logits`.

        Returns:
            float32 array `(n, classes)`; rows sum to 1.

        Raises:
            ValueError: as `logits`.

        Example:
            >>> adapted.classify(["wren.jpg"]).max(axis=-1)
            array([0.98], dtype=float32)
        """
        return softmax(self.logits(images, batch_size))

    @takes(batch_size=COUNT)
    def predict(self, images, batch_size=BATCH_SIZE) -> Array:
        """The class of each picture.

        Args:
            images, batch_size: as in `logits`.

        Returns:
            int64 array `(n,)`, places in `classes`.

        Raises:
            ValueError: as `logits`.
        """
        return self.logits(images, batch_size).argmax(axis=1)

    @takes(batch_size=COUNT)
    def accuracy(self, images, labels, batch_size=BATCH_SIZE) -> float:
        """Share of pictures whose class is found.

        Args:
            images, batch_size: as in `logits`.
            labels: int array `(n,)`, places in `classes`.

        Returns:
            float in [0, 1].

        Raises:
            ValueError: as `logits`; labels out of range, or another number of them.
        """
        found = self.predict(images, batch_size)
        return float(np.mean(found == labels_of(labels, len(found), len(self.classes))))

    # -- files --
    @takes(folder=PATH, overwrite=FLAG)
    def save(self, folder, overwrite=False) -> None:
        """Write model and classifier into a folder, both or neither, that `load` opens; `kzoo.from_preset` opens the
        model in it.

        Args:
            folder: path; made if it is not there.
            overwrite: as in `DualEncoder.save_to_preset`.

        The classifier is `classifier.safetensors`, of some kilobytes; with `adapted.classifier.save(...)` it alone is
        written, where the model lies elsewhere.

        Raises:
            TypeError: the encoder is an export, which lies in its folder already.
            OSError: the folder cannot be written, or holds something else.
        """
        if not hasattr(self.encoder, "save_to_preset"):
            raise TypeError(
                f"the encoder is of type {type(self.encoder).__name__}, an export with a folder of its own; write the "
                f"classifier beside it: adapted.classifier.save('FOLDER/{CLASSIFIER_FILE}')."
            )
        from kzoo.presets.save import save

        save(self.encoder, folder, overwrite=overwrite, beside=self._file())

    @takes(folder=PATH, format=NAME)
    def export(self, folder, format="onnx", **kwargs) -> dict:
        """Write the model as verified graphs with the classifier beside them, all or none, that `load` opens without
        Keras.

        Args:
            folder, format, **kwargs: as in `DualEncoder.export`.

        Returns:
            dict: the manifest.

        Raises:
            TypeError: the encoder is an export already.
            ValueError, OSError: as `DualEncoder.export`.
        """
        if not hasattr(self.encoder, "export"):
            raise TypeError(f"the encoder is of type {type(self.encoder).__name__}, an export already.")
        return self.encoder.export(folder, format, beside=self._file(), **kwargs)

    def _file(self):
        """What is written beside the model: name -> bytes."""
        with TemporaryDirectory() as place:
            self.classifier.save(Path(place) / CLASSIFIER_FILE)
            return {CLASSIFIER_FILE: (Path(place) / CLASSIFIER_FILE).read_bytes()}

    @classmethod
    @takes(folder=PATH)
    def load(cls, folder) -> "AdaptedClassifier":
        """Open a folder that `save` or `export` wrote; the latter needs no Keras.

        Args:
            folder: path.

        Raises:
            ValueError: a folder of neither, one without a classifier, or one whose classifier is of another model.

        Example:
            >>> kzoo.adaptation.AdaptedClassifier.load("birds").classes
            ('crow', 'robin', 'wren')
        """
        from kzoo.export.manifest import MANIFEST_FILE
        from kzoo.files.writing import readable

        place = readable(Path(folder))
        if (place / MODEL_FILE).is_file():
            _needs_keras()
            from kzoo.adaptation.adapted_model import AdaptedModel
            from kzoo.saving import load_model

            return AdaptedModel(load_model(place / MODEL_FILE, compile=False))
        if not (place / CLASSIFIER_FILE).is_file():
            raise ValueError(
                f"{folder} has no {CLASSIFIER_FILE}; give a folder that AdaptedClassifier.save or export wrote."
            )
        classifier = EmbeddingClassifier.load(place / CLASSIFIER_FILE)
        if (place / MANIFEST_FILE).exists() and not (place / "config.json").exists():
            from kzoo.export import runtime

            return AdaptedClassifier(runtime.load(folder), classifier)
        _needs_keras()
        from kzoo.presets.loader import from_preset

        return AdaptedClassifier(from_preset(folder), classifier)


def _needs_keras():
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        raise explain_missing(error) from error
