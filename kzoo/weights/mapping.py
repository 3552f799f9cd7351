"""Declarative maps: name of a tensor, the parameters it fills, the transform between them."""

import fnmatch
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np

from kzoo.handed_over import Scratch, handed_over, memory_for
from kzoo.paths import at

LISTED = 8  # problems of a kind that a report spells out


@dataclass(frozen=True)
class Transform:
    """From a tensor of a file to arrays for one or several parameters, and back.

    Attributes:
        to_parameters: tensor -> list of arrays.
        to_tensor: list of arrays -> tensor.
    """

    to_parameters: Callable
    to_tensor: Callable


def _split(parts, transpose=False):
    """A tensor that holds `parts` parameters one after the other, each transposed or not."""

    def each(part):
        return part.T if transpose else part

    return Transform(
        lambda x: [each(part) for part in np.split(x, parts)],
        lambda arrays: np.concatenate([each(array) for array in arrays]),
    )


COPY = Transform(lambda x: [x], lambda parts: parts[0])
TRANSPOSE = Transform(lambda x: [x.T], lambda parts: parts[0].T)  # (out, in) <-> (in, out)
CONVOLUTION = Transform(  # (out, in, height, width) <-> (height, width, in, out)
    lambda x: [x.transpose(2, 3, 1, 0)], lambda parts: parts[0].transpose(3, 2, 0, 1)
)
DEPTHWISE = Transform(  # (channels, 1, height, width) <-> (height, width, channels, 1)
    lambda x: [x.transpose(2, 3, 0, 1)], lambda parts: parts[0].transpose(2, 3, 0, 1)
)
VECTOR = Transform(lambda x: [x.reshape(len(x))], lambda parts: parts[0][:, None, None])  # (d, 1, 1) <-> (d,)
POINTWISE = Transform(  # a convolution of 1 x 1 and a dense kernel
    lambda x: [x.reshape(x.shape[:2]).T], lambda parts: parts[0].T[:, :, None, None]
)
SPLIT, SPLIT_TRANSPOSE = _split(3), _split(3, transpose=True)  # of query, key and value: biases, weights
HALVES, HALVES_TRANSPOSE = _split(2), _split(2, transpose=True)  # of key and value
ROW = Transform(lambda x: [x[None]], lambda parts: parts[0][0])  # (d,) <-> (1, d)
UNBATCHED = Transform(lambda x: [x[0]], lambda parts: parts[0][None])  # (1, n, d) <-> (n, d)
SCALAR = Transform(lambda x: [x.reshape(())], lambda parts: parts[0])  # () or (1,) <-> ()
SINGLE = Transform(lambda x: [x.reshape(())], lambda parts: parts[0].reshape(1))  # (1,) or () <-> ()


