"""Classifiers whose class embeddings depend on the picture."""

from typing import NoReturn

from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.types import Tensor


class ClassesByPicture(PromptedClassifier):
    """Base of the prompted classifiers that have class embeddings of their own for each picture."""

    def compared(self, images, classes) -> Tensor:
        """Logits `(batch, classes)` of pictures `(batch, embed_dim)` and classes `(batch, classes, embed_dim)`."""
        logits = self.similarity.scale * ops.einsum("bd,bcd->bc", images, classes)
        return logits if self.similarity.bias is None else logits + self.similarity.bias

    def bake(self) -> NoReturn:
        """Refused: there is no one embedding of a class.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"what {type(self).__name__} says of a class depends on the picture, so no classifier of fixed embeddings "
            "can be made of it, and none exported; keep the model with save('model.keras'), or train a CoOp."
        )
