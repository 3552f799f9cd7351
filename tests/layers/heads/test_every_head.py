"""What holds for each layer between towers and losses: shapes, gradients, half precision, a copy from its config."""

from functools import cached_property

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import fill, numpy, value_and_gradients

import kzoo
from kzoo.layers import (
    AdversarialStates,
    BinaryCode,
    Classifier,
    CodeDecoder,
    CrossModalAttention,
    FeatureAugmenter,
    GroupAdapters,
    Hallucinator,
    Head,
    HypernetworkPredictor,
    LinearLogits,
    MultiHeadProjector,
    OrthogonalBasis,
    PatchDecoder,
    Patchify,
    Predictor,
    Projection,
    Projector,
    SentenceDecoder,
    SplitProjector,
    TemperatureFactors,
    TokenProjector,
    heads,
)
from kzoo.models.compiled import compiled

random = np.random.default_rng(0)


def normal(*shape):
    return random.normal(size=shape).astype("float32")


X, TOKENS = normal(3, 8), normal(3, 5, 8)
GROUPS = np.array([0, 1, 1], "int32")
LOGITS = LinearLogits(normal(3, 4, 6), normal(6, 7), normal(7))
LABELS, REAL = (
    random.integers(0, 7, (3, 4)).astype("int32"),
    np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], "bool"),
)
KEPT = np.array([[0, 3, 1, 5], [2, 1, 0, 4], [5, 4, 3, 2]], "int32")
CASES = {
    "projector": (lambda: Projector((6, 4)), (X,), 1),
    "projector_of_tokens": (lambda: Projector((6, 4), prototypes=9), (TOKENS,), 1),
    "projector_of_normed_output": (lambda: Projector((6, 4), output_norm=True), (X,), 1),
    "projection": (lambda: Projection(4, 6), (X,), 1),
    "predictor": (lambda: Predictor(6), (X,), 1),
    "code_decoder": (lambda: CodeDecoder(6, (2, 3)), (X,), 2),
    "multi_head": (lambda: MultiHeadProjector(2, (6, 4)), (X,), 1),
    "temperature_factors": (lambda: TemperatureFactors(4, 6), (TOKENS,), 1),
    "token_projector": (lambda: TokenProjector(4, hidden_dim=6, skip=1), (TOKENS,), 1),
    "linear_classifier": (lambda: Classifier(9), (TOKENS,), 1),
    "cosine_classifier": (lambda: Classifier(9, scale=4.0), (X,), 1),
    "binary_code": (lambda: BinaryCode(5), (TOKENS,), 1),
    "orthogonal_basis": (lambda: OrthogonalBasis(old_dim=3, dim=10), (X,), 2),
    "split_projector": (lambda: SplitProjector({"a": (6, 4), "b": (6, 2)}, widths=(5, 3)), (X,), ("a", "b")),
    "hypernetwork": (lambda: HypernetworkPredictor(2, (6,), (5,), bias=True), (X, normal(3, 2)), 1),
    "hallucinator": (lambda: Hallucinator(6), (X, normal(3, 8)), 1),
    "feature_augmenter": (lambda: FeatureAugmenter(6), (X,), 1),
    "group_adapters": (lambda: GroupAdapters(2, 4), (X, GROUPS), 1),
    "group_adapters_of_tokens": (lambda: GroupAdapters(2, 4), (TOKENS, GROUPS), 1),
    "adversarial_states": (
        lambda: AdversarialStates(5, 6),
        (TOKENS, LOGITS, LABELS, REAL),
        ("source", "target", "imposter", "distant"),
    ),
    "patch_decoder": (lambda: PatchDecoder((2, 3), 2, 8, 1, 2, 16, prefix_tokens=1), (TOKENS, KEPT), 1),
    "sentence_decoder": (lambda: SentenceDecoder(7, 5, 8, 2, mlp_dim=12), (X, LABELS, REAL), 1),
    "cross_modal": (lambda: CrossModalAttention(4, num_heads=2), (TOKENS, normal(3, 4, 6), REAL), 2),
    "patchify": (lambda: Patchify(2, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), (random.integers(0, 256, (2, 4, 6, 3)),), 1),
}


