"""Lists of lists as one array with a mask: several captions, crops, negatives or candidates of a row."""

import numpy as np


def is_bag(value) -> bool:
    """Whether what stands for one row is several: a list or tuple, or an array of pictures `(n, height, width, 3)`."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 4)


def flattened(name, bags, empty, noun, longest=None) -> tuple:
    """The members of all bags one after another, each bag filled up to the longest.

    Args:
        name: of the set, for messages.
        bags: list with a list for each row; lengths may differ.
        empty: what fills a bag up.
        noun: what a member is called in messages.
        longest: members that each bag is filled up to; default those of the longest.

    Returns:
        `(members, mask)`: list of `rows * longest`, and bool array `(rows, longest)`, True where a member is real.

    Raises:
        TypeError: a row that is no list where others are.
        ValueError: not one member in all, or more in a bag than `longest`.

    Example:
        >>> flattened("texts", [["a", "b"], ["c"]], "", "text")
        (['a', 'b', 'c', ''], array([[ True,  True], [ True, False]]))
    """
    for index, each in enumerate(bags):
        if not is_bag(each):
            shown = f"the string {each!r}" if isinstance(each, str) else f"of type {type(each).__name__}"
            wanted = f"[{each!r}]" if isinstance(each, str) else "a list of one"
            raise TypeError(f"the {name} of pair {index} are {shown}, but a list is expected: {wanted}.")
    counts = np.array([len(each) for each in bags], "int32")
    most = int(counts.max(initial=0))
    longest = most if longest is None else longest
    if most > longest:
        raise ValueError(f"a bag of {name} has {most} members, but {longest} are expected at most.")
    if not longest:
        raise ValueError(f"{name} holds no {noun}; give a list for each pair, at least one {noun} in all.")
    members = [member for each in bags for member in [*each, *[empty] * (longest - len(each))]]
    return members, np.arange(longest) < counts[:, None]


def folded(arrays, mask) -> dict:
    """Arrays `(rows * longest, ...)` as `(rows, longest, ...)`."""
    return {name: array.reshape(*mask.shape, *array.shape[1:]) for name, array in arrays.items()}
