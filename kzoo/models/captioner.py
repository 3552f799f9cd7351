"""The captioner: an image tower, a text tower or none, and a decoder that writes the next token."""

import keras
from keras import ops

from kzoo.inference.caption import Writer
from kzoo.layers.numerics import l2_normalize
from kzoo.layers.step import Step
from kzoo.models.caption_decoder import CaptionDecoder
from kzoo.models.caption_head import check_headless, make_decoder
from kzoo.models.checks import check_batch
from kzoo.models.dual_encoder import DualEncoder


@keras.saving.register_keras_serializable(package="kzoo")
class Captioner(Writer, DualEncoder):
    """A contrastive captioner (CoCa), a captioner alone (BLIP), or a decoder on a model that was trained without one
    (`from_dual_encoder`).

    Args:
        image_encoder: as in `DualEncoder`; its tokens, or its embedding, are what the decoder attends to.
        text_encoder: as in `DualEncoder`; its tokens are what CoCa's decoder reads. With a decoder that reads
            token ids it may be None: the model then has no text embedding.
        text_decoder: layer from text tokens (or token ids) and image tokens to states, with the methods of
            `DecoderOutput`, `memory` and `step`.
        similarity, preprocessor, loss: as in `DualEncoder`.

    Inputs:
        as in `DualEncoder`; captions need both modalities. Where the decoder reads embeddings, texts are enough: the
        embedding of a text then stands for that of its picture, in training with the decoder's noise (CLOSE). It
        gets no gradient, or the space would lose its pictures. Where there are images, theirs are read, without noise.

    Returns:
        dict: as in `DualEncoder`, and `caption_logits` `(batch, length - 1, vocab_size)`, float32: row t predicts
        token t + 1 (see `caption_targets`); of a decoder with a start id `(batch, length, vocab_size)`. `predict`
        leaves them out, for memory's sake.

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

    @classmethod
    def from_dual_encoder(
        cls, model, memory="tokens", *, freeze=True, noise=0.0, depth=6, width=None, num_heads=None, name=None
    ):
        """Put a new captioning decoder on a contrastive model.

        The towers, the similarity and the preprocessor are those of `model`, not copies: what trains here trains there,
        and what is locked here is locked there: compile `model` again before you train it on.

        Args:
            model: a `DualEncoder`, with or without a preprocessor.
            memory: what the decoder, a `TextDecoder`, attends to: `"tokens"` of the image tower, or tokens made of its
                `"embedding"`, which any image tower has and which say less of a picture.
            freeze: lock both towers and the similarity, so that embeddings stay what they are: the loss is `Captioning`
                alone, and the decoder learns. Otherwise all trains that is not locked already, and the loss is that
                of `model` + 2 * `Captioning`.
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
            >>> captioner.compile("adamw")
            >>> captioner.fit(kzoo.data.pairs("photos.csv", captioner.preprocessor))

        Reference:
            Gu et al., CLOSE ("I Can't Believe There's No Images!"), 2022, arXiv 2211.09778, for texts alone.
        """
        check_headless(model)
        decoder = make_decoder(model, memory, noise, depth, width, num_heads)
        loss = [{"loss": "Captioning"}]
        if freeze:
            for part in (model.image_encoder, model.text_encoder, model.similarity):
                part.trainable = False
        else:
            loss = [*model.loss_spec, {"loss": "Captioning", "weight": 2.0}]
        parts = {"similarity": model.similarity, "preprocessor": model.preprocessor, "loss": loss}
        name = name or f"{model.name}_captioner"
        captioner = cls(model.image_encoder, model.text_encoder, decoder, **parts, name=name, dtype=model.dtype_policy)
        captioner.source = model.source
        return captioner

    def towers(self):
        towers = super().towers() if self.is_contrastive else {"image_encoder": self.image_encoder}
        return towers | {"text_decoder": self.text_decoder}

    @property
    def is_contrastive(self):
        return self.text_encoder is not None

    def token_tower(self):
        """The layer that the ids of a caption enter first."""
        return self.text_encoder if self.text_decoder.reads_text_tokens else self.text_decoder

    # -- forward --
    def check_batch(self, batch):
        check_batch(batch, self.image_encoder, self.text_encoder or self.text_decoder)

    def call(self, batch, training=None, outputs=()):
        wanted = self.wanted(outputs)
        features = self.features(batch, training)
        results = self.embeddings(features, wanted) | self.negatives(batch, wanted, training)
        if "caption_logits" in wanted and "token_ids" in batch and self._has_image_tokens(features):
            states = self.caption_states(batch, features, training)
            # training makes the logits in its loss, where they need not be held as a whole
            results |= (
                {"caption_states": states} if self._reads else {"caption_logits": self.text_decoder.logits(states)}
            )
        return results

    def caption_states(self, batch, features, training=None):
        """The decoder's states at every token but the last, `(batch, length - 1, width)`, the start id included."""
        if self.text_decoder.reads_text_tokens:
            source = features["text"]["tokens"]
        else:
            source = with_start(batch["token_ids"], self.caption_start_id)
        return self.text_decoder(source[:, :-1], self.image_tokens(features, training), training=training)

    def _has_image_tokens(self, features):
        """Whether there is something for the decoder to attend to: a picture, or a text that stands for it."""
        found = "image" in features or ("text" in features and self.text_decoder.reads_embedding)
        if not found and self._reads:
            raise ValueError(
                "the loss reads captions of images, but a batch has no 'images'; give them, or train from texts alone: "
                'Captioner.from_dual_encoder(model, memory="embedding").'
            )
        return found

    def image_tokens(self, features, training=None):
        """What the decoder attends to, `(batch, S, width)`, by `features`: the image tower's tokens, or those that are
        made of an embedding: the picture's, or where there are none the text's.

        Raises:
            ValueError: the decoder reads tokens, but the image tower gives none.
        """
        decoder, picture = self.text_decoder, features.get("image")
        if not decoder.reads_embedding:
            if "tokens" not in picture:
                raise ValueError(
                    f"the image tower {type(self.image_encoder).__name__} gives an embedding and no tokens, but this "
                    'decoder reads tokens; take Captioner.from_dual_encoder(model, memory="embedding").'
                )
            return picture["tokens"]
        if picture is not None:
            return decoder.tokens_of(l2_normalize(picture["embedding"]))
        text = ops.stop_gradient(features["text"]["embedding"])
        return decoder.tokens_of(decoder.embedding_noise(text, training=training))

    # -- one id at a time --
    caption_vocab_size = property(lambda self: self.text_decoder.vocab_size)
    caption_pad_id = property(lambda self: self.token_tower().pad_id)
    caption_start_id = property(lambda self: self.text_decoder.start_id)

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
        tensors = caption_targets(
            x["token_ids"], self.caption_pad_id, x.get("padding_mask"), start_id=self.caption_start_id
        )
        if "caption_states" in y_pred:
            tensors["caption_logits"] = self.text_decoder.linear_logits(y_pred["caption_states"])
        return tensors


