"""What becomes of the gradients of terms, against numpy; names of policies; where SAM looks."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy

from kzoo.training import SAM, GradientSum, Harmonised, PCGrad
from kzoo.training.gradients import gradient_policy, inner_products, projected_weights

random = np.random.default_rng(3)
SHAPES = [(3, 2), (4,), ()]
DRAWN = [random.normal(size=(3, *shape)).astype("float32") for shape in SHAPES]
TERMS = [
    list(term) for term in zip(*(each - 0.9 * each.mean(axis=0) for each in DRAWN))
]  # which run against each other


def flat(gradients):
    return np.concatenate([np.ravel(numpy(each)) for each in gradients])


def tensors(terms):
    return [[ops.convert_to_tensor(each) for each in term] for term in terms]


def projected(vectors, order):
    """The algorithm of the paper, word for word."""
    total = np.zeros_like(vectors[0])
    for i, start in enumerate(vectors):
        g = start.copy()
        for j in order[i]:
            if j != i and (dot := g @ vectors[j]) < 0.0:
                g = g - dot / (vectors[j] @ vectors[j]) * vectors[j]
        total += g
    return total


VECTORS = np.stack([flat(term) for term in TERMS])
assert (VECTORS @ VECTORS.T < 0.0).sum() == 6


def test_inner_products():
    np.testing.assert_allclose(numpy(inner_products(tensors(TERMS))), VECTORS @ VECTORS.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [[[0, 1, 2]] * 3, [[2, 1, 0], [0, 2, 1], [1, 0, 2]]])
def test_pcgrad_for_an_order(order):
    weights = numpy(projected_weights(ops.convert_to_tensor((VECTORS @ VECTORS.T).astype("float32")), np.array(order)))
    np.testing.assert_allclose(weights @ VECTORS, projected(VECTORS, order), rtol=1e-4, atol=1e-4)


def test_pcgrad_draws_orders():
    policy = PCGrad(seed=1)
    orders = itertools.product(itertools.permutations(range(3)), repeat=3)
    possible = [projected(VECTORS, order) for order in orders]
    drawn = [flat(policy.combine(tensors(TERMS))) for _ in range(6)]
    for each in drawn:
        assert min(np.abs(each - other).max() for other in possible) < 1e-4
    assert max(np.abs(each - drawn[0]).max() for each in drawn) > 1e-3
    again = PCGrad.from_config(policy.get_config())
    np.testing.assert_allclose(flat(again.combine(tensors(TERMS))), drawn[0], atol=1e-6)


def test_harmonised():
    expected = np.zeros_like(VECTORS[0])
    for i, g in enumerate(VECTORS):
        expected += g - sum(
            (g @ other) / (other @ other) * other for j, other in enumerate(VECTORS) if j != i and g @ other < 0.0
        )
    given = Harmonised().combine(tensors(TERMS))
    assert [tuple(each.shape) for each in given] == SHAPES
    np.testing.assert_allclose(flat(given), expected, rtol=1e-4, atol=1e-4)


def test_of_two_terms_nothing_is_left_that_runs_against_either():
    terms = tensors(TERMS[:2])
    for policy in (Harmonised(), PCGrad()):
        given = flat(policy.combine(terms))
        assert all(given @ flat(term) > -1e-4 for term in terms)


@pytest.mark.parametrize("policy", [Harmonised(), PCGrad(), Harmonised(drop_below=-0.3)])
def test_terms_that_agree_are_summed(policy):
    near = [[3.0 * each + other for each, other in zip(TERMS[0], term)] for term in TERMS]
    np.testing.assert_allclose(flat(policy.combine(tensors(near))), sum(map(flat, near)), rtol=1e-5, atol=1e-5)
    zeros = [0.0 * each for each in TERMS[0]]
    np.testing.assert_allclose(flat(policy.combine(tensors([TERMS[0], zeros]))), VECTORS[0], rtol=1e-5)


def test_steps_with_terms_that_fight_are_left_out():
    a, b = [np.array([1.0, 0.0], "float32")], [np.array([-0.5, 3**0.5 / 2], "float32")]  # at a cosine of -0.5
    for least, left_out in ((-0.6, False), (-0.4, True), (0.0, True)):
        given = flat(Harmonised(drop_below=least).combine(tensors([a, b])))
        assert given.any() != left_out
    with pytest.raises(ValueError, match=r"drop_below is -2; give a cosine in \[-1, 0\]"):
        Harmonised(drop_below=-2)


def test_sam_looks_where_the_loss_is_worst():
    """Of `w^T A w / 2`, whose gradient is `A w`."""
    a, w = np.diag([1.0, 10.0]).astype("float32"), np.array([3.0, -0.4], "float32")
    asked = []

    def compute(offsets=None):
        asked.append(offsets)
        at = w if offsets is None else w + numpy(offsets[0])
        return [ops.convert_to_tensor(a @ at)]

    (given,) = SAM(rho=0.5).apply(compute)
    np.testing.assert_allclose(numpy(asked[1][0]), 0.5 * a @ w / np.linalg.norm(a @ w), rtol=1e-5)
    np.testing.assert_allclose(numpy(given), a @ (w + 0.5 * a @ w / np.linalg.norm(a @ w)), rtol=1e-5)
    assert asked[0] is None and SAM.several_passes and not SAM.by_term
    zero = SAM().apply(lambda offsets=None: [ops.zeros(2)])
    assert not numpy(zero[0]).any()
    with pytest.raises(ValueError, match="rho is 0"):
        SAM(rho=0)


def test_policies_by_name_and_by_config():
    assert isinstance(gradient_policy("sum"), GradientSum)
    assert gradient_policy("sum").apply(lambda: [1.0]) == [1.0]
    for policy in (gradient_policy("harmonised"), PCGrad(seed=3), SAM(rho=0.2)):
        assert gradient_policy(policy) is policy
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(policy))
        assert type(again) is type(policy) and again.get_config() == policy.get_config()
    with pytest.raises(ValueError, match=r"gradients='pc_grad' is unknown; did you mean 'pcgrad'\?"):
        gradient_policy("pc_grad")
    with pytest.raises(ValueError, match=r"gradients='newton' is unknown; choose one of sum, harmonised, pcgrad, sam"):
        gradient_policy("newton")
    with pytest.raises(TypeError, match="gradients is of type int"):
        gradient_policy(3)
