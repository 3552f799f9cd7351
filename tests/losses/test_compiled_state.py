"""State that changes inside a compiled step: jax.jit and tf.function without a known batch, like a plain call."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.losses import DINO, IBOT, FeatureTransformContrastive, MoCHi, QueueContrastive, SwAV

ramp = keras.optimizers.schedules.PolynomialDecay(0.1, 2, end_learning_rate=0.5)
QUEUE = {"queue_size": 10, "dim": 8, "seed": 0}
GROUPS, MASK = np.array([1, 0, 1, 0, 0, 0], "int32"), np.array([[1, 0, 1, 0], [0, 1, 1, 0]], "int32")
CASES = {
    "queue": (lambda: QueueContrastive(**QUEUE), (6, 8), {}),
    "groups": (lambda: QueueContrastive(**QUEUE, num_groups=2, block_size=2), (6, 8), {"groups": GROUPS}),
    "mochi": (lambda: MoCHi(**QUEUE, n_hard=3, s=2, s_prime=2), (6, 8), {}),
    "transform": (lambda: FeatureTransformContrastive(**QUEUE), (6, 8), {}),
    "swav": (lambda: SwAV(5, 8, queue_size=10, seed=0), (6, 8), {}),
    "dino": (lambda: DINO(dim=5, teacher_temperature=ramp), (3, 6, 5), {}),
    "ibot": (lambda: IBOT(dim=5), (2, 4, 5), {"mask": MASK}),
}


def compiled(loss, args, keywords):
    """A function of tensors that calls the loss in training, compiled where the backend compiles."""
    if keras.config.backend() == "jax":
        import jax

        @jax.jit
        def step(state, args, keywords):
            trained = [variable.value for variable in loss.trainable_variables]
            return loss.stateless_call(trained, state, *args, **keywords, training=True)

        def run(*args, **keywords):
            value, state = step([variable.value for variable in loss.non_trainable_variables], args, keywords)
            for variable, new in zip(loss.non_trainable_variables, state, strict=True):
                variable.assign(new)
            return value

        return run
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        batch_axis = len(args[0].shape) - 2 if "mask" not in keywords else 0

        def spec(array, axis):
            return tf.TensorSpec(
                [None if place == axis else size for place, size in enumerate(array.shape)], array.dtype
            )

        step = tf.function(lambda *args, **keywords: loss(*args, **keywords, training=True))
        step = step.get_concrete_function(
            *(spec(array, batch_axis) for array in args), **{key: spec(array, 0) for key, array in keywords.items()}
        )
        return lambda *args, **keywords: step(
            *map(tf.constant, args), **{k: tf.constant(v) for k, v in keywords.items()}
        )
    return lambda *args, **keywords: loss(*args, **keywords, training=True)


@pytest.mark.parametrize("case", CASES)
def test_compiled_steps_change_the_state_like_plain_calls(case):
    make, shape, keywords = CASES[case]
    plain, traced = make(), make()
    run, before = None, plain.get_weights()
    for seed in range(3):  # the third step is past the end of the queue
        args = list(np.random.default_rng(seed).normal(size=(2, *shape)).astype("float32"))
        run = run or compiled(traced, args, keywords)
        want = plain(*args, **keywords, training=True)
        np.testing.assert_allclose(numpy(run(*args, **keywords)), numpy(want), rtol=1e-5)
    for one, other in zip(traced.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert any(np.any(old != new) for old, new in zip(before, plain.get_weights(), strict=True))