def with_start(token_ids, start_id):
    """The ids as a decoder sees them: behind its start id, if it has one."""
    if start_id is None:
        return token_ids
    return ops.pad(ops.cast(token_ids, "int32"), ((0, 0), (1, 0)), constant_values=start_id)


def caption_targets(token_ids, pad_id, padding_mask=None, start_id=None):
    """The label shift: position t of the decoder, which has read the tokens 0..t, predicts token t + 1.

    Where the decoder puts a start id before them, it is token 0, and every id of the text is predicted.

    Args:
        token_ids: int tensor `(batch, length)`.
        pad_id: id of padding, whose prediction does not count; used only where there is no mask: in CLIP's
            vocabulary the id that pads is "!" as well.
        padding_mask: bool tensor `(batch, length)`, True where an id is real, or None.
        start_id: id that the decoder puts before the text, or None.

    Returns:
        dict: `caption_labels` int `(batch, length - 1)` and `caption_mask` bool `(batch, length - 1)`; with a start
        id `(batch, length)`.

    Example:
        >>> caption_targets(np.array([[1, 7, 2, 0]]), pad_id=0)
        {'caption_labels': [[7, 2, 0]], 'caption_mask': [[True, True, False]]}
    """
    first = 1 if start_id is None else 0
    labels = ops.convert_to_tensor(token_ids)[:, first:]
    mask = ops.not_equal(labels, pad_id) if padding_mask is None else ops.cast(padding_mask, "bool")[:, first:]
    return {"caption_labels": labels, "caption_mask": mask}
