"""What a file of this room says of one kind of timm's towers."""

from collections.abc import Callable
from dataclasses import dataclass, field

TRUNK, TOWER = "visual.trunk", "image_encoder"  # where open_clip has the tensors, and the model their tower
OWN = "own"  # what a file of this room keeps for itself in its rows: no option of the tower


@dataclass(frozen=True)
class Trunk:
    """One kind of timm's towers: which names it has, what each builds, and how its tensors are called.

    Args:
        kind: of the tower that it becomes, as in a table of presets.
        names: what a sentence says that this version knows of it, such as `"convnext_{tiny, small}"`.
        row: function of timm's name; gives the tower as in a table of presets, without what the wrapper says (the
            projection) and without `image_size` where the config decides it; None for a name of another kind. Under
            `OWN` it may hold what `arguments` and `entries` need beside.
        entries: function of a row; gives the map, from `visual.trunk` to `image_encoder`, without the projection.
        arguments: function of a row and the `model_args` of timm's own `config.json`; gives the changed row. It refuses
            by `Fields.only` what it does not know.
        name: the inverse of `row` and `arguments`: function of a row; gives `(name, model_args)`, the second empty
            where the name says all; None where the tower is none of this kind.
        pools: what the config calls `timm_pool` -> what it changes in the row. `""` is the pool that the tower has of
            itself; with a projection of open_clip's, timm keeps the norm of that, whichever pool takes its place.
        head: where its own projection lies under `visual.trunk`.
        others: name of a tensor -> what a file that has it is, the end of a sentence: the same tower in the layout of
            somebody else.
    """

    kind: str
    names: str
    row: Callable
    entries: Callable
    arguments: Callable
    name: Callable
    pools: dict = field(default_factory=dict)
    head: str = "head"
    others: dict = field(default_factory=dict)
