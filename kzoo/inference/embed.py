"""What a model and an exported model have in common: lists of anything in, embeddings out. In numpy."""

import os
from typing import Any

import numpy as np
from PIL import Image

from kzoo.arguments import COUNT, shown, takes
from kzoo.evaluation.directions import directions
from kzoo.evaluation.zero_shot import class_embeddings, fill_templates, softmax
from kzoo.types import Array

BATCH_SIZE = 64
IMAGES, TEXTS = "the image embeddings", "the text embeddings"


class Embedder:
    """`encode_image`, `encode_text` and `classify` on top of two batch functions.

    A subclass has `preprocessor` and `embed_dim`, and defines `embed_batch(batch)` (a dict with `images` or
    `token_ids` to unit-length float32 rows) and `scale_and_bias()`.
    """

    @takes(batch_size=COUNT)
    def encode_image(self, images, batch_size=BATCH_SIZE) -> Array:
        """Embed pictures.

        Args:
            images: list of paths, bytes, PIL images or arrays `(height, width, 3)` of any size, or one array
                `(n, height, width, 3)`. Embeddings `(n, embed_dim)`, of any length, come back at unit length.
            batch_size: pictures per forward pass.

        Returns:
            float32 array `(n, embed_dim)`, unit length.

        Raises:
            ValueError: no pictures, one that cannot be read, or an embedding that is zero or not finite.

        Example:
            >>> model.encode_image(["cat.jpg", pil_image]).shape
            (2, 512)
        """
        if self._is_embedding(images):
            return directions(np.asarray(images, "float32"), IMAGES)
        return self._in_batches(self.as_list(images), "images", batch_size, self._reader().encode_images)

    @takes(batch_size=COUNT)
    def encode_text(self, texts, batch_size=BATCH_SIZE) -> Array:
        """Embed texts.

        Args:
            texts: list of strings. Embeddings `(n, embed_dim)`, of any length, come back at unit length.
            batch_size: texts per forward pass.

        Returns:
            float32 array `(n, embed_dim)`, unit length.

        Raises:
            ValueError: no texts, a model without a vocabulary, or an embedding that is zero or not finite.
            TypeError: something else than strings.

        Example:
            >>> model.encode_text(["a photo of a cat"]).shape
            (1, 512)
        """
        if self._is_embedding(texts):
            return directions(np.asarray(texts, "float32"), TEXTS)
        return self._in_batches(self.as_list(texts), "texts", batch_size, self._reader().encode_texts)

    @takes(batch_size=COUNT)
    def classify(self, images, labels, templates="a photo of a {}.", batch_size=BATCH_SIZE) -> Array:
        """Zero-shot classification: which label's prompts are nearest to each picture?

        Args:
            images: as in `encode_image`; embeddings are welcome.
            labels: list of class names.
            templates: one template or a list whose embeddings are averaged; `{}` is where the name goes.
            batch_size: rows per forward pass.

        Returns:
            float32 array `(n, len(labels))`; rows sum to 1.

        Raises:
            ValueError: no labels, a template without `{}`, a model whose embeddings are not finite.

        Example:
            >>> model.classify(["cat.jpg"], ["cat", "dog"]).argmax(axis=-1)
            array([0])

        Reference:
            Radford et al., CLIP, 2021, arXiv 2103.00020.
        """
        prompts = self.encode_text(fill_templates(labels, templates), batch_size)
        return softmax(self.logits(self.encode_image(images, batch_size), class_embeddings(prompts, len(labels))))

    @takes(batch_size=COUNT)
    def logits(self, images, texts, batch_size=BATCH_SIZE) -> Array:
        """`scale * cosine + bias` of every picture with every text.

        Args:
            images, texts: as in `encode_image` and `encode_text`; embeddings are welcome.
            batch_size: rows per forward pass.

        Returns:
            float32 array `(n, m)`.

        Raises:
            ValueError: as in `encode_image` and `encode_text`; a model whose embeddings are not finite.
        """
        scale, bias = self.scale_and_bias()
        images = directions(self.encode_image(images, batch_size), IMAGES)
        return scale * (images @ directions(self.encode_text(texts, batch_size), TEXTS).T) + bias

    @staticmethod
    def as_list(sources) -> Any:
        """A picture or text on its own as a list of one."""
        alone = isinstance(sources, (str, os.PathLike, bytes, Image.Image))
        return [sources] if alone or (isinstance(sources, np.ndarray) and sources.ndim == 3) else sources

    def _reader(self):
        if self.preprocessor is None:
            raise ValueError(
                "there is no preprocessor that could read pictures or texts; set model.preprocessor first, or give an "
                "export whose manifest has one."
            )
        return self.preprocessor

    def _is_embedding(self, value):
        array = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2
        return array and value.shape[1] == self.embed_dim

    def _in_batches(self, sources, name, batch_size, encode):
        check_some(name, sources)
        return in_batches(len(sources), batch_size, lambda part: encode(sources[part]), self.embed_batch)


def check_some(name, sources) -> None:
    """Stops unless `sources` are pictures or texts in a list."""
    if not hasattr(sources, "__len__") or isinstance(sources, (dict, set, frozenset)):
        raise TypeError(f"{name} is {shown(sources, typed=True)}; give a list of {name}.")
    if (isinstance(sources, np.ndarray) and not sources.ndim) or not len(sources):
        raise ValueError(f"{name} is empty; give at least one.")


def in_batches(count, batch_size, batch_of, embed) -> Array:
    """Embeddings of many rows, some at a time.

    Args:
        count: rows, at least one.
        batch_size: rows per call of `embed`.
        batch_of: function of a slice of the rows to a dict of arrays.
        embed: function of that dict to an array `(rows, dim)`.

    Returns:
        Array `(count, dim)`.
    """
    COUNT("batch_size", batch_size)
    embeddings = []
    for start in range(0, count, batch_size):
        batch = batch_of(slice(start, start + batch_size))
        rows = len(next(iter(batch.values())))
        if start and rows < batch_size:  # one shape, so that no backend compiles again for the rest
            batch = {key: np.resize(value, (batch_size, *value.shape[1:])) for key, value in batch.items()}
        embeddings.append(embed(batch)[:rows])
    return np.concatenate(embeddings)
