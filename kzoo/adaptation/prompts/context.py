"""The vectors of a context, and the texts of classes with them in their places."""

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.prompts.layout import laid_out, plain_ids, room_for
from kzoo.layers.initializers import Normal
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor

STD = 0.02  # of vectors that begin as nothing
COUNT_OF_CONTEXT = 16  # where neither a number nor a text is given


class Context(keras.layers.Layer):
    """Vectors that stand in the texts of classes, in a text tower that stays as it is.

    Args:
        encoder: a locked `DualEncoder` with a vocabulary, whose text tower runs from its embeddings.
        class_names: list of names.
        n_ctx: vectors; None for 16, or as many as the names leave room for, or as `init` has tokens. Fewer than those
            leave the others text.
        class_specific: vectors for each class.
        class_position: as in `laid_out`.
        init: the text that they begin as, or None.
        std: deviation of the normal numbers that they begin as without `init`.

    Raises:
        ValueError: see `CoOp`.
    """

    def __init__(
        self, encoder, class_names, n_ctx=None, class_specific=False, class_position="end", init=None, std=STD
    ):
        super().__init__(name="context", dtype="float32")
        preprocessor, tower = encoder.preprocessor, encoder.text_encoder
        width = tower.embed(np.zeros((1, 1), "int32")).shape[-1]
        initializer = Normal(stddev=std)
        if init is not None:
            (ids,) = plain_ids(preprocessor.tokenizer, [init])
            if class_specific:
                raise ValueError("init is a text for all classes alike; leave it out, or class_specific.")
            if n_ctx is not None and n_ctx > len(ids):
                raise ValueError(f"n_ctx is {n_ctx}, but init {init!r} has {len(ids)} tokens; give at most as many.")
            n_ctx = n_ctx or len(ids)
            said = ops.convert_to_numpy(tower.embed(np.array([ids[:n_ctx]], "int32")))[0]
            initializer = lambda shape, dtype=None: ops.convert_to_tensor(said, dtype)  # noqa: E731
        if n_ctx is None:
            n_ctx = min(COUNT_OF_CONTEXT, room_for(preprocessor, class_names))
        self.count, self.width = n_ctx, width
        layout = laid_out(preprocessor, class_names, self.count, class_position, init)
        self.class_specific, self.start = class_specific, layout.start
        # what stands behind the end of a text that is pooled is seen by nothing before it
        longest = int(layout.padding_mask.sum(axis=1).max())
        length = longest if tower.causal and tower.eot_id is not None else layout.token_ids.shape[1]
        self.arrays = {"token_ids": layout.token_ids[:, :length], "padding_mask": layout.padding_mask[:, :length]}
        self.places, self.is_name = layout.places[:, :length], layout.is_name[:, :length]
        shape = (len(class_names), self.count, width) if class_specific else (self.count, width)
        self.vectors = self.add_weight(name="vectors", shape=shape, initializer=initializer, autocast=False)
        self.built = True

    def embed(self, tower, vectors=None, **options) -> Tensor:
        """Embeddings of the classes, unit length, float32.

        Args:
            tower: the text tower, of the encoder.
            vectors: in place of its own, `(n_ctx, width)`; or `(batch, n_ctx, width)`, a context for each picture; or
                `(batch, classes, n_ctx, width)`, one for each picture and class.
            **options: of the tower, such as `prompts`.

        Returns:
            `(classes, embed_dim)`; of a context for each picture `(batch, classes, embed_dim)`.
        """
        return l2_normalize(self.features(tower, vectors, **options))

    def features(self, tower, vectors=None, **options) -> Tensor:
        """As `embed`, of any length."""
        of_pictures = vectors is not None and len(vectors.shape) > 2
        arrays = [ops.convert_to_tensor(self.arrays[each.name]) for each in tower.inputs]  # (classes, length)
        embeddings = self.texts(tower, vectors)
        if of_pictures:
            rows, shape = ops.shape(vectors)[0], self.places.shape
            embeddings = ops.reshape(embeddings, (-1, *embeddings.shape[2:]))  # (batch * classes, length, width)
            arrays = [ops.reshape(ops.broadcast_to(each, (rows, *shape)), (-1, shape[1])) for each in arrays]
        found = ops.cast(tower(*arrays, embeddings=embeddings, training=False, **options)["embedding"], "float32")
        return ops.reshape(found, (-1, len(self.places), found.shape[-1])) if of_pictures else found

    def names(self, tower) -> Tensor:
        """The mean embedding of the tokens of each class that stand around no context: its name, `(classes, width)`."""
        own = ops.cast(tower.embed(ops.convert_to_tensor(self.arrays["token_ids"])), "float32")
        shares = self.is_name / np.maximum(self.is_name.sum(axis=1, keepdims=True), 1)
        return ops.einsum("cl,cld->cd", shares.astype("float32"), own)

    def texts(self, tower, vectors=None) -> Tensor:
        """Embeddings of the tokens of all classes, `(classes, length, width)`; `vectors` as in `embed`."""
        own = ops.cast(tower.embed(ops.convert_to_tensor(self.arrays["token_ids"])), "float32")
        where = np.maximum(self.places, 0)
        if vectors is not None and len(vectors.shape) == 4:
            chosen = np.equal(where[..., None], np.arange(self.count)).astype("float32")  # (classes, length, n_ctx)
            context = ops.einsum("cln,bcnd->bcld", chosen, vectors)
        elif vectors is not None and len(vectors.shape) == 3:
            context = ops.reshape(ops.take(vectors, where.reshape(-1), axis=1), (-1, *where.shape, self.width))
        elif vectors is None and self.class_specific:
            context = ops.take_along_axis(ops.convert_to_tensor(self.vectors), where[..., None], axis=1)
        else:
            context = ops.take(ops.convert_to_tensor(self.vectors) if vectors is None else vectors, where, axis=0)
        return ops.where(self.places[..., None] >= 0, context, own)
