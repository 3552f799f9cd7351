"""What a file of this room says of one kind of timm's towers."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field

TRUNK, TOWER = "visual.trunk", "image_encoder"  # where open_clip has the tensors, and the model their tower
ARGUMENTS = "timm_model_args"  # in `vision_cfg`: what timm's own config.json, beside the config, puts over its name
KWARGS = "timm_model_kwargs"  # the same in the config itself, as open_clip 4 has it
OWN = "own"  # what a file of this room keeps for itself in its rows: no option of the tower


def sized(row, vision) -> dict:
    """The tower of pictures of one size, which a config may say again.

    Raises:
        ValueError: it says another one.
    """
    if "image_size" in vision and _sides(vision.get("image_size")) != _sides(row["image_size"]):
        name = vision.get("timm_model_name")
        raise ValueError(
            f"{vision.place} says image_size={vision.get('image_size')}, but {name} takes pictures of "
            f"{row['image_size']}; give it in the model_args of a {name} that is made for another size."
        )
    return row


def _sides(size):
    return list(size) if isinstance(size, (list, tuple)) else [size, size]


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
            itself.
        head: where its own projection lies under `visual.trunk`.
        pooled: function of a row, of what the pool changes in it, and of whether timm's own head is the projection;
            gives the row with that pool.
        sized: function of a row and of `vision_cfg`; gives the row with what the config says of the size of pictures.
        written_in: where `arguments` are written, one of `ARGUMENTS` and `KWARGS`: the latter only open_clip 4 knows.
        others: pattern of the name of a tensor -> what is said of a file that has it: the same tower in a form or a
            layout that is not read.
    """

    kind: str
    names: str
    row: Callable
    entries: Callable
    arguments: Callable
    name: Callable
    pools: dict = field(default_factory=dict)
    head: str = "head"
    pooled: Callable = lambda row, changes, own_head: row | changes
    sized: Callable = sized
    written_in: str = ARGUMENTS
    others: dict = field(default_factory=dict)

    def check(self, names) -> None:
        """Stops where the names of a file's tensors are those of a form of the tower that is not read.

        Raises:
            ValueError: that.
        """
        for pattern, said in self.others.items():
            for tensor in fnmatch.filter(names, pattern):
                raise ValueError(f"the file of weights holds {tensor}: {said}.")


def changed(row, usual, names) -> dict:
    """The `model_args` that make a tower of the one of timm's name.

    Args:
        row: the tower, as a model says it.
        usual: the tower of that name.
        names: timm's name of an argument -> ours.

    Example:
        >>> changed({"depths": (1, 1), "patch_size": 4}, {"depths": [3, 3], "patch_size": 4}, {"depths": "depths"})
        {'depths': [1, 1]}
    """
    ours = {theirs: (_spelled(row[name], usual[name]), usual[name]) for theirs, name in names.items()}
    return {theirs: value for theirs, (value, other) in ours.items() if value != other}


def _spelled(value, usual):
    """A value as JSON has it, and a list of numbers that are all alike as the usual one says it."""
    if not isinstance(value, (list, tuple)):
        return value
    return list(value) if isinstance(usual, list) or len(set(value)) > 1 else value[0]
