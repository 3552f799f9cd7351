"""What captioning decoders have in common: states to logits of the next token."""

from keras import ops

from kzoo.layers.linear_logits import LinearLogits
from kzoo.types import Tensor


class DecoderOutput:
    """Mixin for layers from tokens to states, with a method `output_weights` that gives the kernel and the bias."""

    title = embed_dim = position_path = position_grid = context_length = pad_id = eot_id = (
        None  # as towers declare them
    )
    position_tail = 0
    start_id = None  # of a caption, where it is not the first id of its text
    reads_embedding = False  # of the image tower, in place of its tokens
    borrows = False  # the layers of the model's text tower, by its method `borrow`

    @property
    def memory_blocks(self) -> int:
        """How many blocks attend to the image tokens, each with keys and values of its own in `memory`."""
        return len(self.blocks)

    def linear_logits(self, states) -> LinearLogits:
        """Next-token logits of states `(..., width)` as `LinearLogits`, which a loss need not hold as a whole."""
        return LinearLogits(ops.cast(states, self.compute_dtype), *self.output_weights())

    def logits(self, states) -> Tensor:
        """Next-token logits, float32 `(..., vocab_size)`."""
        return self.linear_logits(states).whole()
