"""OnlineBagOfWords: codes and prediction in loops, how the dictionary changes, in compiled steps too."""

import math

import keras
import numpy as np
import pytest
from naive_softmax import unit, value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import LeaveOneOutKNN, OnlineBagOfWords

random = np.random.default_rng(0)
STUDENT = random.normal(size=(4, 3)).astype("float32")  # two crops of each of two images
TEACHER = random.normal(size=(2, 5, 6, 3)).astype("float32")
PLACES = np.array([1, 0])  # of 1 x 2 means inside the border
WEIGHT = np.array([1.0, 3.0], "float32")


def distances(image, words):
    return np.array([[np.sum((f - v) ** 2) for v in words] for row in image[1:-1] for f in row[1:-1]])


def naive(words, predicted, mu):
    """KL of each image, averaged over its crops, at `inv_delta=4`, `kappa=2`."""
    rows = []
    for i, image in enumerate(TEACHER):
        codes = np.exp(-4.0 / mu * distances(image, words))
        bag = np.max(codes / codes.sum(axis=1, keepdims=True), axis=0)
        bag = bag / bag.sum()
        rows.append(0.0)
        for crop in STUDENT[2 * i : 2 * i + 2]:
            z = 2.0 * predicted @ crop
            log_p = z - math.log(np.exp(z).sum())
            rows[i] += 0.5 * sum(q * (math.log(q) - log_p[k]) for k, q in enumerate(bag))
    return rows


def test_evaluation_with_a_network_that_makes_the_weights():
    loss = OnlineBagOfWords(5, dim=3, inv_delta=4.0, kappa=2.0, seed=1)
    words = numpy(loss.dictionary)
    first, norm, _, last = loss.generator
    hidden = unit(words) @ numpy(first.kernel) / math.sqrt(1.0 + norm.epsilon)  # moving mean 0 and variance 1
    predicted = unit(np.maximum(hidden, 0.0) @ numpy(last.kernel))
    rows = naive(words, predicted, 0.5)
    assert value_of(loss, STUDENT, TEACHER, sample_weight=WEIGHT) == pytest.approx(
        np.average(rows, weights=WEIGHT), rel=1e-4
    )
    assert len(loss.trainable_variables) == 5  # two kernels, one bias, scale and offset of the norm


@pytest.mark.parametrize("block_size", [None, 1])
def test_training_reads_the_old_words_and_the_new_mean_distance(block_size):
    loss = OnlineBagOfWords(
        3, dim=3, inv_delta=4.0, kappa=2.0, momentum=0.9, generator=None, block_size=block_size, seed=1
    )
    loss.pointer.assign(2)
    words, pooled = numpy(loss.dictionary), [TEACHER[i, 1:4, 1 + place : 4 + place] for i, place in enumerate(PLACES)]
    mu = 0.9 * 0.5 + 0.1 * np.mean([distances(image, words).min(axis=1) for image in TEACHER])
    value, (of_student, of_teacher) = value_and_gradients(
        lambda a, b: loss(a, b, positions=PLACES, training=False), [STUDENT, TEACHER]
    )
    assert of_student.any() and not of_teacher.any()
    assert value == pytest.approx(np.mean(naive(words, unit(words), 0.5)), rel=1e-5)
    got = value_of(loss, STUDENT, TEACHER, positions=PLACES, training=True)
    assert got == pytest.approx(np.mean(naive(words, unit(words), mu)), rel=1e-5)
    assert float(numpy(loss.mean_distance)) == pytest.approx(mu, rel=1e-5)
    want = np.array([pooled[1].mean(axis=(0, 1)), words[1], pooled[0].mean(axis=(0, 1))])  # from slot 2 on
    np.testing.assert_allclose(numpy(loss.dictionary), want, rtol=1e-5, atol=1e-6)
    assert int(numpy(loss.pointer)) == 1


def test_the_order_of_words_does_not_count():
    loss = OnlineBagOfWords(5, dim=3, generator=None, seed=1)
    value = value_of(loss, STUDENT, TEACHER)
    loss.dictionary.assign(numpy(loss.dictionary)[::-1].copy())
    assert value_of(loss, STUDENT, TEACHER) == pytest.approx(value, rel=1e-5)


def test_words_are_drawn_where_no_place_is_given():
    loss = OnlineBagOfWords(2, dim=3, generator=None, seed=1)
    loss(STUDENT, TEACHER, training=True)
    for word, image in zip(numpy(loss.dictionary), TEACHER):
        means = [image[1:4, 1 + place : 4 + place].mean(axis=(0, 1)) for place in range(2)]
        assert min(np.abs(word - mean).max() for mean in means) < 1e-5


def test_maps_that_are_too_small():
    loss = OnlineBagOfWords(2, dim=3, generator=None)
    with pytest.raises(ValueError, match="the teacher's map is 2 x 6; give at least 3 x 3"):
        loss(STUDENT, TEACHER[:, :2])
    with pytest.raises(ValueError, match="the teacher's map is 4 x 6; give at least 5 x 5"):
        loss(STUDENT, TEACHER[:, :4], training=True)
    with pytest.raises(ValueError, match="generator 'linear' is unknown"):
        OnlineBagOfWords(2, dim=3, generator="linear")


def compiled(loss, args, keywords):
    """One training step of the loss, compiled with an unknown batch where the backend compiles."""
    if keras.config.backend() == "jax":
        import jax

        trained = [variable.value for variable in loss.trainable_variables]
        state = [variable.value for variable in loss.non_trainable_variables]
        step = jax.jit(
            lambda state, args, keywords: loss.stateless_call(trained, state, *args, **keywords, training=True)
        )
        value, state = step(state, args, keywords)
        for variable, new in zip(loss.non_trainable_variables, state, strict=True):
            variable.assign(new)
        return value
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        def unknown(array):
            return tf.TensorSpec([None, *array.shape[1:]], array.dtype)

        step = tf.function(lambda *args, **keywords: loss(*args, **keywords, training=True))
        step = step.get_concrete_function(*map(unknown, args), **{key: unknown(each) for key, each in keywords.items()})
        return step(*map(tf.constant, args), **{key: tf.constant(each) for key, each in keywords.items()})
    return loss(*args, **keywords, training=True)


LABELS = {"labels": np.array([0, 1, 0, 1], "int32")}
STEPS = {
    "words": (lambda: OnlineBagOfWords(3, dim=3, seed=1), [STUDENT, TEACHER], {"positions": PLACES.astype("int32")}),
    "drawn words": (lambda: OnlineBagOfWords(3, dim=3, block_size=1, seed=1), [STUDENT, TEACHER], {}),
    "neighbours": (lambda: LeaveOneOutKNN(k=2, queue_size=6, dim=3, seed=1), [STUDENT], LABELS),
    "neighbours in the batch": (lambda: LeaveOneOutKNN(k=9), [STUDENT], LABELS),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", STEPS)
def test_a_compiled_step_changes_the_state_as_a_plain_call_does(name):
    make, args, keywords = STEPS[name]
    plain, other = make(), make()
    other.set_weights(plain.get_weights())
    for _ in range(2):
        want = value_of(plain, *args, **keywords, training=True)
        assert float(numpy(compiled(other, args, keywords))) == pytest.approx(want, rel=1e-5)
    for one, two in zip(other.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
