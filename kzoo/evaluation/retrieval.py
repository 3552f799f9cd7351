"""Retrieval between two sets of embeddings, in numpy and in blocks of rows."""

import numpy as np

BLOCK = 2048  # rows whose similarities are held at a time


def recall_at_k(image_embeddings, text_embeddings, ks=(1, 5, 10), image_ids=None):
    """Share of queries whose partner is among the k nearest, in both directions.

    Rows with the same score share their mean rank, so a collapsed model scores as chance does.

    Args:
        image_embeddings: float array `(n, dim)`, unit length.
        text_embeddings: float array `(n, dim)`, unit length; row i belongs to row i.
        ks: numbers of neighbours.
        image_ids: int array `(n,)`; rows with one id show one image under several captions. Each image then
            counts once, and finding any of its captions is a hit. Default: every row its own image.

    Returns:
        dict: `image_to_text_recall@k` and `text_to_image_recall@k` for each k, in [0, 1].

    Example:
        >>> recall_at_k(np.eye(3), np.eye(3), ks=(1,))
        {'image_to_text_recall@1': 1.0, 'text_to_image_recall@1': 1.0}
    """
    images = np.asarray(image_embeddings, "float32")
    texts = np.asarray(text_embeddings, "float32")
    if images.ndim != 2 or images.shape != texts.shape or not len(images):
        raise ValueError(
            f"image embeddings {images.shape} and text embeddings {texts.shape} are not pairs of rows (n, dim)."
        )
    image_of_text = np.arange(len(texts))
    if image_ids is not None:
        _, first, image_of_text = np.unique(np.asarray(image_ids), return_index=True, return_inverse=True)
        images = images[first]
    recalls = {}
    for name, ranks in (
        ("image_to_text", _ranks(images, texts, np.arange(len(images)), image_of_text)),
        ("text_to_image", _ranks(texts, images, image_of_text, np.arange(len(images)))),
    ):
        recalls |= {f"{name}_recall@{k}": float(np.mean(ranks < k)) for k in ks}
    return recalls


def _ranks(queries, gallery, query_labels, gallery_labels):
    """Per query: how many gallery rows of other labels lie before its best match, ties by half."""
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        scores = queries[block] @ gallery.T  # (block, gallery)
        match = query_labels[block, None] == gallery_labels[None, :]
        best = np.max(np.where(match, scores, -np.inf), axis=1, keepdims=True)
        before = np.sum((scores > best) & ~match, axis=1)
        ties = np.sum((scores == best) & ~match, axis=1)
        ranks[block] = before + ties / 2
    return ranks
