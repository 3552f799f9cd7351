"""What can be asked of a transformer beside its embedding: positions hidden or dropped, prompts, features of blocks."""

import numpy as np
from keras import ops

from kzoo.encoders.tower import Tower
from kzoo.keras_contact import CalledDirectly
from kzoo.layers.initializers import Normal
from kzoo.layers.pooling import per_row
from kzoo.layers.transformer import TransformerBlock
from kzoo.types import Tensor

SEQUENCE_OPTIONS = frozenset({"keep", "embeddings", "prompts", "layers", "until"})


class SequenceTower(CalledDirectly, Tower):
    """Base of the towers whose tokens go through `self.blocks`; its methods are the options of `Tower`, once for all.

    A subclass sets `width`, calls `_declare_sequence` in its constructor and `_build_mask_token` in its `build`; its
    `call` takes the options and hands them to `_hidden`, `kept` and `_run`. Where none is given, nothing is computed
    but embeddings, blocks and pooling.
    """

    options = SEQUENCE_OPTIONS
    stack = "blocks"

    def _declare_sequence(self, depth, mask_token):
        self.num_blocks = depth
        if mask_token:
            self.options = self.options | {"mask"}

    def _build_mask_token(self):
        self.mask_token = None
        if "mask" in self.options:
            self.mask_token = self.add_weight(name="mask_token", shape=(1, self.width), initializer=Normal(stddev=0.02))

    def compute_mask(self, *args, **kwargs) -> None:
        """None: the option `mask` hides positions, and is not the mask that Keras hands on with a tensor."""

    # -- before the blocks --
    def _standing_in(self, embeddings, positions):
        """The embeddings that are given in place of the tower's own; they have a vector for each position."""
        if tuple(embeddings.shape[1:]) != (positions, self.width):
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)}, but (rows, {positions}, {self.width}) is expected, "
                f"a vector for each position; start from those of {type(self).__name__}.embed."
            )
        return ops.cast(embeddings, self.compute_dtype)

    def _hidden(self, x, mask):
        """`x` `(rows, positions, width)` with the mask token where `mask` is True."""
        if mask is None:
            return x
        if self.mask_token is None:
            raise ValueError(
                f"a mask is given, but {type(self).__name__} has no vector to put where it hides; build it with "
                "mask_token=True."
            )
        if tuple(mask.shape[1:]) != (x.shape[1],):
            raise ValueError(
                f"mask has shape {tuple(mask.shape)}, but (rows, {x.shape[1]}) is expected, an entry for each position."
            )
        token = ops.cast(ops.convert_to_tensor(self.mask_token), x.dtype)  # (1, width)
        return ops.where(ops.expand_dims(ops.cast(mask, "bool"), -1), token, x)

    # -- the blocks --
    def pools_alone(self, tokens, layers, until, prompts, **others) -> bool:
        """Whether the last block may be run for the pooled position alone: nothing else is asked for, no position is
        elsewhere than it was, and nothing is drawn for each position.

        Args:
            tokens, layers, until, prompts: the options.
            **others: what there must be none of.
        """
        plain = not layers and until is None and not prompts and all(each is None for each in others.values())
        return not tokens and plain and self.num_blocks > 0 and self._can_run_alone(self.blocks[-1])

    def _can_run_alone(self, block):
        """Whether a block is as the tower made it: what a subclass adds at each position has no place to be added to,
        and a mask of its own is not the tower's."""
        as_made = type(block).call is TransformerBlock.call and block.attention.causal == getattr(self, "causal", False)
        return as_made and block.dropout is None

    def _run(
        self,
        x,
        finish,
        start,
        padding_mask=None,
        order=None,
        rotary=None,
        prompts=None,
        layers=(),
        until=None,
        training=None,
        position_biases=None,
        alone=None,
        **of_blocks,
    ):
        """Through the blocks and out.

        Args:
            x: float tensor `(rows, length, width)`.
            finish: function of such a tensor, as it leaves a block, to `(embedding, tokens)`.
            start: tokens that prompts stand behind.
            padding_mask: bool tensor `(rows, length)`, True where a token is real, or None.
            order: int tensor `(rows, length)`, the places of the tokens in their text, where a causal mask cannot go by
                their order in `x`; else None.
            rotary: sines and cosines of the places of the tokens, as `kzoo.layers.Attention` takes them, or None.
            prompts, layers, until: the options.
            training: as ever.
            alone: `place` and `visible` for the last block, by name, where `pools_alone` says that it may be run for
                one position of each row; else None.
            position_biases: what each block adds to its products of queries and keys, `position_bias` of `Attention`;
                prompts, which have no position, add nothing.
            **of_blocks: for each block.

        Returns:
            dict: `"embedding"`, `"tokens"` but where `alone` is given, and where `layers` are asked for `"layers"` and
            `"layer_tokens"`.
        """
        prompts, layers = prompts or {}, tuple(layers or ())
        last = self._last_block(prompts, layers, until)
        found, put = {}, 0
        for number in range(last + 1):
            if number == last or number in layers:
                found[number] = finish(without_prompts(x, start, put))
            if number == last:
                break
            if number in prompts:
                x, put = with_prompts(without_prompts(x, start, put), prompts[number], start)
            if padding_mask is not None:
                of_blocks["padding_mask"] = with_real(padding_mask, start, put)
            if order is not None:
                of_blocks["visible"] = visible_in(order, start, put)
            if position_biases is not None:
                of_blocks["position_bias"] = with_nothing(position_biases[number], start, put)
            if rotary is not None:
                of_blocks["rotary"] = unturned(rotary, start, put)
            if alone is not None and number == last - 1:
                of_blocks |= alone
            x = self.blocks[number](x, training=training, **of_blocks)
        embedding, tokens = found[last]
        outputs = {"embedding": embedding} if alone is not None else {"embedding": embedding, "tokens": tokens}
        if layers:
            embeddings, tokens = zip(*(found[number] for number in layers))
            outputs |= {"layers": ops.stack(embeddings, axis=1), "layer_tokens": ops.stack(tokens, axis=1)}
        return outputs

    def _last_block(self, prompts, layers, until):
        """How many blocks are run; stops with a sentence where an option names a block that is not."""
        last = self.num_blocks if until is None else until
        wrong = [f"until is {last}"] if not 0 <= last <= self.num_blocks else []
        wrong += [f"layers have {number}" for number in layers if not 0 <= number <= last]
        wrong += [f"prompts have {number}" for number in prompts if not 0 <= number < last]
        if wrong:
            raise ValueError(
                f"{wrong[0]}, but {min(max(last, 0), self.num_blocks)} of the {self.num_blocks} blocks of "
                f"{type(self).__name__} are run; layers and until are numbers of blocks that were run, prompts are put "
                "in before a block that is still to come."
            )
        return last


