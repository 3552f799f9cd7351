"""A tower with trained tokens before its blocks: visual prompts."""

import keras

from kzoo.arguments import COUNT, FLAG, POSITIVE, able
from kzoo.encoders.tower import Tower
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Tensor

DECLARED = """modality token_dim num_blocks grid pads_tokens causal prefix_tokens image_size context_length vocab_size
    pad_id eot_id embed_dim""".split()  # what a tower with prompts says as the tower itself does


@keras.saving.register_keras_serializable(package="kzoo")
class PromptedTower(Tower):
    """A transformer with tokens of its own before some of its blocks, which stand there for any picture or text.

    Before block 0 they join the other tokens, behind the class token or the start of a text, and go along with them;
    before a later block new ones stand in their place. They have no position, and are not among the tokens that come
    out. To train them alone, lock the tower: `tower.trainable = False`.

    Args:
        tower: of kzoo, with the option `prompts`. It is not copied.
        num_prompts: tokens before a block.
        prompted_blocks: how many blocks have some of their own, from the first: 1 for shallow prompts, all for deep
            ones.
        spread: the numbers begin uniform within plus and minus this.
        adds_plain: the embedding is the sum of that with prompts and that without, both at unit length. It costs a
            second run of the tower.

    Inputs:
        as the tower; its options but `prompts`.

    Returns:
        as the tower.

    Raises:
        ValueError: a tower that takes no prompts, or has fewer blocks.

    Example:
        >>> tower = PromptedTower(model.image_encoder, num_prompts=8)
        >>> tower(images)["embedding"].shape
        (2, 512)

    Reference:
        Jia et al., Visual Prompt Tuning, 2022, arXiv 2203.12119.
    """

    kind = "prompted"
    arguments = {
        "tower": able("options modality", "a tower of kzoo"),
        "num_prompts": COUNT,
        "prompted_blocks": COUNT,
        "spread": POSITIVE,
        "adds_plain": FLAG,
    }

    def __init__(self, tower, num_prompts=8, prompted_blocks=1, spread=0.1, adds_plain=False, name=None, **kwargs):
        super().__init__(autocast=False, name=name or f"prompted_{tower.name}", **kwargs)
        if "prompts" not in tower.options:
            raise ValueError(
                f"{type(tower).__name__} cannot be run with prompts before its blocks; give a transformer of kzoo."
            )
        if prompted_blocks > tower.num_blocks:
            raise ValueError(
                f"prompted_blocks is {prompted_blocks}, but the tower has {tower.num_blocks} blocks; give at most as "
                "many."
            )
        self.tower, self.num_prompts, self.prompted_blocks = tower, num_prompts, prompted_blocks
        self.adds_plain = adds_plain
        self.title = f"{tower.title} with prompts"
        for each in DECLARED:
            setattr(self, each, getattr(tower, each))
        if self.modality == "image":
            self.mean, self.std = tower.mean, tower.std  # of pixels, which model cards show
        self.options = tower.options - {"prompts", "until"}
        self.add_prompts(spread)
        self.built = True

    def add_prompts(self, spread) -> None:
        """Make the weights of the prompts."""
        self.prompts = self.add_weight(
            name="prompts",
            shape=(self.prompted_blocks, self.num_prompts, self.tower.width),
            initializer=keras.initializers.RandomUniform(-spread, spread),
            autocast=False,
        )

    def prompts_by_block(self) -> dict[int, Tensor]:
        """Number of a block -> the tokens that stand before it, `(num_prompts, width)`."""
        return {number: self.prompts[number] for number in range(self.prompted_blocks)}

    @property
    def inputs(self) -> tuple:
        return self.tower.inputs

    def fits(self, given, shape, any_size=False) -> bool:
        return self.tower.fits(given, shape, any_size)

    def check_values(self, arrays, called) -> None:
        self.tower.check_values(arrays, called)

    def wants(self, given) -> str:
        return self.tower.wants(given)

    def samples(self, rows, seed=0) -> dict:
        return self.tower.samples(rows, seed)

    # -- forward --
    def call(self, *arrays, training=None, **options) -> dict:
        training = training and self.tower.trainable
        found = self.tower(*arrays, prompts=self.prompts_by_block(), training=training, **options)
        if self.adds_plain:
            plain = self.tower(*arrays, training=training, **options)
            found = found | {"embedding": l2_normalize(found["embedding"]) + l2_normalize(plain["embedding"])}
        return found

    def embed(self, *arrays) -> Tensor:
        return self.tower.embed(*arrays)

    # -- config --
    def get_config(self) -> dict:
        # a copy of the tower, not the tower: whoever makes a second one of this, such as a teacher, needs its own
        return super().get_config() | {"tower": keras.saving.serialize_keras_object(self.tower)}
