"""Declarative maps: name of a tensor, the parameters it fills, the transform between them."""

import fnmatch
from dataclasses import dataclass

import keras
import numpy as np

LISTED = 8  # problems of a kind that a report spells out


@dataclass(frozen=True)
class Transform:
    """From a tensor of a file to arrays for one or several parameters, and back.

    Attributes:
        to_parameters: tensor -> list of arrays.
        to_tensor: list of arrays -> tensor.
    """

    to_parameters: callable
    to_tensor: callable


COPY = Transform(lambda x: [x], lambda parts: parts[0])
TRANSPOSE = Transform(lambda x: [x.T], lambda parts: parts[0].T)  # (out, in) <-> (in, out)
CONVOLUTION = Transform(  # (out, in, height, width) <-> (height, width, in, out)
    lambda x: [x.transpose(2, 3, 1, 0)], lambda parts: parts[0].transpose(3, 2, 0, 1)
)
SPLIT = Transform(lambda x: np.split(x, 3), np.concatenate)  # biases of query, key, value
SPLIT_TRANSPOSE = Transform(
    lambda x: [part.T for part in np.split(x, 3)], lambda parts: np.concatenate([part.T for part in parts])
)
ROW = Transform(lambda x: [x[None]], lambda parts: parts[0][0])  # (d,) <-> (1, d)
SCALAR = Transform(lambda x: [x.reshape(())], lambda parts: parts[0])  # () or (1,) <-> ()
SINGLE = Transform(lambda x: [x.reshape(())], lambda parts: parts[0].reshape(1))  # (1,) or () <-> ()


@dataclass(frozen=True)
class Entry:
    """One line of a map.

    Attributes:
        tensor: name in the file; `{n}` stands for the number of a block.
        parameters: attribute path on the model, or a tuple of them; `{n}` as in the name. A path that ends at
            None (a bias or a norm that this model has not) makes the line void.
        transform: between the two.
    """

    tensor: str
    parameters: str | tuple
    transform: Transform = COPY


def norm(tensor, layer):
    """The two lines of a layer norm in torch's names."""
    return [Entry(f"{tensor}.weight", f"{layer}.gamma"), Entry(f"{tensor}.bias", f"{layer}.beta")]


def dense(tensor, layer):
    """The two lines of a linear layer with a bias in torch's names."""
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", TRANSPOSE), Entry(f"{tensor}.bias", f"{layer}.bias")]


def expand(entries, model):
    """The lines of a map for one model: `(tensor name, variables, transform)` for each tensor it expects."""
    for entry in entries:
        paths = (entry.parameters,) if isinstance(entry.parameters, str) else entry.parameters
        blocks, numbered, _ = paths[0].partition(".{n}")
        for number in range(len(_resolve(model, blocks))) if numbered else [None]:
            variables = [_resolve(model, path.format(n=number)) for path in paths]
            if all(variable is not None for variable in variables):
                yield entry.tensor.format(n=number), variables, entry.transform


def load_tensors(entries, drop, model, tensors, place):
    """Fill a model from the tensors of a checkpoint; every parameter and every tensor must find its partner.

    Args:
        entries: lines of the format's map.
        drop: patterns of names that carry no parameter, such as `"*.position_ids"`.
        model: the model to fill.
        tensors: `TensorFiles`, or any mapping of names with a method `read(name)`.
        place: what to call the checkpoint in a message.

    Raises:
        ValueError: tensors missing, left over, or of another shape: all of them in one report.
    """
    problems = {"missing": [], "of another shape": [], "left over": []}
    used = set()
    for name, variables, transform in expand(entries, model):
        used.add(name)
        if name not in tensors:
            problems["missing"].append(name)
            continue
        problem = _assign(tensors.read(name), variables, transform)
        if problem:
            problems["of another shape"].append(f"{name} {problem}")
    kept = [name for name in tensors if not any(fnmatch.fnmatchcase(name, pattern) for pattern in drop)]
    problems["left over"] = sorted(set(kept) - used)
    found = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise ValueError(f"the tensors of {place} do not fit the model that its config describes. {'; '.join(found)}.")


def collect_tensors(entries, model):
    """The inverse of `load_tensors`: tensor name -> contiguous numpy array."""
    return {
        name: np.array(transform.to_tensor([keras.ops.convert_to_numpy(each) for each in variables]), order="C")
        for name, variables, transform in expand(entries, model)
    }


def _assign(tensor, variables, transform):
    """Assign, or say what does not fit."""
    wanted = [tuple(variable.shape) for variable in variables]
    try:
        parts = transform.to_parameters(tensor)
    except ValueError:
        return f"is {tensor.shape}, which does not make {wanted}"
    shapes = [part.shape for part in parts]
    if shapes != wanted:
        return f"is {tensor.shape}, which makes {shapes} and not {wanted}"
    for variable, part in zip(variables, parts):
        variable.assign(part)
    return None


def _resolve(model, path):
    """The attribute at a dotted path; a number is a place in a list. None where the path ends early."""
    for step in path.split("."):
        if model is None:
            return None
        model = model[int(step)] if step.isdigit() else getattr(model, step)
    return model


def _listed(names):
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