def kept(x, keep, before=0, after=0) -> Tensor | None:
    """The positions of `x` that stay, in their new order.

    Args:
        x: tensor `(rows, before + positions + after, ...)`, or None.
        keep: int tensor `(rows, kept)`, places among the positions.
        before, after: places at either end that stay.

    Returns:
        tensor `(rows, before + kept + after, ...)`, or None.
    """
    if x is None:
        return None
    end = x.shape[1] - after
    places = keep if len(x.shape) == 2 else ops.expand_dims(keep, -1)
    parts = [x[:, :before], ops.take_along_axis(x[:, before:end], places, axis=1), x[:, end:]]
    return ops.concatenate([part for part, size in zip(parts, (before, 1, after)) if size], axis=1)


def with_prompts(x, prompts, start) -> tuple:
    """`x` with prompts `(count, width)` or `(rows, count, width)` behind its first `start` tokens, and their count."""
    if len(prompts.shape) not in (2, 3) or prompts.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"prompts have shape {tuple(prompts.shape)}, but (count, {x.shape[-1]}) or (rows, count, {x.shape[-1]}) is "
            "expected."
        )
    prompts = per_row(prompts, x) if len(prompts.shape) == 2 else ops.cast(prompts, x.dtype)
    return ops.concatenate([x[:, :start], prompts, x[:, start:]], axis=1), prompts.shape[1]


def without_prompts(x, start, count) -> Tensor:
    """The inverse of `with_prompts`."""
    return ops.concatenate([x[:, :start], x[:, start + count :]], axis=1) if count else x


def with_real(mask, start, count) -> Tensor:
    """A padding mask `(rows, length)` with `count` real tokens behind its first `start`."""
    if not count:
        return mask
    mask = ops.cast(mask, "int32")
    behind = ops.pad(mask[:, start:], ((0, 0), (count, 0)), constant_values=1)
    return ops.cast(ops.concatenate([mask[:, :start], behind], axis=1), "bool")


def with_nothing(bias, start, count) -> Tensor:
    """What pairs of positions add to the scores, with zeros for `count` tokens behind the first `start`."""
    for axis in (-2, -1) if count else ():
        around = [(0, 0)] * len(bias.shape)
        around[axis] = (count, 0)
        before, behind = ops.split(bias, [start], axis=axis)
        bias = ops.concatenate([before, ops.pad(behind, around)], axis=axis)
    return bias


def unturned(rotary, start, count) -> tuple:
    """Sines and cosines `([rows,] length, pairs)` with `count` tokens of no place behind the first `start`."""
    if not count:
        return rotary
    waves = []
    for wave, constant in zip(rotary, (0.0, 1.0)):  # sine and cosine of an angle of 0
        room = ((0, 0),) * (len(wave.shape) - 2) + ((count, 0), (0, 0))
        behind = ops.pad(wave[..., start:, :], room, constant_values=constant)
        waves.append(ops.concatenate([wave[..., :start, :], behind], axis=-2) if start else behind)
    return tuple(waves)


def visible_in(order, start, count) -> Tensor:
    """Which keys each query sees where nothing sees what comes later in its text: bool `(rows, length, length)`.

    Args:
        order: int tensor `(rows, length)`, places in the text, without prompts.
        start: tokens that prompts stand behind.
        count: of the prompts, which come right after place 0.
    """
    if count:
        order = order * (count + 1)  # room for the prompts between place 0 and place 1
        prompts = ops.add(0 * order[:, :1], np.arange(1, count + 1, dtype="int32"))
        order = ops.concatenate([order[:, :start], prompts, order[:, start:]], axis=1)
    return ops.greater_equal(ops.expand_dims(order, 2), ops.expand_dims(order, 1))
