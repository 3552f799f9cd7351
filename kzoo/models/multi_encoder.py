"""Any number of towers, one space."""

import itertools
from typing import Self

import keras

from kzoo.encoders.as_tower import as_tower
from kzoo.layers.similarity import SimilarityHead
from kzoo.models.embedding_model import EmbeddingModel, check_widths
from kzoo.models.slots import names_of


@keras.saving.register_keras_serializable(package="kzoo")
class MultiEncoder(EmbeddingModel):
    """One tower for each of N modalities, whose embeddings meet in one space (ImageBind, Symile, GRAM).

    Args:
        encoders: dict of modality -> tower: of kzoo, or what `kzoo.encoders.as_tower` makes one of, such as a keras
            model or layer from one array to a tensor `(batch, width)`, built. At least two, of one width. One tower
            under two names is shared.
        similarity: a `SimilarityHead`; default CLIP's, scale 1 / 0.07 without a bias.
        loss: list of terms as in a preset row; what `compile` takes when it is given none. Default the sum of `InfoNCE`
            over all pairs of modalities.
        preprocessor: a `Preprocessor` of its pictures and texts, or None to work with arrays only.
        heads: list of `kzoo.layers.Head`, as in `DualEncoder`.
        teacher: as in `DualEncoder`.

    Inputs:
        dict with an array for each modality, by its name; what its tower reads beside it by a name behind it, such as
        `title_padding_mask`. A modality called `image` reads `images` and one called `text` reads `token_ids` and
        `padding_mask`, as in `DualEncoder`. Some modalities are enough to embed them. Other entries are for the loss.

    Returns:
        dict: `<modality>_embeddings`, float32 `(batch, embed_dim)`, unit length; by request all that
        `ContrastiveModel` lists.

    A loss of any number of tensors (`Symile()`, `GramContrastive()`) whose `inputs` are not given reads all modalities,
    in the order of `encoders`; others are told which: `InfoNCE(inputs=("audio_embeddings", "text_embeddings"))`.

    Raises:
        ValueError: fewer than two towers, embeddings of different widths, names that clash; batches that do not fit,
            see the sentence; at `compile` a loss that reads embeddings of a modality that is not there.

    Example:
        >>> model = kzoo.MultiEncoder({"image": image_tower, "text": text_tower, "audio": audio_tower})
        >>> model.compile("clip_adamw", loss=kzoo.losses.Symile())
        >>> model.fit({"images": images, "token_ids": token_ids, "audio": spectrograms}, batch_size=256)

    Reference:
        Girdhar et al., ImageBind, 2023, arXiv 2305.05665; Saporta et al., Symile, 2024, arXiv 2411.01053.
    """

    kind = "multi_encoder"

    def __init__(self, encoders, similarity=None, loss=None, preprocessor=None, heads=(), teacher=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not isinstance(encoders, dict) or len(encoders) < 2:
            raise ValueError("encoders holds fewer than two towers; give a dict of modality -> tower.")
        self.encoders = dict(encoders)
        # named behind `encoders`: a file has the weights of each layer under the first name that Keras meets it by
        self.encoders_as_towers = {
            name: as_tower(tower, name, called=f"encoders[{name!r}]") for name, tower in encoders.items()
        }
        check_widths(self.encoders_as_towers)
        taken = [entry for name, tower in self.encoders_as_towers.items() for entry in names_of(tower, name).values()]
        if clash := next((entry for entry in taken if taken.count(entry) > 1), None):
            raise ValueError(f"two towers would read {clash!r} of a batch; give the modalities other names.")
        pairs = itertools.combinations(self.any_number(), 2)
        loss = loss or [{"loss": "InfoNCE", "inputs": list(pair)} for pair in pairs]
        self.settle(similarity or SimilarityHead(name="similarity"), heads, teacher, preprocessor, loss)

    @classmethod
    def from_parts(cls, towers, **options) -> Self:
        return cls({name.removesuffix("_encoder"): tower for name, tower in towers.items()}, **options)

    # -- parts --
    @property
    def tower_names(self) -> dict:
        """Modality -> name of its tower in a preset row."""
        return {modality: f"{modality}_encoder" for modality in self.encoders}

    def modalities(self) -> dict:
        return dict(self.encoders_as_towers)

    def towers(self) -> dict:
        return {name: self.encoders_as_towers[modality] for modality, name in self.tower_names.items()}

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the embeddings, in the order of the towers."""
        return self.any_number()

    # -- train --
    def any_number(self) -> tuple:
        return tuple(f"{modality}_embeddings" for modality in self.encoders)

    def check_loss(self, loss) -> None:
        super().check_loss(loss)
        # a slot may have a name before that of its modality, and heads name what they give
        named = {pattern for head in self.heads for pattern in head.gives}
        known = (*self.any_number(), *named)
        unknown = [
            name
            for name in loss.reading(self.any_number())
            if name.endswith("_embeddings") and not name.startswith("teacher_") and not name.endswith(known)
        ]
        if unknown:
            raise ValueError(
                f"the loss reads {unknown[0]!r}, but the model gives {', '.join(self.any_number())}; name those that a "
                "loss shall compare with inputs=(...)."
            )

    # -- config --
    def get_config(self) -> dict:
        return super().get_config() | {"encoders": dict(self.encoders)}
