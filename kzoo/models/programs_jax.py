"""Functions on jax as several programs: blocks that are alike have one, what lies between them has others.

XLA compiles each operation of one large program anew, twelve times for a tower of twelve blocks.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
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
# in a third of the time that takes, for parts that are run once and have little to do but products
QUICKEST = QUICK | {"xla_backend_optimization_level": 0}


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
    if graph.effects or _are_bound(arguments):  # whose order a program keeps; whose device a program is compiled for
        whole = jax.jit(function)
        return lambda leaves: whole(*jax.tree.unflatten(jax.tree.structure(arguments), leaves))
    pieces = _pieces(graph)
    if not any(is_block for is_block, _ in pieces):  # as those of a convolutional tower beside one of blocks
        alone = jax.jit(core.jaxpr_as_fun(traced))  # what makes small programs quickly takes long over a large one
        return lambda leaves: jax.tree.unflatten(tree, alone(*leaves))
    constants, parts = dict(zip(graph.constvars, traced.consts)), [*_compiled(pieces, graph)]
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


def _are_bound(arguments):
    """Whether some arrays were put on a device by name."""
    import jax

    return any(isinstance(each, jax.Array) and each.committed for each in jax.tree.leaves(arguments))


def _done(parts, outputs):
    """For each part the variables that nothing reads behind it, whose memory is then free."""
    from jax.extend import core

    kept, found = {each for each in outputs if isinstance(each, core.Var)}, []
    for _, taken, given in reversed(parts):
        named = dict.fromkeys(each for each in (*taken, *given) if isinstance(each, core.Var))
        found.append([each for each in named if each not in kept])
        kept.update(named)
    return found[::-1]


def _pieces(graph):
    """List of `(is_block, equations)`: blocks that are alike, and what is before, between and behind them."""
    blocks = [each for each in graph.eqns if each.params.get("name") == BLOCK and "jaxpr" in each.params]
    often, pieces = Counter(id(each.params["jaxpr"]) for each in blocks), []
    for equation in graph.eqns:
        # one that is unlike all others, as that which is run for one token, is a program with what follows
        is_block = equation in blocks and often[id(equation.params["jaxpr"])] > 1
        if is_block or not pieces or pieces[-1][0]:
            pieces.append((is_block, []))
        pieces[-1][1].append(equation)
    return pieces


def _compiled(pieces, graph):
    """The parts, each `(program, variables that it takes, variables that it gives)`, whose programs come into being as
    they are needed, so that the first runs while others are made."""
    from jax.extend import core

    needed, given = {each for each in graph.outvars if isinstance(each, core.Var)}, []
    for _, equations in reversed(pieces):
        given.append([each for equation in equations for each in equation.outvars if each in needed])
        needed.update(each for equation in equations for each in equation.invars if isinstance(each, core.Var))
    few = min((_written(equations) for is_block, equations in pieces if is_block), default=0) / 2
    compilers, programs, about = ThreadPoolExecutor(), {}, graph.debug_info.with_unknown_names()
    for (is_block, equations), outputs in zip(pieces, reversed(given)):
        first = equations[0]
        if not is_block:
            taken = _taken(equations)
            between = core.ClosedJaxpr(core.Jaxpr((), taken, outputs, equations, debug_info=about), ())
            options = QUICKEST if _written(equations) < few else QUICK
            yield Program(core.jaxpr_as_fun(between), taken, options, compilers), taken, outputs
            continue
        key = id(first.params["jaxpr"])
        if key not in programs:
            programs[key] = Program(partial(first.primitive.bind, **first.params), first.invars, QUICK, compilers)
        yield programs[key], first.invars, first.outvars
    compilers.shutdown(wait=False)


def _written(equations):
    """How many numbers equations make, the operations within them counted one by one."""
    count = 0
    for equation in equations:
        inner = equation.params.get("jaxpr")
        made = (prod(getattr(each.aval, "shape", ())) for each in equation.outvars)
        count += sum(made) if inner is None else _written(getattr(inner, "jaxpr", inner).eqns)
    return count


def _taken(equations):
    """Variables that equations read and do not make."""
    from jax.extend import core

    made = {each for equation in equations for each in equation.outvars}
    read = (each for equation in equations for each in equation.invars if isinstance(each, core.Var))
    return [each for each in dict.fromkeys(read) if each not in made]


class Program:
    """A function that other threads compile, while this one traces the next and runs what stands before it.

    Args:
        function: of arrays.
        like: variables of a trace, whose shapes and types those arrays have.
        options: of XLA; without those that the user has set, and without any where this XLA does not know them.
        compilers: the threads.
    """

    def __init__(self, function, like, options, compilers):
        import jax

        set_by_user = os.environ.get("XLA_FLAGS", "")
        options = {name: value for name, value in options.items() if name not in set_by_user}
        self.function, self.compiled = function, jax.jit(function, compiler_options=options)
        shapes = (each.aval for each in like)
        shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype, weak_type=each.weak_type) for each in shapes]
        self.compiling = compilers.submit(self.compiled.lower(*shapes).compile)

    def __call__(self, *arrays) -> Any:
        compiling = self.compiling  # of which another thread may meanwhile have seen the end
        if compiling is not None:
            self._wait(compiling)
        return self.compiled(*arrays)

    def _wait(self, compiling):
        import jax

        try:
            compiling.result()
        except jax.errors.JaxRuntimeError:
            self.compiled = jax.jit(self.function)
        self.compiling = None