def grouped(multiplier) -> Transform:
    """Of a depthwise convolution with so many output channels of each channel, which lie beside each other:
    (channels * multiplier, 1, height, width) <-> (height, width, channels, multiplier)."""
    return Transform(
        lambda x: [x[:, 0].transpose(1, 2, 0).reshape(*x.shape[2:], len(x) // multiplier, multiplier)],
        lambda parts: parts[0].reshape(*parts[0].shape[:2], -1).transpose(2, 0, 1)[:, None],
    )


def flat_patches(patch_size) -> Transform:
    """Of a linear layer that projects flat patches of so many pixels a side:
    (width, patch * patch * 3) <-> (patch, patch, 3, width)."""
    return Transform(
        lambda x: [x.T.reshape(patch_size, patch_size, 3, -1)],
        lambda parts: parts[0].reshape(3 * patch_size**2, -1).T,
    )


@dataclass(frozen=True)
class Entry:
    """One line of a map.

    Attributes:
        tensor: name in the file; `{n}` stands for the number of a block.
        parameters: path on the model (see `kzoo.paths`), or a tuple of them; `{n}` as in the name. A path that ends at
            None (a bias or a norm that this model has not) makes the line void.
        transform: between the two.
    """

    tensor: str
    parameters: str | tuple
    transform: Transform = COPY


def norm(tensor, layer) -> list:
    """The two lines of a layer norm in torch's names."""
    return [Entry(f"{tensor}.weight", f"{layer}.gamma"), Entry(f"{tensor}.bias", f"{layer}.beta")]


def batch_norm(tensor, layer) -> list:
    """The four lines of a batch norm in torch's names."""
    statistics = [
        Entry(f"{tensor}.running_mean", f"{layer}.moving_mean"),
        Entry(f"{tensor}.running_var", f"{layer}.moving_variance"),
    ]
    return [*norm(tensor, layer), *statistics]


def dense(tensor, layer) -> list:
    """The two lines of a linear layer with a bias in torch's names."""
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", TRANSPOSE), Entry(f"{tensor}.bias", f"{layer}.bias")]


def query_key_value(attention) -> tuple:
    """Paths of the three layers of an attention that fused tensors hold."""
    return tuple(f"{attention}.{name}" for name in ("query", "key", "value"))


def fused_attention(weight, bias, attention) -> list:
    """The two lines of query, key and value in one tensor each."""
    layers = query_key_value(attention)
    return [
        Entry(weight, tuple(f"{layer}.kernel" for layer in layers), SPLIT_TRANSPOSE),
        Entry(bias, tuple(f"{layer}.bias" for layer in layers), SPLIT),
    ]


def expand(entries, model) -> Iterator:
    """The lines of a map for one model: `(tensor name, paths, variables, transform)` for each tensor it expects."""
    for entry in entries:
        paths = (entry.parameters,) if isinstance(entry.parameters, str) else entry.parameters
        blocks, numbered, _ = paths[0].partition(".{n}")
        for number in range(len(at(model, blocks) or ())) if numbered else [None]:
            of_block = [path.format(n=number) for path in paths]
            variables = [at(model, path) for path in of_block]
            if all(variable is not None for variable in variables):
                yield entry.tensor.format(n=number), of_block, variables, entry.transform


def check_tensors(entries, drop, model, tensors, place) -> None:
    """Compare a checkpoint with a model by names and shapes; nothing is read, and the model may have no memory yet.

    Args:
        entries: lines of the format's map.
        drop: patterns of names that carry no parameter, such as `"*.position_ids"`.
        model: the model to fill, or one of its shapes.
        tensors: `TensorFiles`.
        place: what to call the checkpoint in a message.

    Raises:
        ValueError: tensors missing, left over, twice there, of another shape or no floats: all of them in one report.
    """
    problems = {"missing": [], "of another shape": [], "no floats": []}
    problems |= {"left over": [], "twice there": list(tensors.duplicates)}
    used, filled = set(), set()
    for name, _, variables, transform in expand(entries, model):
        used.add(name)
        filled |= {id(variable) for variable in variables}
        if name not in tensors:
            problems["missing"].append(name)
            continue
        problem = _misfit(tensors.shape(name), [tuple(variable.shape) for variable in variables], transform)
        if problem:
            problems["of another shape"].append(f"{name} {problem}")
        if not tensors.holds_floats(name):
            problems["no floats"].append(f"{name} is of {tensors.dtype(name)}")
    unfilled = [each.path for each in model.weights if id(each) not in filled and "seed_generator" not in each.path]
    if unfilled:
        raise ValueError(f"the map of this format has no line for {_listed(unfilled)}; {place} cannot be opened.")
    kept = [name for name in tensors if not any(fnmatch.fnmatchcase(name, pattern) for pattern in drop)]
    problems["left over"] = sorted(set(kept) - used)
    found = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise ValueError(f"the tensors of {place} do not fit the model that its config describes. {'; '.join(found)}.")


def load_tensors(entries, model, tensors, adapt) -> None:
    """Fill a model with the tensors of a checkpoint that `check_tensors` has found to fit.

    Args:
        entries: lines of the format's map.
        model: the model to fill.
        tensors: `TensorFiles`.
        adapt: path of a parameter -> function of its array, for tables that the model has in another size.
    """
    # the largest last: it is held more than once while it is converted, and by then little else is to come
    by_size = sorted(expand(entries, model), key=lambda line: math.prod(tensors.shape(line[0])))
    scratch = Scratch()
    for name, paths, variables, transform in by_size:
        as_it_is = transform is COPY and paths[0] not in adapt
        array = tensors.read(name, memory_for if as_it_is else scratch)
        if not as_it_is:
            array.flags.writeable = False  # so that tensors of its parts are copies
        for path, variable, part in zip(paths, variables, transform.to_parameters(array), strict=True):
            variable.assign(handed_over(adapt[path](part) if path in adapt else part, variable.dtype))


def collect_tensors(entries, model, put) -> dict:
    """The inverse of `load_tensors`: calls `put` with the name and the array of each tensor of the file."""
    for name, _, variables, transform in expand(entries, model):
        put(name, transform.to_tensor([keras.ops.convert_to_numpy(each) for each in variables]))


def _misfit(shape, wanted, transform):
    """What does not fit, or None. The count comes first: a shape that is a bomb is never laid out."""
    shapes = None
    if math.prod(shape) == sum(map(math.prod, wanted)):
        try:
            shapes = [part.shape for part in transform.to_parameters(np.broadcast_to(np.float32(0), shape))]
        except (ValueError, IndexError):
            return f"is {shape}, which does not make {wanted}"
    if shapes == wanted:
        return None
    return (
        f"is {shape}, which makes {shapes} and not {wanted}" if shapes else f"is {shape}, which does not make {wanted}"
    )


def _listed(names):
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
