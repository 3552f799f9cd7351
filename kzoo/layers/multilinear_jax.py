"""Operations of jax whose gradients are written out, and which derivatives of every kind go through.

`jax.custom_vjp` ends those that go forwards: `jax.jvp`, and `jax.hessian`, which is forward over reverse.
"""

from collections.abc import Callable
from functools import partial


def multilinear(name, function, gradients) -> Callable:
    """A function that is linear in each of some arrays, as an operation of jax with gradients to these.

    Args:
        name: by which programs of jax show it.
        function: of arrays, and of options by keyword, to an array; compiled code calls it as it stands.
        gradients: number of an array that it is linear in -> function of the upstream gradient and of all arrays, that
            one by its shape and type alone, and of the options, to the gradient.

    Example:
        >>> scaled = multilinear("scaled", lambda x, y: x * y, {0: lambda upstream, x, y: upstream * y})
        >>> jax.jvp(lambda x: scaled(x, 3.0), (2.0,), (1.0,))
        (6.0, 3.0)
    """
    import jax
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir

    operation = Primitive(name)
    operation.def_impl(function)

    @operation.def_abstract_eval
    def shaped(*arrays, **options):
        found = jax.eval_shape(partial(function, **options), *arrays)
        return jax.core.ShapedArray(found.shape, found.dtype)

    def forward(arrays, tangents, **options):
        found = operation.bind(*arrays, **options)
        moved = [place for place in gradients if type(tangents[place]) is not ad.Zero]
        parts = [operation.bind(*arrays[:at], tangents[at], *arrays[at + 1 :], **options) for at in moved]
        return found, sum(parts[1:], parts[0]) if parts else ad.Zero(jax.typeof(found).to_tangent_aval())

    def backward(upstream, *arrays, **options):
        asked = [ad.is_undefined_primal(each) for each in arrays]
        known = [each.aval if unknown else each for each, unknown in zip(arrays, asked)]
        return [gradients[at](upstream, *known, **options) if unknown else None for at, unknown in enumerate(asked)]

    def batched(arrays, axes, **options):
        return jax.vmap(partial(function, **options), in_axes=axes)(*arrays), 0

    ad.primitive_jvps[operation] = forward
    ad.primitive_transposes[operation] = backward
    batching.primitive_batchers[operation] = batched
    mlir.register_lowering(operation, mlir.lower_fun(function, multiple_results=False))
    return operation.bind
