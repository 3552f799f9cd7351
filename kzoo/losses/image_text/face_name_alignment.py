"""Faces of a picture and names of its caption, without knowing which is whose (SECLA)."""

import keras
from keras import ops

from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, mean_of_directions
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.parts.token_scores import bag_cross_entropies, bags, mean_of_best
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FaceNameAlignment(PairwiseLoss):
    """Links the faces of a picture to the names of its caption, both ways, from knowing the pairs only.

    With unit rows, faces score names by `F_ij = mean_p max_q <face_ip, name_jq>` and names score faces by
    `N_ij = mean_q max_p <face_ip, name_jq>`. `L` is the mean of the cross-entropies of `F / temperature` and of
    `N / temperature`, each over rows and over columns, plus `agreement_weight * mean_ij (F_ij - N_ij)^2`. Inspired by
    SECLA, whose exact loss over a batch we could not read: this is our definition.

    Args:
        temperature: a float or a `LearnableTemperature`.
        agreement_weight: of the term that makes both scores agree; 0 leaves it out.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("face_image_embeddings", "name_text_embeddings")`.

    Inputs:
        faces: float tensor `(batch, faces, dim)`; normalised.
        names: float tensor `(batch, names, dim)`; normalised. A name for "nobody" is the caller's to add.
        faces_mask, names_mask: bool tensors `(batch, faces)`, `(batch, names)`, True where one is real; default all.
            What has none is nobody's candidate, and its pair has loss 0.
        sample_weight: float tensor `(batch,)`, of the cross-entropies and of the agreement of a row's pairs.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor)` with the columns or entries `face_images` and
        `name_texts`, a list of pictures and of names for each pair: bags that both towers read, with masks.

    Returns:
        float32 scalar; that of `InfoNCE` for one face and one name each.

    Raises:
        ValueError: bad temperature, inputs that are no bags of vectors.

    Recommendations:
        Whole pictures and captions: `InfoNCE`; all tokens of both: `FineGrainedContrastive`.

    Example:
        >>> FaceNameAlignment()(np.eye(4)[:, None], np.eye(4)[:, None])
        0.7437

    Reference:
        Qu et al., Weakly Supervised Face Naming with Symmetry-Enhanced Contrastive Loss (SECLA), 2022,
        arXiv 2210.08957.
    """

    default_inputs = ("face_image_embeddings", "name_text_embeddings")
    optional_inputs = PairwiseLoss.optional_inputs | {"faces_mask": "face_image_mask", "names_mask": "name_text_mask"}
    shapes = PairwiseLoss.shapes | {
        "faces": "batch faces dim",
        "names": "batch names dim",
        "faces_mask": "batch faces",
        "names_mask": "batch names",
    }

    def __init__(self, temperature=1.0, agreement_weight=0.0, block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature, self.agreement_weight = check_temperature(temperature), agreement_weight

    def call(self, faces, names, faces_mask=None, names_mask=None, sample_weight=None) -> Tensor:
        faces, names = bags(faces, names, faces_mask, names_mask)
        scale = resolve_scale(self.temperature)
        of_faces = bag_cross_entropies(faces, names, scale, "both", self.block_size)
        of_names = bag_cross_entropies(names, faces, scale, "both", self.block_size)
        per_row = 0.5 * (mean_of_directions(*of_faces) + mean_of_directions(*of_names))
        if self.agreement_weight:
            per_row = per_row + self.agreement_weight * self._disagreement(faces, names)
        return weighted_mean(per_row, sample_weight)

    def _disagreement(self, faces, names):
        """`mean_j (F_ij - N_ij)^2` of each picture i."""

        def squares(i, real, rows, columns):
            x, y = (rows["faces"], rows["real"]), (columns["names"], columns["real"])
            return {
                "mean": ops.mean(ops.square(mean_of_best(*x, *y) - ops.transpose(mean_of_best(*y, *x))), axis=1)
            }, {}

        rows, columns = dict(zip(("faces", "real"), faces)), dict(zip(("names", "real"), names))
        return by_blocks(squares, rows, columns, self.block_size)[0]["mean"]
