"""What a program that jax has compiled for one device computes, moves and holds, read from its text."""

import math
import re
from collections import defaultdict
from typing import Any

ITEM = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")
LINE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)")
HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{\s*$")
MOVED = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


def program(compiled) -> dict:
    """Of one device: `flops` of its matrix products, `bytes` that each kind of collective gives, and `memory`.

    Every loop counts as often as it runs, which jax's own `cost_analysis` leaves out.

    Args:
        compiled: what `jax.jit(...).lower(...).compile()` gives.
    """
    parts, entry = _parts(compiled.as_text())
    memory = compiled.memory_analysis()
    found = _total(parts, entry, {})
    moved = {kind: found[kind] for kind in MOVED if found[kind]}
    return {"flops": found["flops"], "bytes": moved, "memory": memory.temp_size_in_bytes}


def step_of(model, batch) -> Any:
    """The compiled program of one step of training, under the distribution that is set.

    Args:
        model: a compiled model of kzoo, whose optimizer has its variables.
        batch: dict of arrays.
    """
    import jax
    import keras

    from kzoo.keras_contact import carried_variables
    from kzoo.scale.jax_devices import placed

    shared = keras.distribution.distribution() is not None
    state = tuple([each.value for each in group] for group in carried_variables(model, 4))
    where = (None, tuple([each.sharding for each in group] for group in state)) if shared else None
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=where)
    return step.lower(state, placed((batch,)) if shared else (batch,)).compile()


def _parts(text):
    """Computations of a program by name: what each does once, and which others it calls how often."""
    parts, entry, own = {}, None, None
    for line in text.splitlines():
        head = HEAD.match(line)
        if head and not line.startswith(" "):
            own, shapes = parts.setdefault(head[2], (defaultdict(int), [])), {}
            entry = head[2] if head[1] else entry
            continue
        found = LINE.match(line)
        if own is None or not found:
            continue
        name, result, operation, rest = found.groups()
        shapes[name] = _sides(result)
        if operation == "dot":
            own[0]["flops"] += _flops_of_dot(shapes, name, rest)
        elif operation.removesuffix("-start") in MOVED:
            own[0][operation.removesuffix("-start")] += _bytes(result)
        own[1].extend(_called(line))
    return parts, entry


def _called(line):
    """`(computation, times)` of a line."""
    times = re.search(r"known_trip_count.{1,8}n.{1,4}?(\d+)", line)
    body = re.search(r"\bbody=%?([\w.\-]+)", line)
    if body:
        if times is None:
            raise ValueError(f"a loop of unknown length: {line.strip()[:200]}")
        yield body[1], int(times[1])
    for name in re.findall(r"\b(?:calls|to_apply)=%?([\w.\-]+)", line):
        yield name, 1
    for names in re.findall(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}", line):
        for name in re.findall(r"[\w.\-]+", names):
            yield name, 1


def _total(parts, name, known):
    if name not in known:
        own, calls = parts[name]
        found = defaultdict(int, own)
        for called, times in calls:
            for key, value in _total(parts, called, known).items():
                found[key] += times * value
        known[name] = found
    return known[name]


def _sides(text):
    found = ITEM.search(text)
    return [int(side) for side in found[2].split(",") if side] if found else []


def _bytes(text):
    """Of a result, of the parts of a tuple together."""
    sizes = {"pred": 1, "bf16": 2}
    return sum(
        sizes.get(kind, 0) or int(kind[1:]) // 8 * math.prod(int(side) for side in sides.split(",") if side)
        for kind, sides in ITEM.findall(text)
    )


def _flops_of_dot(shapes, name, rest):
    first = re.match(r"(?:\w+\[[\d,]*\]\S* )?%?([\w.\-]+)", rest)
    inline = re.match(r"\w+\[([\d,]*)\]", rest)
    left = [int(side) for side in inline[1].split(",") if side] if inline else shapes[first[1]]
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)[1]
    return 2 * math.prod(shapes[name]) * math.prod(left[int(axis)] for axis in axes.split(",") if axis)
