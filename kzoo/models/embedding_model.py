"""Models whose towers meet in one space: lists of anything in, embeddings out."""

import keras
import numpy as np

from kzoo.inference.embed import Embedder
from kzoo.models.contrastive import ContrastiveModel
from kzoo.preprocessing import Preprocessor
from kzoo.types import Array

keras.saving.register_keras_serializable(package="kzoo")(Preprocessor)  # preprocessing itself knows no Keras


class EmbeddingModel(Embedder, ContrastiveModel):
    """Base of the models with `encode_image`, `encode_text` and `classify`."""

    def settle(self, similarity=None, *args, **kwargs) -> None:
        super().settle(similarity, *args, **kwargs)
        if similarity is not None:
            similarity.models.add(self)  # so that model.similarity(pictures, texts) knows who embeds them

    @property
    def embed_dim(self) -> int:
        """Width of the shared space."""
        return next(iter(self.modalities().values())).embed_dim

    def embed_batch(self, batch) -> Array:
        """Embeddings `(rows, embed_dim)` of a batch of one modality, unit length.

        Raises:
            ValueError: a modality that the model has no tower for.
        """
        found = self.predict_on_batch(batch) if self.slots(batch) else {}
        if not found:
            modality = "image" if "images" in batch else "text"
            raise ValueError(f"{self.name} has no {modality} tower: it embeds {', '.join(self.modalities())} alone.")
        (embeddings,) = found.values()
        return np.asarray(embeddings)

    def scale_and_bias(self) -> tuple[float, float]:
        return (1.0, 0.0) if self.similarity is None else self.similarity.numbers()


def check_widths(towers) -> None:
    """Stops unless the embeddings of all towers, modality -> tower, have the same width."""
    widths = {name: tower.embed_dim for name, tower in towers.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"the embeddings have different widths, {widths}; give all towers the same embed_dim.")


def check_pair(image_encoder, text_encoder) -> None:
    """Stops unless both embeddings of a pair have the same width."""
    if image_encoder.embed_dim != text_encoder.embed_dim:
        raise ValueError(
            f"the image embedding has {image_encoder.embed_dim} channels and the text embedding "
            f"{text_encoder.embed_dim}; give both towers the same embed_dim, a layer or model of Keras by a "
            "keras.layers.Dense behind it."
        )


def wants_pairs(batch) -> str:
    """The sentence for what is no batch of pictures, texts or both."""
    got = f"a dict with the keys {list(batch)}" if isinstance(batch, dict) else f"of type {type(batch).__name__}"
    return (
        f"a batch is {got}, but a dict of arrays is expected: 'images' (batch, height, width, 3), "
        "'token_ids' (batch, length), or both."
    )
