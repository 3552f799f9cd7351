"""The captioner: an image tower, a text tower or none, and a decoder that writes the next token."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, FLAG, NAME, NOT_NEGATIVE, one_of, takes
from kzoo.encoders.as_tower import as_tower
from kzoo.encoders.token_ids import check_ids, check_token_ids
from kzoo.inference.caption import Writer
from kzoo.layers.copies import copy_of
from kzoo.layers.similarity import SimilarityHead
from kzoo.layers.step import Step
from kzoo.models.answers import Rule, as_it_is
from kzoo.models.caption_decoder import CaptionDecoder
from kzoo.models.caption_head import check_headless, make_decoder
from kzoo.models.caption_labels import caption_targets, with_start
from kzoo.models.embedding_model import EmbeddingModel, check_pair, wants_pairs
from kzoo.types import Array

LOGITS = (
    "caption_logits",
    "caption_linear_logits",
)  # states and the last layer, to a loss
NO_TOKENS = (
    "the image tower {} gives an embedding and no tokens, but this decoder reads tokens; take "
    'Captioner.from_dual_encoder(model, memory="embedding").'
)


@keras.saving.register_keras_serializable(package="kzoo")
class Captioner(Writer, EmbeddingModel):
    """A contrastive captioner (CoCa), a captioner alone (BLIP), or a decoder on a model that was trained without one
    (`from_dual_encoder`).

    Args:
        image_encoder: as in `DualEncoder`; its tokens, or its embedding, are what the decoder attends to.
        text_encoder: as in `DualEncoder`; its tokens are what CoCa's decoder reads. With a decoder that reads
            token ids it may be None: the model then has no text embedding.
        text_decoder: layer from text tokens (or token ids) and image tokens to states, with the methods of
            `DecoderOutput`, `memory` and `step`.
        similarity, preprocessor, loss, heads, teacher: as in `DualEncoder`.

    Inputs:
        as in `DualEncoder`, with one caption for each picture; captions need both modalities. Where the decoder reads
        embeddings, texts are enough: the embedding of a text then stands for that of its picture, in training with the
        decoder's noise (CLOSE). It gets no gradient, or the space would lose its pictures. Where there are images,
        theirs are read, without noise.

    Returns:
        dict: as in `DualEncoder`, and `caption_logits` `(batch, length - 1, vocab_size)`, float32: row t predicts
        token t + 1; of a decoder with a start id `(batch, length, vocab_size)`. `predict` leaves them out, for memory's
        sake. By request `caption_states`, what they are made of, `caption_linear_logits`, which are them with the
        decoder's last layer (`kzoo.layers.LinearLogits`), `caption_labels` and `caption_mask` (see
        `caption_targets`), and `caption_context` `(batch, S, width)`, what the decoder attends to.

    Raises:
        ValueError: as in `DualEncoder`; a decoder that reads text tokens without a text tower.

    Example:
        >>> model = kzoo.from_preset("coca_nano", load_weights=False)
        >>> model({"images": images, "token_ids": token_ids})["caption_logits"].shape
        (2, 14, 512)

    Reference:
        Yu et al., CoCa, 2022, arXiv 2205.01917; Li et al., BLIP, 2022, arXiv 2201.12086; Gu et al., CLOSE, 2022, arXiv
        2211.09778.
    """

    kind = "captioner"

    def __init__(
        self,
        image_encoder,
        text_encoder,
        text_decoder,
        similarity=None,
        preprocessor=None,
        loss=None,
        heads=(),
        teacher=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if text_encoder is None and text_decoder.reads_text_tokens:
            raise ValueError(f"{type(text_decoder).__name__} reads the tokens of a text tower; give a text_encoder.")
        if text_encoder is None and text_decoder.borrows:
            raise ValueError(f"{type(text_decoder).__name__} runs the blocks of a text tower; give a text_encoder.")
        self.image_encoder = as_tower(image_encoder, "image")
        self.text_encoder = None if text_encoder is None else as_tower(text_encoder, "text")
        if self.is_contrastive:
            check_pair(self.image_encoder, self.text_encoder)
            similarity = similarity or SimilarityHead(name="similarity")
        self.similarity = similarity
        loss = loss or [{"loss": "InfoNCE"}] * self.is_contrastive + [{"loss": "Captioning", "weight": 2.0}]
        self.add_decoder(text_decoder)
        self.settle(similarity, heads, teacher, preprocessor, loss)

    @classmethod
    @takes(
        memory=one_of("tokens", "embedding"),
        freeze=FLAG,
        noise=NOT_NEGATIVE,
        depth=COUNT,
        width=COUNT,
        num_heads=COUNT,
        name=NAME,
    )
    def from_dual_encoder(
        cls, model, memory="tokens", *, freeze=True, noise=0.0, depth=6, width=None, num_heads=None, name=None
    ) -> Self:
        """Put a new captioning decoder on a contrastive model.

        The towers and the similarity are copies, with the weights that they have now: `model` stays what it is. The
        preprocessor is shared.

        Args:
            model: a `DualEncoder`, with or without a preprocessor.
            memory: what the decoder, a `TextDecoder`, attends to: `"tokens"` of the image tower, or tokens made of its
                `"embedding"`, which any image tower has and which say less of a picture.
            freeze: lock the copied towers and similarity, so that embeddings stay what they are: the loss is
                `Captioning` alone, and the decoder learns. Otherwise all trains that is not locked already, and the
                loss is that of `model` + 2 * `Captioning`.
            noise: with `"embedding"`, standard deviation of the noise on text embeddings when it is trained from texts
                alone (CLOSE): `model.fit(model.preprocessor(texts=captions))`. See `GaussianEmbeddingNoise`.
            depth: pairs of blocks of the decoder.
            width: channels of the decoder; default those of the text tower, or of the embedding where it says none.
            num_heads: attention heads; default those of the text tower, for another width one for 64 channels.
            name: of the new model; default that of `model` and `_captioner`.

        Returns:
            `Captioner`, whose decoder is untrained. If the tokenizer has no start id (SigLIP), the decoder
            has one: the id of padding, or, where that is the end of text, another.

        Raises:
            TypeError: no `DualEncoder`, or one that has a head already.
            ValueError: an unknown memory; `"tokens"` of an image tower that gives none, or that pads them (NaFlex);
                noise on tokens.

        Example:
            >>> model = kzoo.from_preset("clip_base")
            >>> captioner = kzoo.Captioner.from_dual_encoder(model)
            >>> captioner.compile("clip_adamw")
            >>> captioner.fit(kzoo.data.pairs("photos.csv", captioner.preprocessor))

        Reference:
            Gu et al., CLOSE ("I Can't Believe There's No Images!"), 2022, arXiv 2211.09778, for texts alone.
        """
        check_headless(model)
        decoder = make_decoder(model, memory, noise, depth, width, num_heads)
        image, text, similarity = map(copy_of, (model.image_encoder, model.text_encoder, model.similarity))
        loss = [{"loss": "Captioning"}]
        if freeze:
            for part in (image, text, similarity):
                part.trainable = False
        else:
            loss = [*model.loss_spec, {"loss": "Captioning", "weight": 2.0}]
        parts = {"similarity": similarity, "preprocessor": model.preprocessor, "loss": loss}
        name = name or f"{model.name}_captioner"
        captioner = cls(image, text, decoder, **parts, name=name, dtype=model.dtype_policy)
        captioner.source = model.source
        return captioner

    def add_decoder(self, decoder) -> None:
        """Keep the decoder, if there is something for it to attend to."""
        if not decoder.reads_embedding and self.image_encoder.token_dim is None:
            raise ValueError(NO_TOKENS.format(type(self.image_encoder).__name__))
        if decoder.borrows:
            decoder.borrow(self.text_encoder)
        self.text_decoder = decoder

    @classmethod
    def from_parts(cls, towers, **options) -> Self:
        return cls(**({"text_encoder": None} | towers), **options)

    # -- parts --
    @property
    def tower_names(self) -> dict:
        return {"image": "image_encoder"} | ({"text": "text_encoder"} if self.is_contrastive else {})

    @property
    def is_contrastive(self) -> bool:
        """Whether both sides of a pair have an embedding."""
        return self.text_encoder is not None

    @property
    def can_write(self) -> bool:
        """Whether captions can be written id by id: not where the decoder reads the tokens of a text tower that looks
        ahead, for these change with every id that follows."""
        return not self.text_decoder.reads_text_tokens or self.text_encoder.causal

    def towers(self) -> dict:
        return super().towers() | {"text_decoder": self.text_decoder}

    def token_tower(self) -> Any:
        """The layer that the ids of a caption enter first."""
        return self.text_encoder if self.text_decoder.reads_text_tokens else self.text_decoder

    # -- forward --
    def wants(self, batch) -> str:
        return wants_pairs(batch)

    def check_batch(self, batch) -> None:
        if not self.is_contrastive and isinstance(batch, dict) and "token_ids" in batch:
            check_texts(batch["token_ids"], self.text_decoder)
            if "images" not in batch:
                return
        super().check_batch(batch)

    def check_fed(self, batch, read) -> None:
        ids, count = batch.get("token_ids"), self.text_decoder.vocab_size
        if "caption_labels" in read and isinstance(ids, np.ndarray) and ids.max(initial=0) >= count:
            raise ValueError(
                f"token_ids have {ids.max()}, but the decoder of {self.name} writes the ids 0 to {count - 1} alone, so "
                "it cannot learn such a caption; leave it out, or take a loss without captions."
            )

    def rules(self, batch) -> list:
        decoder = self.text_decoder
        if not decoder.reads_embedding:
            context = Rule(("image_tokens",), ("caption_context",), as_it_is)
        elif "images" in batch:
            context = Rule(("image_embeddings",), ("caption_context",), self._tokens_of_picture)
        else:
            context = Rule(("text_features",), ("caption_context",), self._tokens_of_text)
        rules = [*super().rules(batch), context]
        if "token_ids" not in batch or len(batch["token_ids"].shape) != 2:  # a bag of texts is no caption
            return rules
        mask = ("padding_mask",) if "padding_mask" in batch else ()
        source = "text_tokens" if decoder.reads_text_tokens else "token_ids"
        return [
            *rules,
            Rule((source, "caption_context"), ("caption_states",), self._states),
            Rule(("caption_states",), ("caption_logits",), self._logits),
            Rule(("caption_states",), ("caption_linear_logits",), self._linear_logits),
            Rule(("token_ids", *mask), ("caption_labels", "caption_mask"), self._targets),
        ]

    def _states(self, source, context, training):
        """The decoder's states at every token but the last, `(batch, length - 1, width)`, the start id included."""
        if not self.text_decoder.reads_text_tokens:
            source = with_start(source, self.caption_start_id)
        return (self.text_decoder(source[:, :-1], context, training=training),)

    def _logits(self, states, training):
        return (self.text_decoder.logits(states),)

    def _linear_logits(self, states, training):
        return (self.text_decoder.linear_logits(states),)

    def _targets(self, token_ids, padding_mask=None, training=None):
        targets = caption_targets(token_ids, self.caption_pad_id, padding_mask, start_id=self.caption_start_id)
        return targets["caption_labels"], targets["caption_mask"]

    def _tokens_of_picture(self, embedding, training):
        return (self.text_decoder.tokens_of(embedding),)

    def _tokens_of_text(self, features, training):
        # no gradient: the space would lose its pictures
        noisy = self.text_decoder.embedding_noise(ops.stop_gradient(features), training=training)
        return (self.text_decoder.tokens_of(noisy),)

    def default_outputs(self, batch, slots) -> list:
        return [*super().default_outputs(batch, slots), "caption_logits"]

    # -- train --
    def reading(self, names, batch) -> list[str] | tuple[str, ...]:
        # the loss makes the logits, where they need not be held as a whole
        if "caption_logits" in names and "images" not in batch and not self.text_decoder.reads_embedding:
            raise ValueError(
                "the loss reads captions of images, but a batch has no 'images'; give them, or train from texts alone: "
                'Captioner.from_dual_encoder(model, memory="embedding").'
            )
        return ["caption_states" if name in LOGITS else name for name in names]

    def loss_tensors(self, outputs) -> dict:
        if "caption_states" not in outputs:
            return outputs
        return outputs | dict.fromkeys(LOGITS, self.text_decoder.linear_logits(outputs["caption_states"]))

    def embed_batch(self, batch) -> Array:
        if "images" not in batch and not self.is_contrastive:
            raise ValueError(f"{self.name} has no text tower: it writes captions and embeds none.")
        return super().embed_batch(batch)

    def shown_shapes(self) -> list:
        return [*super().shown_shapes(), (self.text_decoder, (None, None, self.text_decoder.width))]

    # -- one id at a time --
    caption_vocab_size = property(lambda self: self.text_decoder.vocab_size)
    caption_pad_id = property(lambda self: self.token_tower().pad_id)
    caption_start_id = property(lambda self: self.text_decoder.start_id)

    def open_decoder(self, batch) -> CaptionDecoder:
        if not self.can_write:
            raise ValueError(
                f"{self.name} writes no captions: its decoder reads the tokens of a "
                f"{type(self.text_encoder).__name__}, which looks at the ids that are still to come; take a captioner "
                "with a causal text tower."
            )
        self.check_batch(batch)
        return CaptionDecoder(self, batch)

    def caption_memory(self, image_tokens) -> list:
        """What every step of a caption needs of its picture: keys and values of the cross-attention, per block.

        Args:
            image_tokens: float tensor `(pictures, length, width)`.

        Returns:
            list of pairs of float tensors `(pictures, heads, length, width / heads)`.
        """
        return self.text_decoder.memory(image_tokens)

    def empty_cache(self, rows, length) -> list:
        """The cache of rows that no id has been read of yet: per causal block two float tensors
        `(rows, heads, length, width / heads)`, of keys and of values."""
        return [
            tuple(ops.zeros(block.attention.memory_shape(rows, length), block.compute_dtype) for _ in range(2))
            for block in self._causal_blocks()
        ]

    def caption_step(self, token_ids, positions, cache, memory, copies=1) -> tuple:
        """Read one id of each row, with all that was read before in a cache.

        Equal to the row `positions` of what a call gives for the ids up to there.

        Args:
            token_ids: int tensor `(rows, length)`: every id up to and including the position; what follows is not
                looked at.
            positions: int tensor `(rows,)`; rows need not be at the same one.
            cache: as `empty_cache` or the step before gave it; each pair a `kzoo.layers.step.Past` where the step is
                to give keys and values of this position alone.
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


def check_texts(token_ids, decoder) -> None:
    """Stops unless ids are those that a decoder without a text tower before it reads."""
    check_token_ids(token_ids.shape, decoder.context_length)
    if isinstance(token_ids, np.ndarray):
        check_ids(token_ids, decoder)
