"""The limit: the matrix products of a case and nothing else, by one library. Each has a matrix of its own, as in a
model, so that none stays in the processor's memory from one to the next."""

import numpy as np

from benchmarks.suite.cases import TRAINED
from benchmarks.suite.work import passes_of


def _by_numpy(case):
    return np.asarray, np.matmul, lambda x: x.swapaxes(-1, -2), lambda run: run


def _by_torch(case, product=None):
    import torch

    device = "cuda" if case.dtype != "float32" and torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, case.dtype)

    def finished(run):
        def waited():
            with torch.inference_mode():
                run()
                if device == "cuda":
                    torch.cuda.synchronize()

        return waited

    def tensor(array):
        return torch.from_numpy(array).to(device, dtype)

    return tensor, product or torch.matmul, lambda x: x.transpose(-1, -2), finished


def _by_onednn(case):
    """torch's oneDNN, by the operation that `kzoo.layers.kernels_torch` takes."""
    import torch

    def product(x, y):
        if x.ndim > 2:
            return torch.matmul(x, y)
        return torch.ops.mkldnn._linear_pointwise(x, y.t(), None, "none", [], "")

    return _by_torch(case, product)


def _by_jax(case):
    """All products are one program, whose results are all kept: XLA leaves out what nobody reads."""
    import jax.numpy as jnp

    def finished(run):
        return run

    return lambda array: jnp.asarray(array, case.dtype), jnp.matmul, lambda x: jnp.swapaxes(x, -1, -2), finished


LIBRARIES = {"numpy": _by_numpy, "torch": _by_torch, "oneDNN": _by_onednn, "jax": _by_jax}


def prepare(case, options, about):
    library = options["library"]
    tensor, product, transposed, finished = LIBRARIES[library](case)
    random = np.random.default_rng(0)
    passes = [(_factors(found, tensor, random), times) for found, times in passes_of(case)]

    def of(x, y, upstream):
        found = [product(x, y)]
        if case.kind in TRAINED:
            found += [product(upstream, transposed(y)), product(transposed(x), upstream)]
        return found

    if library == "jax":
        import jax

        program = jax.jit(lambda given: [of(*each) for each in given])
        return lambda: jax.block_until_ready([program(pairs) for pairs, times in passes for _ in range(times)]) and None

    def run():
        for pairs, times in passes:
            for _ in range(times):
                for each in pairs:
                    of(*each)

    return finished(run)


def _factors(found, tensor, random):
    """Both factors of each product, and an upstream gradient; what is read may be the same for all of a shape."""
    pairs = []
    for (count, rows, inner, columns), times in found.items():
        lead = () if count == 1 else (count,)
        x = tensor(random.standard_normal((*lead, rows, inner), dtype="float32"))
        upstream = tensor(random.standard_normal((*lead, rows, columns), dtype="float32"))
        for _ in range(times):
            pairs.append((x, tensor(random.standard_normal((*lead, inner, columns), dtype="float32")), upstream))
    return pairs
