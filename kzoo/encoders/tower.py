"""What a tower declares: the one contract that models, checks, presets, export, cards and tests read."""

from dataclasses import dataclass
from typing import Any

from kzoo.bases import Layer
from kzoo.layers.configured import Configured
from kzoo.paths import at
from kzoo.types import Tensor

OPTIONS = ("any_size", "mask", "keep", "embeddings", "prompts", "layers", "until", "tokens", "context")

FIRST = {"image": "images", "text": "token_ids"}  # modality -> what a batch calls its first array, if not alike


@dataclass(frozen=True)
class Input:
    """One array that a tower reads.

    Args:
        name: what a batch calls it where the tower stands for its own modality, such as `"images"`.
        shape: of one row, None where a side varies, such as `(None,)` for token ids; None altogether where a layer of
            somebody else does not say it.
        dtype: such as `"uint8"`, `"int32"`, `"bool"` or `"float32"`.
        optional: whether the tower can do without it.
    """

    name: str
    shape: tuple
    dtype: str
    optional: bool = False


class Tower(Configured, Layer):
    """Arrays of one modality in, named features out.

    Nothing else is asked of a tower than what stands here; a layer or model of Keras and a backbone of keras-hub become
    one by `kzoo.encoders.as_tower`.

    A subclass takes its arguments in the constructor, which is also its config, builds its layers there, and sets:

    Attributes:
        kind: its name in preset tables.
        title: what a model card calls it, such as `"vision transformer"`.
        modality: `"image"`, `"text"` or another.
        inputs: tuple of `Input`, in the order of the arguments of `call`; only those that are read.
        embed_dim: channels of the embedding.
        token_dim: channels of the tokens; None where it gives none.
        num_blocks: blocks that can be counted by `layers` and `until`; None where there are none.
        grid: rows and columns of the tokens as a map, behind the first `prefix_tokens`; None where they are no map.
        pads_tokens: whether some of the tokens of a picture stand for nothing.
        prefix_tokens: tokens before the grid, such as a class token.
        position_path: attributes from the tower to its position table, such as `"embedding.position_embedding"`; None
            where there is none that can be resampled.
        position_grid: rows and columns of that table, behind its first rows; None where it is that of a sequence. Not
            always `grid`: CoCa's patches have positions, but its tokens are queries.
        position_tail: rows at the end of a table of a sequence that stay as they are when it is resampled.
        image_size: `(height, width)` in pixels, of towers of pictures of one size; else None.
        context_length, vocab_size, pad_id, eot_id: of towers of token ids; else None. `eot_id` is None where no
            end of text is pooled.
        causal: whether what it gives of a token depends on that and the ones before alone.
        stack: name of the attribute that holds its blocks or stages, a list of layers or of lists of layers, from the
            input to the output; None where there are none.
        after_stack: names of the attributes that are what follows these, a layer or None each.
        options: what `call` takes beside its inputs and `training`, some of:

            - `any_size=True`: pictures of another size than `image_size`;
            - `mask`: bool tensor `(rows, positions)`, True where a patch or token is hidden: a learned vector stands
              there; only of a tower that was built with one;
            - `keep`: int tensor `(rows, kept)`, the positions that enter the blocks, the others are dropped; class
              tokens stay. The tokens that come out are the kept ones, in that order;
            - `embeddings`: float tensor `(rows, positions, width)`, what stands for the embeddings of the patches or
              token ids, before class tokens and positions; `embed(*arrays)` gives those of the arrays;
            - `prompts`: dict of a number of blocks to a float tensor `(count, width)` or `(rows, count, width)`: tokens
              put in before that block, behind the class token or the start of the text, in place of those that were
              put in before. They have no position and are not among the tokens that come out;
            - `layers`: tuple of numbers of blocks, of which the features are given too;
            - `tokens=False`: nothing but the embedding is wanted; no tokens come out, and where one position is pooled
              the last block is run for that alone;
            - `until`: how many blocks are run; norm and pooling follow;
            - `context`: float tensor `(rows, S, any)` that the blocks attend to.
    """

    kind: str | None = None
    title: str | None = None
    modality: str | None = None
    token_dim = num_blocks = grid = position_path = position_grid = None
    prefix_tokens = position_tail = 0
    stack: str | None = None
    after_stack: tuple[str, ...] = ()
    pads_tokens = causal = False
    image_size = context_length = vocab_size = pad_id = eot_id = None
    options: frozenset = frozenset()

    @property
    def inputs(self) -> tuple:
        """Tuple of `Input`, in the order of the arguments of `call`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads; give it a property `inputs`.")

    def depths(self) -> list[list]:
        """Its trained weights, lists from the input to the output: embeddings, each block or stage of its `stack`, and
        what follows, `after_stack`. Learning rates by depth go by it."""
        blocks = [_trained(each) for each in getattr(self, self.stack)] if self.stack else []
        after = _trained([getattr(self, name) for name in self.after_stack])
        seen = {id(weight) for weights in (*blocks, after) for weight in weights}
        before = [weight for weight in self.trainable_variables if id(weight) not in seen]
        return [weights for weights in (before, *blocks, after) if weights]

    def check(self, arrays, called=None, any_size=False) -> None:
        """Stops with a sentence where arrays do not fit.

        Args:
            arrays: dict of name of an input -> array or tensor `(rows, ...)`; shapes are checked of all, values of
                numpy arrays only.
            called: name of an input -> what the batch calls it, for the sentence.
            any_size: whether pictures may have another size.

        Raises:
            ValueError: an input that is missing, or an array of another shape or with values that cannot be.
        """
        called = called or {}
        for each in self.inputs:
            name = called.get(each.name, each.name)
            if each.name not in arrays:
                if not each.optional:
                    raise ValueError(f"there is no {name!r}, which {type(self).__name__} reads; {self.wants(each)}.")
                continue
            shape = tuple(arrays[each.name].shape)
            if each.shape is None:
                continue
            if len(shape) != 1 + len(each.shape) or not self.fits(each, shape[1:], any_size):
                raise ValueError(f"{name} have shape {shape}, but {self.wants(each)}.")
        self.check_values(arrays, called)

    def fits(self, given, shape, any_size=False) -> bool:
        """Whether a row of `shape`, with as many axes as an input has, can be read; None where a side is not known."""
        free = len(shape) - 1 if any_size and given == self.inputs[0] else 0  # all sides of a picture but the channels
        return all(None in (got, want) or got == want for got, want in zip(shape[free:], given.shape[free:]))

    def check_values(self, arrays, called) -> None:
        """Stops where numbers of numpy arrays cannot be what a tower reads; nothing is asked of most."""

    def wants(self, given) -> str:
        """What an input should be, as the end of a sentence."""
        shape = ", ".join("any" if side is None else str(side) for side in given.shape)
        return f"this model takes (batch{', ' if shape else ''}{shape}) there"

    def samples(self, rows, seed=0) -> dict:
        """Arrays that exercise every input, optional ones included: name -> array `(rows, ...)`.

        Args:
            rows: how many.
            seed: of the random numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no samples; define `samples(rows, seed)`.")

    def embed(self, *arrays) -> Tensor:
        """Embeddings of the patches or token ids of the inputs, float tensor `(rows, positions, width)`."""
        raise ValueError(f"{type(self).__name__} cannot be run from its embeddings.")

    def for_export(self) -> "Tower":
        """The tower that graphs hold in the place of this one: itself, or one of its class with the same numbers and
        less to compute, which is a config of its own and is compared with this one before it is left on disk."""
        return self


def _trained(layer):
    """Weights that are trained, of a layer, of None or of a list of these."""
    if isinstance(layer, list):
        return [weight for each in layer for weight in _trained(each)]
    return [] if layer is None else layer.trainable_variables


def table_of(tower) -> Any:
    """The position table of a tower, a weight; None where there is none."""
    return None if tower.position_path is None else at(tower, tower.position_path)
