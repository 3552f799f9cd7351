"""The token-wise contrastive loss of FILIP."""

import keras

from kzoo.arguments import one_of
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import DIRECTIONS, PairwiseLoss, mean_of_directions
from kzoo.losses.parts.temperature import check_temperature, resolve_scale
from kzoo.losses.parts.token_scores import bag_cross_entropies, bags
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FineGrainedContrastive(PairwiseLoss):
    """InfoNCE on late interaction: each patch finds its best word and each word its best patch.

    With unit tokens `a_ip` and `b_jq`, images score texts by `sI_ij = mean_p max_q <a_ip, b_jq>` and texts score
    images by `sT_ij = mean_q max_p <a_ip, b_jq>`, over real tokens. `L` is the mean of two cross-entropies against the
    diagonal: of the rows of `sI / temperature` and of the columns of `sT / temperature`. From memory of the paper.

    Args:
        temperature: a float, a `LearnableTemperature`, or None: the similarity head of the model that the
            loss is attached to, 0.07 when called alone.
        direction: `"both"`, `"a_to_b"` (rows of `sI`) or `"b_to_a"` (columns of `sT`).
        block_size: rows compared at a time, exact and with less memory, which here grows with
            `batch^2 * tokens^2`: set it. None: all at once.
        inputs: names of the tensors to read; default `("image_projected_tokens", "text_projected_tokens")`.

    Inputs:
        a, b: float tensors `(batch, tokens, dim)` of one `dim`; they are normalised.
        a_mask, b_mask: bool tensors `(batch, tokens)`, True where a token is real; default all. A longer
            mask loses what it says of tokens in front, such as a class token. What has no token is nobody's candidate,
            and its pair has loss 0.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.
        scale: scalar, the model's own `1 / temperature`; read only when `temperature` is None.

    Feeding:
        `DualEncoder(..., heads=[Head(TokenProjector(256, skip=1), "image_tokens", "image_projected_tokens"),
        Head(TokenProjector(256), "text_tokens", "text_projected_tokens")])`, on any pairs; `skip` leaves out the class
        token of a ViT.

    Returns:
        float32 scalar, that of `InfoNCE` for one token each.

    Raises:
        ValueError: unknown direction, bad temperature, inputs that are no tokens.

    Recommendations:
        Models whose tokens are projected to one space. It costs `tokens^2` times `InfoNCE`: mask the tokens that
        matter least, as FILIP does with three of four.

    Example:
        >>> FineGrainedContrastive(0.5)(np.eye(4)[:, None], np.eye(4)[:, None])
        0.3408

    Reference:
        Yao et al., FILIP, 2021, arXiv 2111.07783.
    """

    default_inputs = ("image_projected_tokens", "text_projected_tokens")
    optional_inputs = PairwiseLoss.optional_inputs | {
        "a_mask": "image_token_mask",
        "b_mask": "text_token_mask",
        "scale": "logit_scale",
    }
    shapes = PairwiseLoss.shapes | {
        "a": "batch patches dim",
        "b": "batch words dim",
        "a_mask": "batch _",
        "b_mask": "batch _",
    }
    arguments = {"direction": one_of(*DIRECTIONS)}

    def __init__(self, temperature=None, direction="both", block_size=None, inputs=None, **kwargs):
        super().__init__(block_size, inputs, **kwargs)
        self.temperature = check_temperature(temperature)
        self.direction = direction

    def call(self, a, b, a_mask=None, b_mask=None, sample_weight=None, scale=None) -> Tensor:
        a, b = bags(a, b, self._of_tokens("a_mask", a_mask, a), self._of_tokens("b_mask", b_mask, b))
        scale, per_row = resolve_scale(self.temperature, scale), []
        for x, y, direction in ((a, b, "a_to_b"), (b, a, "b_to_a")):
            asked = self.direction in ("both", direction)
            per_row.append(bag_cross_entropies(x, y, scale, block_size=self.block_size)[0] if asked else None)
        return weighted_mean(mean_of_directions(*per_row), sample_weight)

    def _of_tokens(self, name, mask, tokens):
        """A mask without what it says of tokens in front that a head left out, such as a class token."""
        if mask is None or None in (mask.shape[1], tokens.shape[1]) or mask.shape[1] == tokens.shape[1]:
            return mask
        if mask.shape[1] < tokens.shape[1]:
            raise ValueError(
                f"FineGrainedContrastive got {name} of shape {tuple(mask.shape)} for tokens of shape "
                f"{tuple(tokens.shape)}; name the mask that belongs to them."
            )
        return mask[:, mask.shape[1] - tokens.shape[1] :]
