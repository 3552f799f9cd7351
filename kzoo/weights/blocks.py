"""How many blocks a config asks for, which are made before any weight of them is."""

from kzoo.arguments import is_number


def check_blocks(part, count, place, said="") -> None:
    """Stops where a part of a model asks for more blocks than its file has tensors: it would take for ever to build.

    Args:
        part: dict, config of a tower or of any layer.
        count: of the tensors.
        place: what to call the file or folder in the sentence.
        said: what to call the part.

    Raises:
        ValueError: it does.
    """
    stages = [stage[1] for stage in _items(part, "stages") if isinstance(stage, (list, tuple)) and len(stage) > 1]
    stretched = part.get("depth_coefficient", 1.0)
    blocks = {"depth": [part.get("depth")], "depths": _items(part, "depths"), "stages": stages}
    for key, numbers in blocks.items():
        total = sum(number for number in numbers if is_number(number))
        if key == "stages" and is_number(stretched):
            total *= stretched
        if total > count:
            raise ValueError(
                f"the config in {place} says {f'{said} ' if said else ''}{key}={part[key]}, but the file holds {count} "
                "tensors."
            )


def _items(part, key):
    value = part.get(key)
    return value if isinstance(value, (list, tuple)) else ()
