"""The captioner: an image tower, a text tower or none, and a decoder that writes the next token."""

import keras
from keras import ops

from kzoo.layers.linear_logits import LinearLogits
from kzoo.layers.step import Step
from kzoo.models.caption_decoder import CaptionDecoder
from kzoo.models.checks import check_batch
from kzoo.models.dual_encoder import DualEncoder
from kzoo.writer import Writer


@keras.saving.register_keras_serializable(package="kzoo")
class Captioner(Writer, DualEncoder):
    """A contrastive captioner (CoCa), or a captioner alone (BLIP).

    Args:
        image_encoder: as in `DualEncoder`; its tokens are what the decoder attends to.
        text_encoder: as in `DualEncoder`; its tokens are what CoCa's decoder reads. None for a decoder that reads
            token ids: the model then has no text embedding.
        text_decoder: layer from text tokens (or token ids) and image tokens to states, with methods `logits` and
            `output_weights`.
        similarity, preprocessor, loss: as in `DualEncoder`.

    Inputs:
        as in `DualEncoder`; captions need both modalities.

    Returns:
        dict: as in `DualEncoder`, and `caption_logits` `(batch, length - 1, vocab_size)`, float32: row t predicts
        token t + 1 (see `caption_targets`). `predict` leaves them out, for memory's sake.

    Raises:
        ValueError: as in `DualEncoder`; a decoder that reads text tokens without a text tower.

    Example:
        >>> model = kzoo.from_preset("coca_nano", load_weights=False)
        >>> model({"images": images, "token_ids": token_ids})["caption_logits"].shape
        (2, 14, 512)

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917; Li et al., BLIP, 2022, arXiv 2201.12086.
    """

    kind = "captioner"  # its name in preset tables
    default_outputs = ("caption_logits",)

    def __init__(
        self, image_encoder, text_encoder, text_decoder, similarity=None, preprocessor=None, loss=None, **kwargs
    ):
        if text_encoder is None and text_decoder.reads_text_tokens:
            raise ValueError(f"{type(text_decoder).__name__} reads the tokens of a text tower; give a text_encoder.")
        loss = loss or [{"loss": "InfoNCE"}] * (text_encoder is not None) + [{"loss": "Captioning", "weight": 2.0}]
        super().__init__(image_encoder, text_encoder, similarity, preprocessor, loss, **kwargs)
        self._attach(text_decoder=text_decoder)
        object.__setattr__(self, "compiled_functions", {})  # past Keras' tracking, which locks built models

    def towers(self):
        towers = super().towers() if self.is_contrastive else {"image_encoder": self.image_encoder}
        return towers | {"text_decoder": self.text_decoder}

    @property
    def is_contrastive(self):
        return self.text_encoder is not None

    def token_tower(self):
        """The layer that token ids enter."""
        return self.text_decoder if self.text_encoder is None else self.text_encoder

    # -- forward --
    def check_batch(self, batch):
        check_batch(batch, self.image_encoder, self.token_tower())

    def call(self, batch, training=None, outputs=()):
        wanted = self.wanted(outputs)
        features = self.features(batch, training)
        results = self.embeddings(features, wanted)
        if "caption_logits" in wanted and "image" in features and "token_ids" in batch:
            states = self.caption_states(batch, features, training)
            # training makes the logits in its loss, where they need not be held as a whole
            results |= (
                {"caption_states": states} if self._reads else {"caption_logits": self.text_decoder.logits(states)}
            )
        return results

    def caption_states(self, batch, features, training=None):
        """The decoder's states at every token but the last, `(batch, length - 1, width)`."""
        source = features["text"]["tokens"] if self.text_decoder.reads_text_tokens else batch["token_ids"]
        return self.text_decoder(source[:, :-1], self.image_tokens(features), training=training)

    def image_tokens(self, features):
        """The tokens of a batch's pictures; stops with a sentence where the image tower gives none."""
        tokens = features["image"].get("tokens")
        if tokens is None:
            raise ValueError(
                f"the image tower {type(self.image_encoder).__name__} gives an embedding and no tokens, but a caption "
                "is written from tokens; take a tower that gives them, or Captioner.from_dual_encoder."
            )
        return tokens

    # -- one id at a time --
    caption_vocab_size = property(lambda self: self.text_decoder.vocab_size)
    caption_pad_id = property(lambda self: self.token_tower().pad_id)

    def open_decoder(self, batch):
        self.check_batch(batch)
        return CaptionDecoder(self, batch)

    def caption_memory(self, image_tokens):
        """What every step of a caption needs of its picture: keys and values of the cross-attention, per block.

        Args:
            image_tokens: float tensor `(pictures, length, width)`.

        Returns:
            list of pairs of float tensors `(pictures, length, width)`.
        """
        return self.text_decoder.memory(image_tokens)

    def empty_cache(self, rows, length):
        """The cache of rows that no id has been read of yet: per causal block two float tensors
        `(rows, length, width)`, of keys and of values."""
        return [
            tuple(ops.zeros((rows, length, block.attention.width), block.compute_dtype) for _ in range(2))
            for block in self._causal_blocks()
        ]

    def caption_step(self, token_ids, positions, cache, memory, copies=1):
        """Read one id of each row, with all that was read before in a cache.

        Equal to the row `positions` of what a call gives for the ids up to there.

        Args:
            token_ids: int tensor `(rows, length)`: every id up to and including the position; what follows is not
                looked at.
            positions: int tensor `(rows,)`; rows need not be at the same one.
            cache: as `empty_cache` or the step before gave it.
            memory: of the pictures, as `caption_memory` gives it.
            copies: rows per picture, beside each other.

        Returns:
            `(logits, states, cache)`: float32 `(rows, vocab_size)` for the id at `positions + 1`; the decoder's states
            `(rows, width)`; and the cache with this position.
        """
        step, depth = Step(token_ids, positions), len(self._causal_blocks()) - len(self.text_decoder.blocks)
        source, past = step.ids, []
        if self.text_decoder.reads_text_tokens:
            source, past = self.text_encoder.step(step, cache[:depth])
        states, cache = self.text_decoder.step(step, source, cache[depth:], memory, copies)
        states = ops.squeeze(states, 1)
        return self.text_decoder.logits(states), states, [*past, *cache]

    def _causal_blocks(self):
        own = self.text_encoder.blocks if self.text_decoder.reads_text_tokens else []
        return [*own, *self.text_decoder.blocks]

    def loss_tensors(self, x, y_pred):
        tensors = caption_targets(x["token_ids"], self.token_tower().pad_id, x.get("padding_mask"))
        if "caption_states" in y_pred:
            states = ops.cast(y_pred["caption_states"], self.text_decoder.compute_dtype)
            tensors["caption_logits"] = LinearLogits(states, *self.text_decoder.output_weights())
        return tensors


def caption_targets(token_ids, pad_id, padding_mask=None):
    """The label shift: position t of the decoder, which has read the tokens 0..t, predicts token t + 1.

    Args:
        token_ids: int tensor `(batch, length)`.
        pad_id: id of padding, whose prediction does not count; used only where there is no mask: in CLIP's
            vocabulary the id that pads is "!" as well.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None.

    Returns:
        dict: `caption_labels` int `(batch, length - 1)` and `caption_mask` bool `(batch, length - 1)`.

    Example:
        >>> caption_targets(np.array([[1, 7, 2, 0]]), pad_id=0)
        {'caption_labels': [[7, 2, 0]], 'caption_mask': [[True, True, False]]}
    """
    labels = ops.convert_to_tensor(token_ids)[:, 1:]
    mask = ops.not_equal(labels, pad_id) if padding_mask is None else ops.cast(padding_mask, "bool")[:, 1:]
    return {"caption_labels": labels, "caption_mask": mask}
