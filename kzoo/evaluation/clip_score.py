"""CLIPScore: how near a caption is to its picture, in the embedding space of a dual encoder. In numpy."""

import numpy as np

from kzoo.arguments import FLAG, takes
from kzoo.evaluation.directions import directions
from kzoo.types import Array

WEIGHT = 2.5  # stretches the cosines of the paper's model, about 0 to 0.4, over [0, 1]


@takes(per_sample=FLAG)
def clip_score(image_embeddings, text_embeddings, per_sample=False) -> float | Array:
    """CLIPScore, 2.5 * max(cosine, 0) of each picture with its caption.

    The paper's numbers come from CLIP ViT-B/32, with "A photo depicts " before each caption; those of another
    model have another scale.

    Args:
        image_embeddings: float array `(n, dim)`, of any length; row i is the picture of caption i.
        text_embeddings: float array `(n, dim)`, of any length.
        per_sample: return the score of each sample in place of their mean.

    Returns:
        float in [0, 2.5], or with `per_sample` a float array `(n,)`.

    Raises:
        ValueError: arrays that are not pairs of rows, a row that is zero or not finite.

    Example:
        >>> clip_score([[2.0, 0.0]], [[0.3, 0.4]])
        1.5

    Reference:
        Hessel et al., CLIPScore, 2021, arXiv 2104.08718.
    """
    scores = _with_image(*_pairs(image_embeddings, text_embeddings))
    return scores if per_sample else float(scores.mean())


@takes(per_sample=FLAG)
def ref_clip_score(image_embeddings, text_embeddings, reference_embeddings, per_sample=False) -> float | Array:
    """RefCLIPScore: the harmonic mean of CLIPScore and the caption's best cosine with a reference, at least 0.

    Args:
        image_embeddings: float array `(n, dim)`, as in `clip_score`.
        text_embeddings: float array `(n, dim)`, of the captions.
        reference_embeddings: list of n float arrays `(references, dim)`, one array `(n, references, dim)`, or
            `(n, dim)` for one reference each.
        per_sample: return the score of each sample in place of their mean.

    Returns:
        float in [0, 1.43], or with `per_sample` a float array `(n,)`.

    Raises:
        ValueError: as `clip_score`; references of another number of samples or another width.

    Example:
        >>> ref_clip_score([[2.0, 0.0]], [[0.3, 0.4]], [[[-1.0, 0.0], [0.3, 0.4]]])
        1.2

    Reference:
        Hessel et al., CLIPScore, 2021, arXiv 2104.08718, section 3.
    """
    images, texts = _pairs(image_embeddings, text_embeddings)
    if len(reference_embeddings) != len(texts):
        raise ValueError(f"references of {len(reference_embeddings)} samples came for {len(texts)} captions.")
    nearest = np.empty(len(texts))
    for index, (text, entry) in enumerate(zip(texts, reference_embeddings)):
        rows = np.atleast_2d(np.asarray(entry, "float64"))
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(text):
            raise ValueError(
                f"the reference embeddings of sample {index} are of shape {np.shape(entry)}, "
                f"but (references, {len(text)}) is expected, with at least one."
            )
        nearest[index] = max(np.max(directions(rows, f"the reference embeddings of sample {index}") @ text), 0.0)
    scores = _with_image(images, texts)
    total = scores + nearest
    scores = np.divide(2 * scores * nearest, total, out=np.zeros_like(total), where=total > 0)
    return scores if per_sample else float(scores.mean())


def _with_image(images, texts):
    return WEIGHT * np.maximum(np.sum(images * texts, axis=-1), 0.0)


def _pairs(image_embeddings, text_embeddings):
    images = np.asarray(image_embeddings, "float64")
    texts = np.asarray(text_embeddings, "float64")
    if images.ndim != 2 or images.shape != texts.shape or not len(images):
        raise ValueError(
            f"image embeddings {images.shape} and text embeddings {texts.shape} are not pairs of rows (n, dim)."
        )
    return directions(images, "the image embeddings"), directions(texts, "the text embeddings")