def shape_of(array):
    return tuple(map(shape_of, array)) if isinstance(array, LinearLogits) else (None, *array.shape[1:])


class Subject:
    def __init__(self, name):
        make, self.arrays, gives = CASES[name]
        self.name = name
        self.gives = tuple(f"y_{number}" for number in range(gives)) if isinstance(gives, int) else gives
        self.head = Head(make(), [f"x_{number}" for number in range(len(self.arrays))], self.gives)
        self.head.build([shape_of(array) for array in self.arrays])
        self.paths = [weight.path for weight in self.head.weights]
        fill(self.head)
        for weight in self.head.non_trainable_variables:  # seeds and statistics of batch norms
            weight.assign(abs(numpy(weight.value)))

    @cached_property
    def given(self):
        return run(self.head, self.arrays)


def run(head, arrays):
    """As a compiled step runs it: operation by operation jax takes long."""
    return {name: numpy(ops.cast(each, "float32")) for name, each in compiled(head, head)(*arrays).items()}


@pytest.fixture(scope="module", params=CASES)
def subject(request):
    return Subject(request.param)


def test_shapes_and_a_copy_from_the_config(subject):
    head, arrays, given = subject.head, subject.arrays, subject.given
    assert set(given) == set(subject.gives)
    told = head.compute_output_shape([shape_of(array) for array in arrays])
    assert {name: (None, *each.shape[1:]) for name, each in given.items()} == told
    assert [weight.path for weight in head.weights] == subject.paths and len(set(subject.paths)) == len(subject.paths)
    config = keras.saving.serialize_keras_object(head)
    copy = keras.saving.deserialize_keras_object(config)
    copy.build_from_config(head.get_build_config())
    assert copy.get_config() == head.get_config()
    copy.set_weights(head.get_weights())
    for name, other in run(copy, arrays).items():
        np.testing.assert_array_equal(given[name], other)
        assert np.isfinite(other).all()


def test_gradients_reach_every_weight_and_the_first_input(subject):
    head, arrays = subject.head, subject.arrays
    weights, rows = head.trainable_variables, arrays[0]
    if not weights:
        return
    factors = {name: np.random.default_rng(1).normal(size=each.shape) for name, each in subject.given.items()}
    factors = {name: each.astype("float32") for name, each in factors.items()}

    def function(x, *values):
        with keras.StatelessScope(list(zip(weights, values))):
            given = head(x, *arrays[1:], training=True)
        return sum(
            ops.sum(ops.multiply(ops.sin(ops.cast(each, "float32")), factors[name])) for name, each in given.items()
        )

    _, gradients = value_and_gradients(function, [rows, *(numpy(weight.value) for weight in weights)])
    for gradient, what in zip(gradients, ["the input", *(weight.path for weight in weights)], strict=True):
        assert np.isfinite(gradient).all(), what
        if not what.endswith("key/bias"):  # the same for all keys, which a softmax does not see
            assert np.abs(gradient).max() > 1e-6, what


@pytest.mark.one_other
def test_half_precision(subject):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = Subject(subject.name)
    finally:
        keras.config.set_dtype_policy(before)
    for name, each in half.given.items():
        whole = subject.given[name]
        assert np.linalg.norm(each - whole) < 0.1 * np.linalg.norm(whole) + 0.02, name


@pytest.mark.once
@pytest.mark.parametrize("name", heads.__all__)
def test_it_says_what_it_takes_and_gives(name):
    """A head is public by being there."""
    says = getattr(heads, name).__doc__
    assert getattr(kzoo.layers, name) is getattr(heads, name)
    assert [part for part in ("Args:", "Inputs:", "Returns:", "Example:") if part not in says] == []
