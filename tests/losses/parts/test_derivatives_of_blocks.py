"""Derivatives that a user takes of losses in blocks, forwards and twice: those of all pairs at once."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

from kzoo.layers.linear_logits import LinearLogits
from kzoo.losses import GroupInfoNCE, InfoNCE, SigmoidContrastive, SupCon
from kzoo.losses.parts.linear_cross_entropy import linear_cross_entropy

pytestmark = pytest.mark.every_backend  # each derives them in its own way
RANDOM = np.random.default_rng(0)
A, B, ALONG = (RANDOM.normal(size=(4, 6)).astype("float32") for _ in range(3))
LABELS, SHARES = np.array([0, 1, 0, 1], "int32"), RANDOM.uniform(size=4).astype("float32")


def words(a, size):
    logits = LinearLogits(a[None], ops.concatenate([ops.transpose(a), ops.convert_to_tensor(B.T)], axis=1))
    return ops.sum(ops.square(linear_cross_entropy(logits, LABELS[None], 0.1, chunk=8 if size is None else size)))


FUNCTIONS = {
    "product": lambda a, size: InfoNCE(0.3, block_size=size)(a, B, sample_weight=SHARES),
    "targets": lambda a, size: GroupInfoNCE(0.3, block_size=size)(a, ops.subtract(B, a), groups=LABELS),
    "sigmoid": lambda a, size: SigmoidContrastive(3.0, -1.0, block_size=size)(a, B[::-1].copy(), sample_weight=SHARES),
    "blocks": lambda a, size: SupCon(0.3, block_size=size)(a, labels=LABELS),
    "words": words,
}


def derivatives(function):
    """Forwards, twice backwards, backwards and then forwards, forwards and then backwards."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        @jax.jit
        def derived(a, along):
            gradient = jax.grad(jax.jit(function))
            twice = jax.grad(lambda a: ops.vdot(gradient(a), along))(a)
            forwards = jax.grad(lambda a: jax.jvp(function, (a,), (along,))[1])(a)
            return jax.jvp(function, (a,), (along,))[1], twice, jax.jvp(gradient, (a,), (along,))[1], forwards

        return derived(A, ALONG)
    if backend == "torch":
        import torch

        a, along = torch.tensor(A, requires_grad=True), torch.tensor(ALONG)
        (gradient,) = torch.autograd.grad(function(a), a, create_graph=True)
        (twice,) = torch.autograd.grad((gradient * along).sum(), a)
        a, of = a.detach(), torch.func
        forwards = of.grad(lambda a: of.jvp(function, (a,), (along,))[1])(a)
        return of.jvp(function, (a,), (along,))[1], twice, of.jvp(of.grad(function), (a,), (along,))[1], forwards
    import tensorflow as tf

    def gradient(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = function(a)
        return tape.gradient(value, a)

    a, along = tf.constant(A), tf.constant(ALONG)
    with tf.GradientTape() as tape:
        tape.watch(a)
        change = tf.reduce_sum(gradient(a) * along)
    with tf.autodiff.ForwardAccumulator(a, along) as forwards:
        value, found = function(a), gradient(a)
    return forwards.jvp(value), tape.gradient(change, a), forwards.jvp(found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_blocks(name):
    whole, cut = (derivatives(lambda a, size=size: FUNCTIONS[name](a, size)) for size in (None, 3))
    for found, wanted in zip(cut, whole, strict=True):
        np.testing.assert_allclose(numpy(found), numpy(wanted), rtol=2e-5, atol=2e-5 * np.abs(numpy(wanted)).max())
    twice, *others = map(numpy, cut[1:])
    for other in others:
        np.testing.assert_allclose(other, twice, rtol=2e-5, atol=2e-5 * np.abs(twice).max())
