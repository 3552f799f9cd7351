"""TokenClassification: which tokens count, and by how much."""

import math

import numpy as np
import pytest
from naive_softmax import value_of
from shared_case import numpy, value_and_gradients

from kzoo.losses import TokenClassification

random = np.random.default_rng(0)
LOGITS = random.normal(size=(3, 4)).astype("float32")


def log_softmax(z):
    return z - np.log(np.sum(np.exp(z.astype("float64")), axis=-1, keepdims=True))


def test_tokens_count_once_each_by_their_weight():
    ids = np.array([[1, 3, 1, -1], [0, 0, 0, 2], [2, 3, 2, 0]])
    weights = np.array([1.0, 0.5, 0.0, 2.0], "float32")
    targets = np.array([[0, 0.2, 0, 0.8], [1, 0, 0, 0], [1 / 3, 0, 0, 2 / 3]])
    wanted = -np.mean(np.sum(targets * log_softmax(LOGITS), axis=1))
    assert value_of(TokenClassification(), LOGITS, ids, token_weights=weights) == pytest.approx(wanted, rel=1e-5)
    own = TokenClassification(vocab_size=4)
    assert value_of(own, LOGITS, ids) == pytest.approx(value_of(TokenClassification(), LOGITS, ids), rel=1e-6)
    own.token_weights.assign(weights)
    assert value_of(own, LOGITS, ids) == pytest.approx(wanted, rel=1e-5) and not own.trainable_variables
    again = TokenClassification.from_config(own.get_config())
    again.set_weights(own.get_weights())
    assert value_of(again, LOGITS, ids) == value_of(own, LOGITS, ids)


def test_tokens_that_do_not_count():
    ids = np.array([[1, 3, 2], [0, 0, 0], [2, 2, 1]])
    mask = np.array([[True, True, False], [False] * 3, [False, True, True]])
    masked = np.where(mask, ids, -1)
    tensors = {"token_logits": LOGITS, "token_ids": ids, "padding_mask": mask}
    total, _ = TokenClassification().from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(value_of(TokenClassification(), LOGITS, masked), rel=1e-6)
    left = value_of(TokenClassification(), LOGITS[[0, 2]], masked[[0, 2]])
    assert float(numpy(total)) == pytest.approx(2 / 3 * left, rel=1e-5)  # a caption without tokens has loss 0
    got, (gradient,) = value_and_gradients(lambda z: TokenClassification()(z, -np.ones_like(ids)), [LOGITS])
    assert got == 0.0 and not gradient.any()


def test_uniform_scores_of_tokens():
    uniform = np.zeros((2, 8), "float32")
    assert value_of(TokenClassification(), uniform, np.array([[1], [2]])) == pytest.approx(math.log(8), rel=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"token_ids as \(batch, length\), but got \(3,\)"):
        TokenClassification()(LOGITS, np.zeros(3, "int32"))
