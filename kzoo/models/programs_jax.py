"""Functions on jax as several programs: blocks that are alike have one, what lies between them has others.

XLA compiles each operation of one large program anew, twelve times for a tower of twelve blocks.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from kzoo.layers.repeated import BlockPrograms, one_program_each

BLOCK = "kzoo_block"  # the name of the program of a block, by which it is found in a trace
# what makes a small program in less time; in one large program each of them would cost more, see benchmarks/NOTES.md
QUICK = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_backend_optimization_level": 1,
}


class Programs:
    """A function of arrays, compiled in parts for each set of shapes: each block that repeats, and what is between.

    Args:
        function: of trees of arrays to a tree of arrays.

    Example:
        >>> predict = Programs(model.predict_step)
        >>> outputs, state = predict(state, batch)
    """

    def __init__(self, function):
        self.function, self.made = function, {}

    def __call__(self, *arguments) -> Any:
        import jax

        (leaves, tree), arrays = jax.tree.flatten(arguments), (jax.Array, np.ndarray, np.generic)
        shapes = tuple((each.shape, each.dtype) if isinstance(each, arrays) else type(each) for each in leaves)
        key = tree, shapes, jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64
        if key not in self.made:
            self.made[key] = _made(self.function, arguments)
        return self.made[key](leaves)


def _made(function, arguments) -> Callable:
    import jax
    from jax.extend import core

    def compiled(block):
        block.__name__ = BLOCK
        return jax.jit(block)

    with one_program_each(BlockPrograms(compiled)):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    graph, tree = traced.jaxpr, jax.tree.structure(shapes)
    if graph.effects:  # whose order a program keeps
        whole = jax.jit(function)
        return lambda leaves: whole(*jax.tree.unflatten(jax.tree.structure(arguments), leaves))
    constants, parts = dict(zip(graph.constvars, traced.consts)), _parts(graph)
    done = _done(parts, graph.outvars)

    def value_of(each, values):
        return each.val if isinstance(each, core.Literal) else values[each]

    def run(leaves):
        values = constants | dict(zip(graph.invars, leaves))
        for (program, taken, given), over in zip(parts, done):
            values.update(zip(given, program(*(value_of(each, values) for each in taken))))
            for each in over:
                del values[each]
        return jax.tree.unflatten(tree, [value_of(each, values) for each in graph.outvars])

    return run


def _done(parts, outputs):
    """For each part the variables that nothing reads behind it, whose memory is then free."""
    from jax.extend import core

    kept, found = {each for each in outputs if isinstance(each, core.Var)}, []
    for _, taken, given in reversed(parts):
        named = dict.fromkeys(each for each in (*taken, *given) if isinstance(each, core.Var))
        found.append([each for each in named if each not in kept])
        kept.update(named)
    return found[::-1]


def _parts(graph):
    """List of `(program, variables that it takes, variables that it gives)`."""
    from jax.extend import core

    blocks = [each for each in graph.eqns if each.params.get("name") == BLOCK and "jaxpr" in each.params]
    often, pieces = Counter(id(each.params["jaxpr"]) for each in blocks), []
    for equation in graph.eqns:
        # one that is unlike all others, as that which is run for one token, is a program with what follows
        is_block = equation in blocks and often[id(equation.params["jaxpr"])] > 1
        if is_block or not pieces or pieces[-1][0]:
            pieces.append((is_block, []))
        pieces[-1][1].append(equation)
    needed, parts, programs = {each for each in graph.outvars if isinstance(each, core.Var)}, [], {}
    for is_block, equations in reversed(pieces):
        given = [each for equation in equations for each in equation.outvars if each in needed]
        needed.update(each for equation in equations for each in equation.invars if isinstance(each, core.Var))
        if is_block:
            inner = equations[0].params["jaxpr"]
            if id(inner) not in programs:
                programs[id(inner)] = _compiled(inner)
            parts.append((programs[id(inner)], equations[0].invars, equations[0].outvars))
        else:
            taken, about = _taken(equations), graph.debug_info.with_unknown_names()
            between = core.Jaxpr((), taken, given, equations, debug_info=about)
            parts.append((_compiled(core.ClosedJaxpr(between, ())), taken, given))
    return parts[::-1]


def _taken(equations):
    """Variables that equations read and do not make."""
    from jax.extend import core

    made = {each for equation in equations for each in equation.outvars}
    read = (each for equation in equations for each in equation.invars if isinstance(each, core.Var))
    return [each for each in dict.fromkeys(read) if each not in made]


def _compiled(graph):
    import jax
    from jax.extend import core

    return jax.jit(core.jaxpr_as_fun(graph), compiler_options=_quick_options())


@cache
def _quick_options() -> dict | None:
    """Those of `QUICK` that the user has not set otherwise; None where this XLA has not all of them."""
    import jax

    set_by_user = os.environ.get("XLA_FLAGS", "")
    options = {name: value for name, value in QUICK.items() if name not in set_by_user}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options
