"""One id after the other: the walk that greedy search and sampling share, and greedy search."""

from kzoo.decoding.processors import log_normaliser
from kzoo.decoding.rows import Rows
from kzoo.types import Array


def greedy(decoder, prefixes, options) -> tuple[Array, Array]:
    """The most probable id at each position, of equal ones the smaller."""
    return walk(decoder, prefixes, options, lambda scores, row, position: int(scores.argmax()))


def walk(decoder, prefixes, options, choose) -> tuple[Array, Array]:
    """Write each row from left to right, never taking an id back.

    Args:
        decoder, prefixes, options: as `generate` checked them.
        choose: function of a row's processed logits `(vocab_size,)`, the row and the position to the id to write.

    Returns:
        token ids and scores, as `generate` returns them.
    """
    rows = Rows(decoder, prefixes, options.num_captions, options)
    for position in range(1, options.max_length):
        logits, _ = rows.step(position - 1)
        rows.force(position)
        for row in rows.choosing(position):
            scores = rows.process(logits[row], row, position)
            token_id = choose(scores, row, position)
            rows.append(row, position, token_id, scores[token_id] - log_normaliser(scores))
        rows.report(position)
        if rows.finished.all():
            break
    return rows.result()
