"""The golden cases that change a loss's state: one call in training, or a sequence of them."""

import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from shared_case import numpy


@pytest.mark.parametrize("name, case", parametrized(lambda name, case: "sequence" in case or "state_after" in case))
def test_state_after_training(name, case):
    loss = built(name, case)
    for step in case.get("sequence", [case]):
        args, kwargs = called_with(case, step["inputs"])
        value = numpy(loss(*args, **kwargs, training=True))
        assert value.dtype == np.float32 and value.shape == ()
        assert abs(float(value) - step["expected"]) <= 1e-5 * max(1.0, abs(step["expected"]))
    for key, expected in case["state_after"].items():
        np.testing.assert_allclose(numpy(getattr(loss, key)), np.array(expected), rtol=1e-4, atol=1e-6)
