"""A dual encoder whose text tower can also read the picture and say whether the two belong together."""

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, takes
from kzoo.layers.linear import dense
from kzoo.models.answers import Rule
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Array, Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class MatchingEncoder(DualEncoder):
    """A dual encoder with an image-text matching head (BLIP).

    Without the picture the text tower gives an embedding, and the model is a dual encoder. With the picture's tokens
    as context it gives a pair's features, and the head says how well the pair matches: slower, as every pair is a
    forward pass of the text tower, and better at telling near pairs apart.

    Args:
        image_encoder: as in `DualEncoder`, with tokens after the last norm.
        text_encoder: a `BertEncoder` with `cross_width`.
        similarity, preprocessor, loss, heads, teacher: as in `DualEncoder`.

    Inputs:
        as in `DualEncoder`.

    Returns:
        dict: as in `DualEncoder`; by request (`outputs=("match_logits",)`) `match_logits` float32 `(batch, 2)` of
        image i with text i: does not match, matches.

    Raises:
        ValueError: as in `DualEncoder`; a text tower without cross-attention.

    Example:
        >>> model = kzoo.from_preset("blip_itm_nano", load_weights=False)
        >>> model.match(["cat.jpg"], ["a cat", "a dog"]).shape
        (1, 2)

    Reference:
        Li et al., BLIP, 2022, arXiv 2201.12086; Li et al., ALBEF, 2021, arXiv 2107.07651.
    """

    kind = "matching_encoder"

    def add_parts(self) -> None:
        if "context" not in self.text_encoder.options:
            raise ValueError("a text tower without cross-attention cannot read a picture; give it a cross_width.")
        width = self.text_encoder.token_dim
        self.matching_head = dense(2, width**-0.5, self.dtype_policy, "matching_head")
        self.matching_head.build((None, width))

    # -- forward --
    def rules(self, batch) -> list:
        mask = ("padding_mask",) if "padding_mask" in batch else ()
        return [*super().rules(batch), Rule(("image_tokens", "token_ids", *mask), ("match_logits",), self._matched)]

    def _matched(self, image_tokens, token_ids, padding_mask=None, training=None):
        return (self.match_logits(image_tokens, token_ids, padding_mask, training),)

    def match_logits(self, image_tokens, token_ids, padding_mask=None, training=None) -> Tensor:
        """`(batch, 2)` logits of pairs, from image tokens `(batch, S, width)` and token ids `(batch, length)`."""
        fused = self.text_encoder(token_ids, padding_mask, context=image_tokens, training=training)
        return ops.cast(self.matching_head(fused["tokens"][:, 0]), "float32")

    # -- use --
    @takes(batch_size=COUNT)
    def match(self, images, texts, batch_size=16) -> Array:
        """The probability that each text belongs to each picture, by the matching head.

        Args:
            images: list of pictures, as in `encode_image`.
            texts: list of strings.
            batch_size: pairs per forward pass.

        Returns:
            float32 array `(n, m)` in [0, 1]; rows do not sum to 1: each pair is a question of its own.

        Raises:
            ValueError: no pictures or texts, or one that cannot be read.

        Example:
            >>> model.match(["cat.jpg"], ["a cat", "a dog"])
            array([[0.98, 0.03]], dtype=float32)
        """
        pictures, words = self.preprocessor(images=self.as_list(images)), self.preprocessor(texts=self.as_list(texts))
        batch = pictures | words  # of different lengths: all are matched with all
        if not len(batch["images"]) or not len(batch["token_ids"]):
            raise ValueError("there is no pair to match; give at least one picture and one text.")
        tokens_of = self.compiled_once("image_tokens", _image_tokens)
        match_of = self.compiled_once("match_logits", _match_logits)
        probabilities = np.empty((len(batch["images"]), len(batch["token_ids"])), "float32")
        for row, pixels in enumerate(batch["images"]):
            tokens = np.asarray(ops.convert_to_numpy(tokens_of(pixels[None])))
            for start in range(0, probabilities.shape[1], batch_size):
                chosen = slice(start, start + batch_size)
                texts_of = [batch[name][chosen] for name in ("token_ids", "padding_mask")]
                count = len(texts_of[0])
                padded = [np.resize(each, (batch_size, *each.shape[1:])) for each in texts_of]  # one shape to compile
                logits = ops.convert_to_numpy(match_of(np.repeat(tokens, batch_size, axis=0), *padded))[:count]
                probabilities[row, chosen] = 1.0 / (1.0 + np.exp(logits[:, 0] - logits[:, 1]))
        return probabilities


def _image_tokens(model):
    return lambda images: model.image_encoder(images, training=False)["tokens"]


def _match_logits(model):
    return lambda tokens, ids, mask: model.match_logits(tokens, ids, mask, training=False)
