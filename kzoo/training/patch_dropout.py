"""Patches that a step of training leaves out: what makes it cheaper, and the batch larger."""

import keras
from keras import ops

from kzoo.arguments import RATE
from kzoo.bases import Layer
from kzoo.layers.arguments import SEED
from kzoo.layers.configured import Configured
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class PatchDropout(Configured, Layer):
    """Draws for each picture of a batch the patches that its tower sees; the others never enter the blocks.

    `compile(patch_dropout=0.5)` makes one, which acts in training alone. A slot of pictures whose `<slot>_kept` is in
    the batch keeps those. Half the patches take less than half of the time and memory of the image tower, so that more
    pairs are seen, in larger batches; some steps without it at the end close the gap to whole pictures.

    Args:
        rate: share of the patches that are left out, in [0, 1).
        seed: of what is drawn; default at random.

    Example:
        >>> model.compile("clip_adamw", patch_dropout=0.5)

    Reference:
        Li et al., Scaling Language-Image Pre-training via Masking (FLIP), 2022, arXiv 2212.00794.
    """

    arguments = {"rate": RATE, "seed": SEED}

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def draw(self, shape, patches) -> Tensor:
        """int32 `(*shape, kept)`, places of patches in rising order, at least one of each picture."""
        count = max(1, round((1.0 - self.rate) * patches))
        order = ops.argsort(keras.random.uniform((*shape, patches), seed=self.seed_generator), axis=-1)
        return ops.sort(ops.cast(order[..., :count], "int32"), axis=-1)

    def of_batch(self, model, batch) -> dict:
        """`<slot>_kept` of the slots of a batch that have none, by name.

        Args:
            model: a model of kzoo, of which `check_patches` was asked.
            batch: dict of tensors.
        """
        found = {}
        for slot in model.slots(batch):
            tower = model.modalities()[slot.modality]
            if drops_patches(tower) and f"{slot.name}_kept" not in batch:
                first = batch[slot.first]
                bag = len(first.shape) - len(tower.inputs[0].shape)  # axes before those of a picture
                patches = tower.grid[0] * tower.grid[1]
                found[f"{slot.name}_kept"] = self.draw(tuple(ops.shape(first)[:bag]), patches)
        return found


def drops_patches(tower) -> bool:
    """Whether a tower can be run on some of its patches, all of which stand for something."""
    pictures = len(tower.inputs) > 0 and tower.modality == "image"
    return pictures and "keep" in tower.options and tower.grid is not None and not tower.pads_tokens


def check_patches(model) -> None:
    """Stops where no tower of a model can leave patches out.

    Raises:
        ValueError: no such tower.
    """
    towers = model.modalities()
    if not any(map(drops_patches, towers.values())):
        kinds = ", ".join(f"{name} by {type(tower).__name__}" for name, tower in towers.items())
        raise ValueError(
            "patch_dropout leaves out patches of pictures of one size, as a VisionTransformer can, but the model "
            f"reads {kinds}; leave it out."
        )
