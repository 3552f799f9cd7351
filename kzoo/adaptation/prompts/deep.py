"""Prompts before each of the first blocks of both towers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from kzoo.arguments import FUNCTION
from kzoo.encoders.prompted import PromptedTower
from kzoo.encoders.text_transformer import TextTransformer
from kzoo.encoders.tower import table_of
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor


@dataclass(frozen=True)
class DeepTexts:
    """The texts of classes whose context enters the blocks of a text tower: what else the tower reads of them.

    In the first block the context has the positions that it has in the text, and so has what stands around it: of a
    context without later prompts the embeddings are those of `Context.embed`. A tower that averages its tokens leaves
    it out of the mean.

    Args:
        context: `Context` with one for all classes, the name at the end.
        tower: `TextTransformer`.

    Raises:
        ValueError: another tower, or a causal one of texts without a start.
    """

    context: Any
    tower: Any

    def __post_init__(self) -> None:
        if not isinstance(self.tower, TextTransformer):
            raise ValueError(
                f"prompts before blocks stand in the text tower of CLIP, SigLIP and CoCa, but this is a "
                f"{type(self.tower).__name__}; take CoOp, whose context stands among the tokens."
            )
        if self.tower.causal and not self.context.start:
            raise ValueError(
                "the texts of this model have no start, and its text tower is causal: prompts that stand behind the "
                "start would be seen by nothing before them; take CoOp."
            )

    def embed(self, prompts) -> Tensor:
        """Embeddings of the classes, `(classes, embed_dim)`, unit length.

        Args:
            prompts: list of `(n_ctx, width)`, before each of the first blocks; the first is the context.
        """
        start, count, tower = self.context.start, self.context.count, self.tower
        length = self.context.places.shape[1]
        # the appended token of CoCa has a position behind all others, so the room of the context goes behind the text
        added = count if tower.position_tail else 0
        kept = np.delete(np.arange(length), np.s_[start : start + count])
        places = np.concatenate([kept, np.full(added, length - 1)])  # in the text, of what the tower reads
        arrays = []
        for each in tower.inputs:
            filling = tower.pad_id if each.name == "token_ids" else False
            array = self.context.arrays[each.name][:, kept]
            arrays.append(np.pad(array, ((0, 0), (0, added)), constant_values=filling))
        table = ops.cast(ops.convert_to_tensor(table_of(tower)), "float32")
        moved = ops.take(table, places, axis=0) - table[: len(places)]  # the tower adds the position that it counts
        embeddings = ops.cast(tower.embed(ops.convert_to_tensor(arrays[0])), "float32") + moved
        before = dict(enumerate(prompts)) | {0: prompts[0] + table[start : start + count]}
        found = tower(*map(ops.convert_to_tensor, arrays), embeddings=embeddings, prompts=before, training=False)
        return l2_normalize(found["embedding"])


class CoupledTower(PromptedTower):
    """An image tower whose prompts are made by another layer, which the model around it has.

    Args:
        tower: as of `PromptedTower`.
        visual: function of nothing to a list of `(num_prompts, width)`, before each of the first blocks.
        num_prompts, prompted_blocks, adds_plain: as of `PromptedTower`.
    """

    kind = None
    arguments = PromptedTower.arguments | {"visual": FUNCTION}

    def __init__(self, tower, visual, num_prompts, prompted_blocks, adds_plain=False, **kwargs):
        super().__init__(tower, num_prompts, prompted_blocks, adds_plain=adds_plain, **kwargs)
        self.visual = visual

    def add_prompts(self, spread) -> None:
        """None of its own."""

    def prompts_by_block(self) -> dict[int, Tensor]:
        return dict(enumerate(self.visual()))

    def baked(self) -> PromptedTower:
        """The tower with these prompts as its own weights."""
        prompts = np.stack([ops.convert_to_numpy(each) for each in self.visual()])
        options = {"adds_plain": self.adds_plain, "name": self.name}
        tower = PromptedTower(self.tower, self.num_prompts, self.prompted_blocks, **options)
        tower.prompts.assign(prompts)
        return tower
