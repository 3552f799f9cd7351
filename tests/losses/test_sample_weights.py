"""Weights of samples, of losses whose value is a mean over samples."""

import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from naive_softmax import value_of

WEIGHTED = (
    "CountingContrastive DecoupledSoftmax HardNegativeContrastive ImageGroundedContrast TextGroundedContrast SoftTopK "
    "MultiLabelClusterDiscrimination PrototypeContrastive MomentumDistillation LogitDistillation EmbeddingDistillation"
).split()


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_samples_weigh_what_the_samples_cost(name):
    _, case = next(parameter.values for parameter in parametrized() if parameter.values[0] == name)
    args, kwargs = called_with(case)
    loss, rows = built(name, case), len(args[0])
    first = np.eye(rows, dtype="float32")[0]
    whole, equal, one, rest, doubled = (
        value_of(loss, *args, **kwargs, **({} if weight is None else {"sample_weight": weight}))
        for weight in (None, 0.5 + 0.0 * first, first, 1.0 - first, 1.0 + first)
    )
    assert equal == pytest.approx(whole, rel=1e-6)
    assert one + (rows - 1) * rest == pytest.approx(rows * whole, rel=1e-5)
    assert doubled == pytest.approx((rows * whole + one) / (rows + 1), rel=1e-5)
