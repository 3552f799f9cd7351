"""A classifier that reads the picture before it says what a class is, as one object with what `kzoo.adapt` gives."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from kzoo.adaptation.adapted_classifier import MODEL_FILE, AdaptedClassifier
from kzoo.arguments import COUNT, FLAG, NAME, PATH, able, takes
from kzoo.inference.embed import BATCH_SIZE
from kzoo.types import Array


class AdaptedModel(AdaptedClassifier):
    """A trained model whose class embeddings depend on the picture, such as `CoCoOp`: what `kzoo.adapt` gives of one.

    No classifier of embeddings can be made of it, so it runs with Keras alone and has no export; all else is as of
    `kzoo.adaptation.AdaptedClassifier`.

    Args:
        model: a `kzoo.adaptation.prompts.classifier.PromptedClassifier`.

    Attributes:
        classes: tuple of names.

    Example:
        >>> adapted = kzoo.adapt(model, "photos/", method="cocoop", shots=8).model
        >>> adapted.save("birds")
    """

    arguments: ClassVar[dict] = {"model": able("bake class_names logits", "a trained model of prompts")}

    def __init__(self, model):
        self.encoder = self.model = model
        self.classifier = None

    def __repr__(self) -> str:
        return f"<AdaptedModel of {len(self.classes)} classes, {type(self.model).__name__}>"

    @property
    def classes(self) -> tuple:
        return self.model.class_names

    @takes(batch_size=COUNT)
    def logits(self, images, batch_size=BATCH_SIZE) -> Array:
        """As of `AdaptedClassifier`; of pictures alone, not of embeddings."""
        return self.model.logits(images, batch_size)

    @takes(folder=PATH, overwrite=FLAG)
    def save(self, folder, overwrite=False) -> None:
        """Write it into a folder that `AdaptedClassifier.load` opens; `kzoo.from_preset` opens its encoder there.

        Args:
            folder, overwrite: as of `AdaptedClassifier.save`. The file `classifier.keras` is the whole model.

        Raises:
            OSError: the folder cannot be written, or holds something else.
        """
        from kzoo.presets.save import save

        with TemporaryDirectory() as place:
            self.model.save(Path(place) / MODEL_FILE)
            content = (Path(place) / MODEL_FILE).read_bytes()
        save(self.model.encoder(), folder, overwrite=overwrite, beside={MODEL_FILE: content})

    @takes(folder=PATH, format=NAME)
    def export(self, folder, format="onnx", **kwargs) -> Any:
        """Refused: there is no one embedding of a class.

        Raises:
            NotImplementedError: always.
        """
        self.model.bake()
        raise NotImplementedError(f"{type(self.model).__name__} has no export.")
