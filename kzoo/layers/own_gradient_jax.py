"""Functions of jax whose gradients are written out, and which derivatives of every kind go through.

`jax.custom_vjp` ends those that go forwards, and takes no function that holds an array of a `jax.jit` which is
differentiated later. Here a function is an operation of all arrays that it needs, and what changes with them is a
second operation, which is turned into the written gradient where jax goes backwards.
"""

from functools import cache, partial
from typing import Any


def own_gradient(function, inputs) -> Any:
    """What a function makes of arrays, see `kzoo.layers.own_gradient`."""
    import jax

    if not is_traced(*inputs):  # nobody asks for a derivative
        return function(*inputs)[0]
    backward = []

    def forward(*inputs):
        outputs, gradients = function(*inputs)
        outputs, form = jax.tree.flatten(outputs)
        gradients = jax.make_jaxpr(gradients)(*outputs)
        backward[:] = gradients.jaxpr, len(outputs), form
        return *outputs, *gradients.consts

    closed = jax.make_jaxpr(forward)(*inputs)
    gradients, count, form = backward
    options = {"forward": closed.jaxpr, "gradients": gradients, "outputs": count, "held": len(closed.consts)}
    found = _operation().bind(*closed.consts, *inputs, **options)
    return jax.tree.unflatten(form, found[:count])


def is_traced(*arrays) -> bool:
    """Whether jax traces what reads one of the arrays, for a gradient as it may be."""
    import jax

    return any(isinstance(each, jax.core.Tracer) for each in arrays)


@cache
def _operation() -> Any:
    """Arrays that the function holds, and its inputs, to its outputs and all that its gradient needs."""
    import jax
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir

    operation, change = Primitive("kzoo_own_gradient"), Primitive("kzoo_own_change")
    for each, run in ((operation, _run), (change, _change)):
        each.multiple_results = True
        each.def_impl(run)
        each.def_abstract_eval(partial(_shapes, run))
        batching.primitive_batchers[each] = partial(_batched, run)
        mlir.register_lowering(each, mlir.lower_fun(run, multiple_results=True))

    def of_operation(given, changes, **options):
        if any(type(each) is not ad.Zero for each in changes[: options["held"]]):
            raise NotImplementedError(
                "a function whose gradient is written out uses a tensor that is trained and that it was not passed; "
                "pass it as an argument."
            )
        found, changes = operation.bind(*given, **options), changes[options["held"] :]
        moved = tuple(type(each) is not ad.Zero for each in changes)
        moving = [each for each, moves in zip(changes, moved) if moves]
        if not moving:
            return found, [ad.Zero(jax.typeof(each).to_tangent_aval()) for each in found]
        after = iter(change.bind(*given, *found, *moving, moved=moved, **options))
        return found, [next(after) if _moves(each) else ad.Zero(jax.typeof(each).to_tangent_aval()) for each in found]

    def of_change(given, changes, **options):
        changes = [ad.instantiate_zeros(each) if type(each) is ad.Zero else each for each in changes]
        return jax.jvp(partial(_change, **options), list(given), changes)

    def backward(upstream, *given, moved, **options):
        forward, held, outputs = options["forward"], options["held"], options["outputs"]
        constants, count = given[:held], held + len(forward.invars)
        inputs, found = given[held:count], given[count : count + len(forward.outvars)]
        places, upstream = [place for place, each in enumerate(found) if _moves(each)], list(upstream)
        ups = dict(zip(places, upstream))
        wanted = [place for place, moves in enumerate(moved) if moves]
        total = [None] * len(wanted)
        if any(type(ups[place]) is not ad.Zero for place in range(outputs)):
            of_outputs = [ad.instantiate_zeros(ups[place]) for place in range(outputs)]
            gradients = jax.core.eval_jaxpr(options["gradients"], found[outputs:], *of_outputs)
            total = [gradients[place] for place in wanted]
        later = [place for place in places if place >= outputs and type(ups[place]) is not ad.Zero]
        if later:  # a second derivative: what the gradient needs has changed, too

            def kept(*moving):
                now = dict(enumerate(inputs)) | dict(zip(wanted, moving))
                everything = jax.core.eval_jaxpr(forward, constants, *now.values())
                return [everything[place] for place in later]

            _, pull = jax.vjp(kept, *(inputs[place] for place in wanted))
            more = pull([ups[place] for place in later])
            total = [new if old is None else old + new for old, new in zip(total, more)]
        return [None] * (len(given) - len(wanted)) + total

    ad.primitive_jvps[operation] = of_operation
    ad.primitive_jvps[change] = of_change
    ad.primitive_transposes[change] = backward
    return operation


def _run(*given, forward, held, **options):
    import jax

    return jax.core.eval_jaxpr(forward, given[:held], *given[held:])


def _change(*given, moved, **options):
    """How what the operation makes changes with the inputs that do, of the floats among it."""
    import jax

    held = options["held"]
    count = held + len(options["forward"].invars)
    constants, inputs, changes = given[:held], given[held:count], given[len(given) - sum(moved) :]
    places = [place for place, moves in enumerate(moved) if moves]

    def run(*moving):
        now = dict(enumerate(inputs)) | dict(zip(places, moving))
        return [each for each in _run(*constants, *now.values(), **options) if _moves(each)]

    return jax.jvp(run, [inputs[place] for place in places], list(changes))[1]


def _moves(array):
    import jax

    return jax.numpy.issubdtype(array.dtype, jax.numpy.inexact)


def _shapes(run, *given, **options):
    import jax

    return [jax.core.ShapedArray(each.shape, each.dtype) for each in jax.eval_shape(partial(run, **options), *given)]


def _batched(run, given, axes, **options):
    import jax

    found = jax.vmap(partial(run, **options), in_axes=axes)(*given)
    return found, [0] * len(found)
