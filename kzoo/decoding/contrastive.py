"""Contrastive search: a probable next id whose state is unlike those of the ids before it."""

import numpy as np

from kzoo.decoding.processors import largest, log_normaliser
from kzoo.decoding.rows import Rows
from kzoo.types import Array


def contrastive(decoder, prefixes, options) -> tuple[Array, Array]:
    """Of the `top_k` likeliest ids, the one with the largest (1 - alpha) * p(v) - alpha * max_j cos(h_v, h_j).

    h_v is the decoder's state once v is written, h_j that of each id before it, the prefix included. So each
    position is read with all candidates, a row for each, and then decided.
    """
    pictures, width = len(prefixes), options.top_k
    rows = Rows(decoder, prefixes, width, options)
    firsts = np.arange(pictures) * width  # rows of a picture are alike but for the id that is being decided
    log_p = np.full((pictures, width), -np.inf)  # of the candidates; -inf is a row without one
    directions = None  # of the states of all ids written, (pictures, max_length, channels)
    own, parents = np.arange(pictures * width), None
    for position in range(options.max_length):
        logits, states = rows.step(position, parents)
        states = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
        if directions is None:
            directions = np.zeros((pictures, options.max_length, states.shape[-1]), "float32")
        parents, deciding = own.copy(), set(rows.choosing(position))
        for picture, first in enumerate(firsts):
            mine, winner = slice(first, first + width), first
            if first in deciding:
                likeness = (states[mine] @ directions[picture, :position].T).max(axis=-1)  # (top_k,)
                best = _decide(log_p[picture], likeness, options.alpha)
                winner = first + best
                parents[mine] = winner
                token_id = rows.token_ids[winner, position]
                for row in range(first, first + width):
                    rows.append(row, position, token_id, log_p[picture, best])
            directions[picture, position] = states[winner]
        if position:
            rows.report(position)
        if rows.finished.all() or position + 1 == options.max_length:
            break
        rows.force(position + 1)
        for first in set(rows.choosing(position + 1)) & set(firsts):
            scores = rows.process(logits[parents[first]], first, position + 1)
            ids = largest(scores, width)
            rows.token_ids[first : first + ids.size, position + 1] = ids
            log_p[first // width, : ids.size] = scores[ids] - log_normaliser(scores)
        parents = None if np.array_equal(parents, own) else parents
    return rows.result()


def _decide(log_p, likeness, alpha):
    """The place of the best candidate, of equal ones the likelier; one that is banned is never taken."""
    score = (1 - alpha) * np.exp(log_p) - alpha * likeness
    return int(np.where(log_p > -np.inf, score, -np.inf).argmax())
