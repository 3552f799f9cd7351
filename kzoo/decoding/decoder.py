"""What a search asks of a decoder, whichever engine runs it."""

from typing import Protocol

from kzoo.types import Array


class Decoder(Protocol):
    """A decoder over n pictures, stepped position by position, all rows in lock-step.

    It is a protocol: a class with these members is a decoder, without a subclass. How it remembers the past, a
    key-value cache or `token_ids` read anew at each step, is its own affair.

    Attributes:
        context_length: most ids that a row can hold.
        pictures: n, the pictures of this batch.
        pad_id: id of what stands in a row where no id was written.
    """

    context_length: int
    pictures: int
    pad_id: int

    def begin(self, copies, length) -> None:
        """Start afresh with `n * copies` rows of `length` ids; those of a picture stand beside each other."""

    def step(self, token_ids, position, parents=None) -> tuple[Array, Array]:
        """Read one more id of each row.

        Positions come in order from 0, each once. The last that can come is `length - 1`, from contrastive
        search, which asks for the state there.

        Args:
            token_ids: int32 array `(rows, length)`: every id up to and including `position`, then `pad_id`.
                Written to again after this call, so it is not to be kept.
            position: int, the position to read.
            parents: int array `(rows,)`: the row whose past, up to `position - 1`, each row goes on from. None: each
                its own. `token_ids` stands in the new order already.

        Returns:
            logits float32 `(rows, vocab_size)` for the id at `position + 1`, and states float32 `(rows, width)`: the
            decoder's state at `position`. Neither is written to by the search.
        """
