"""Retrieval between two sets of embeddings, in numpy and in blocks of rows."""

import warnings

import numpy as np

from kzoo.arguments import COUNT, sequence, takes
from kzoo.evaluation.directions import with_direction
from kzoo.evaluation.results import Results

BLOCK = 2048  # rows whose similarities are held at a time


@takes(ks=sequence(COUNT, "numbers of neighbours, such as (1, 5, 10)", 1))
def recall_at_k(image_embeddings, text_embeddings, ks=(1, 5, 10), image_ids=None) -> Results:
    """Share of queries whose partner is among the k nearest, in both directions.

    Rows with the same score share their mean rank, so a collapsed model scores as chance does. Rows that are zero or
    not finite have no direction: they find nothing and are found by nothing, which a warning says.

    Args:
        image_embeddings: float array `(n, dim)`, of any length: cosines are compared.
        text_embeddings: float array `(n, dim)`, likewise; row i belongs to row i.
        ks: numbers of neighbours.
        image_ids: int array `(n,)`; rows with one id show one image under several captions. Each image then
            counts once, and finding any of its captions is a hit. Default: every row its own image.

    Returns:
        dict, in a notebook a table: `image_to_text_recall@k` and `text_to_image_recall@k` for each k, in [0, 1].

    Raises:
        ValueError: arrays that are not pairs of rows, another number of ids.

    Example:
        >>> recall_at_k(np.eye(3), np.eye(3), ks=(1,))
        {'image_to_text_recall@1': 1.0, 'text_to_image_recall@1': 1.0}
    """
    images, texts = np.asarray(image_embeddings, "float32"), np.asarray(text_embeddings, "float32")
    if images.ndim != 2 or images.shape != texts.shape or not len(images):
        raise ValueError(
            f"image embeddings {images.shape} and text embeddings {texts.shape} are not pairs of rows (n, dim)."
        )
    if image_ids is not None and np.shape(image_ids) != (len(images),):
        raise ValueError(f"image_ids has shape {np.shape(image_ids)} for {len(images)} pairs; give one id per pair.")
    (images, image_found), (texts, text_found) = with_direction(images), with_direction(texts)
    missing = [np.sum(~image_found), np.sum(~text_found)]
    if any(missing):
        warnings.warn(
            f"{missing[0]} image embeddings and {missing[1]} text embeddings of {len(images)} are zero or not finite; "
            "they count as misses.",
            stacklevel=2,
        )
    image_of_text = np.arange(len(texts))
    if image_ids is not None:
        _, first, image_of_text = np.unique(np.asarray(image_ids), return_index=True, return_inverse=True)
        images, image_found = images[first], image_found[first]
    recalls = {}
    for name, ranks in (
        ("image_to_text", _ranks((images, image_found), (texts, text_found), np.arange(len(images)), image_of_text)),
        ("text_to_image", _ranks((texts, text_found), (images, image_found), image_of_text, np.arange(len(images)))),
    ):
        recalls |= {f"{name}_recall@{k}": float(np.mean(ranks < k)) for k in ks}
    return Results(recalls)


def _ranks(queries, gallery, query_labels, gallery_labels):
    """Per query: how many gallery rows of other labels lie before its best match, ties by half.

    Queries and gallery are pairs of rows and which of them have a direction; without one the rank is infinite.
    """
    (queries, asking), (gallery, answering) = queries, gallery
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        scores = np.where(answering, queries[block] @ gallery.T, -np.inf)  # (block, gallery)
        match = query_labels[block, None] == gallery_labels[None, :]
        best = np.max(np.where(match, scores, -np.inf), axis=1, keepdims=True)
        before = np.sum((scores > best) & ~match, axis=1)
        ties = np.sum((scores == best) & ~match, axis=1)
        ranks[block] = np.where(asking[block] & np.isfinite(best[:, 0]), before + ties / 2, np.inf)
    return ranks
