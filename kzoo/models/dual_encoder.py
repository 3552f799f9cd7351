"""The dual encoder: two towers, one space."""

import keras

from kzoo.encoders.as_tower import as_tower
from kzoo.layers.similarity import SimilarityHead
from kzoo.models.embedding_model import EmbeddingModel, check_pair, wants_pairs


@keras.saving.register_keras_serializable(package="kzoo")
class DualEncoder(EmbeddingModel):
    """An image tower and a text tower whose embeddings meet in one space (CLIP, SigLIP, ALIGN).

    Args:
        image_encoder: a `Tower` of pictures, or what `kzoo.encoders.as_tower` makes one of.
        text_encoder: a `Tower` of token ids, likewise.
        similarity: a `SimilarityHead`; default CLIP's, scale 1 / 0.07 without a bias.
        preprocessor: a `Preprocessor`, or None to work with arrays only.
        loss: list of terms as in a preset row; what `compile` takes when it is given none.
        heads: list of `kzoo.layers.Head`, named layers between what the towers give and the loss.
        teacher: an `EMATeacher` or a `FixedTeacher`, which gives all names after `teacher_`, or None.

    Inputs:
        dict with `images` uint8 or float `(batch, height, width, 3)` in [0, 255], `token_ids` int
        `(batch, length)`, `padding_mask` bool `(batch, length)`; one modality is enough to embed it. With one axis more
        after the batch they are bags: several captions or crops of each. Further sets have a name before theirs:
        captions that are nearly right are `negative_token_ids` `(batch, N, length)`, as `preprocessor(negatives=...)`
        gives them.

    Returns:
        dict: `image_embeddings` and `text_embeddings`, float32 `(batch, embed_dim)`, unit length; by request
        (`outputs=("image_tokens",)`) anything else that `ContrastiveModel` lists, such as `text_tokens`
        `(batch, length, width)` and `negative_text_embeddings` `(batch, N, embed_dim)`, also called `negatives`.

    Raises:
        ValueError: towers with embeddings of different widths; batches that do not fit, see the sentence.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.compile("clip_adamw")
        >>> model.fit({"images": images, "token_ids": token_ids}, batch_size=256)

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    kind = "dual_encoder"
    tower_names = {"image": "image_encoder", "text": "text_encoder"}

    def __init__(
        self,
        image_encoder,
        text_encoder,
        similarity=None,
        preprocessor=None,
        loss=None,
        heads=(),
        teacher=None,
        **kwargs,
    ):
        # no autocast: each tower casts for itself, pixels would lose precision on the way
        super().__init__(autocast=False, **kwargs)
        self.image_encoder = as_tower(image_encoder, "image", called="the image_encoder")
        self.text_encoder = as_tower(text_encoder, "text", called="the text_encoder")
        check_pair(self.image_encoder, self.text_encoder)
        self.similarity = similarity or SimilarityHead(name="similarity")
        self.add_parts()
        self.settle(self.similarity, heads, teacher, preprocessor, loss or ({"loss": "InfoNCE"},))

    def add_parts(self) -> None:
        """Layers that a form has beside its towers."""

    def wants(self, batch) -> str:
        return wants_pairs(batch)
