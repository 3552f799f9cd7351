"""Any number of towers, one space."""

import itertools

import keras
from keras import ops

from kzoo.layers.configured import Configured
from kzoo.layers.numerics import l2_normalize
from kzoo.layers.similarity import SimilarityHead
from kzoo.losses.base import Loss
from kzoo.models.any_tower import embed_dim_of, embedding_of, input_names
from kzoo.models.checks import check_input, check_rows, contents
from kzoo.models.contrastive import ContrastiveModel
from kzoo.models.dual_encoder import tower_inputs


@keras.saving.register_keras_serializable(package="kzoo")
class MultiEncoder(Configured, ContrastiveModel):
    """One tower for each of N modalities, whose embeddings meet in one space (ImageBind, Symile, GRAM).

    Args:
        encoders: dict of modality -> tower: of kzoo, or a keras model or layer from one array to a dict with
            `"embedding"` or to a tensor `(batch, width)`, built. At least two, of one width.
        similarity: a `SimilarityHead`; default CLIP's, scale 1 / 0.07 without a bias.
        loss: list of terms as in a preset row; what `compile` takes when it is given none. Default the sum of `InfoNCE`
            over all pairs of modalities.

    Inputs:
        dict with an array for each modality, by its name; what its tower reads beside it by a name behind it, such as
        `title_padding_mask`. A modality called `image` reads `images` and one called `text` reads `token_ids` and
        `padding_mask`, as in `DualEncoder`. Some modalities are enough to embed them. Other entries are for the loss.

    Returns:
        dict: `<modality>_embeddings`, float32 `(batch, embed_dim)`, unit length.

    A loss of any number of tensors (`Symile()`, `GramContrastive()`) whose `inputs` are not given reads all modalities,
    in the order of `encoders`; others are told which: `InfoNCE(inputs=("audio_embeddings", "text_embeddings"))`.

    Raises:
        ValueError: fewer than two towers, embeddings of different widths, names that clash; batches that do not fit,
            see the sentence; at `compile` a loss that reads embeddings of a modality that is not there.

    Example:
        >>> model = kzoo.MultiEncoder({"image": image_tower, "text": text_tower, "audio": audio_tower})
        >>> model.compile("adamw", loss=kzoo.losses.Symile())
        >>> model.fit({"images": images, "token_ids": token_ids, "audio": spectrograms}, batch_size=256)

    Reference:
        Girdhar et al., ImageBind, 2023, arXiv 2305.05665; Saporta et al., Symile, 2024, arXiv 2411.01053.
    """

    def __init__(self, encoders, similarity=None, loss=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not isinstance(encoders, dict) or len(encoders) < 2:
            raise ValueError("encoders holds fewer than two towers; give a dict of modality -> tower.")
        widths = {name: embed_dim_of(tower, f"encoders[{name!r}]") for name, tower in encoders.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(f"the embeddings have different widths, {widths}; give all towers the same embed_dim.")
        self.embed_dim = next(iter(widths.values()))
        self.inputs_of = {name: _inputs_of(tower, name) for name, tower in encoders.items()}
        taken = [name for names in self.inputs_of.values() for name in names]
        if clash := next((name for name in taken if taken.count(name) > 1), None):
            raise ValueError(f"two towers would read {clash!r} of a batch; give the modalities other names.")

        # -- layers --
        self.encoders = dict(encoders)
        self.similarity = similarity or SimilarityHead(name="similarity")
        pairs = itertools.combinations(self.output_names, 2)
        self.loss_spec = tuple(loss or ({"loss": "InfoNCE", "inputs": list(pair)} for pair in pairs))
        self.build()

    @property
    def output_names(self):
        """Names of the embeddings, in the order of the towers."""
        return tuple(f"{name}_embeddings" for name in self.inputs_of)

    # -- forward --
    def check_batch(self, batch):
        """Stops with a sentence where a batch holds no modality, or arrays that do not fit their towers."""
        firsts = {names[0]: modality for modality, names in self.inputs_of.items()}
        if not isinstance(batch, dict) or not firsts.keys() & batch.keys():
            raise ValueError(
                f"a batch has {contents(batch)}, but a dict of arrays is expected, of {', '.join(firsts)}."
            )
        check_rows(batch)
        for name, modality in firsts.items():
            if name in batch:
                check_input(batch[name], self.encoders[modality])

    def call(self, batch, training=None):
        results = {}
        for modality, names in self.inputs_of.items():
            if names[0] in batch:
                x = embedding_of(self.encoders[modality], [batch.get(name) for name in names], training)
                results[f"{modality}_embeddings"] = l2_normalize(ops.reshape(x, (-1, self.embed_dim)))
        return results

    # -- train --
    def check_loss(self, loss):
        for term in getattr(loss, "terms", [loss]):
            _fill_inputs(term, self.output_names)
        unknown = [name for name in loss.reads if name.endswith("_embeddings") and name not in self.output_names]
        if unknown:
            raise ValueError(
                f"the loss reads {unknown[0]!r}, but the model gives {', '.join(self.output_names)}; name those that a "
                "loss shall compare with inputs=(...)."
            )

    # -- config --
    def get_config(self):
        parts = {"encoders": self.encoders, "similarity": self.similarity, "loss": list(self.loss_spec)}
        return super().get_config() | parts


def _inputs_of(tower, modality):
    return tower_inputs(tower, modality) if modality in ("image", "text") else input_names(tower, modality)


def _fill_inputs(loss, names):
    """Let a loss of any number of tensors read all modalities, unless it was told what to read."""
    takes_any = isinstance(loss, Loss) and (loss.input_counts or (0, 0))[1] is None
    if takes_any and not loss.get_config().get("inputs"):
        loss.input_names = tuple(names)
