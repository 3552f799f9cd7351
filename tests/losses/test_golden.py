"""Every golden case of the losses: values, gradients where they are listed, states, sequences of calls."""

import numpy as np
import pytest
from golden_case import built, called_with, differentiated, parametrized
from shared_case import numpy

pytestmark = pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")


@pytest.mark.parametrize("name, case", parametrized(lambda name, case: "sequence" not in case))
def test_value(name, case):
    loss = built(name, case)
    args, kwargs = called_with(case)
    if "state_after" in case:
        kwargs["training"] = True
    value = numpy(loss(*args, **kwargs))
    assert value.dtype == np.float32 and value.shape == ()
    assert_near(value, case["expected"], case.get("rtol", 1e-5))
    for key, expected in case.get("state_after", {}).items():
        np.testing.assert_allclose(numpy(getattr(loss, key)), np.array(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, case", parametrized(lambda name, case: "sequence" in case))
def test_sequence(name, case):
    loss = built(name, case)
    for step in case["sequence"]:
        args, kwargs = called_with(case, step["inputs"])
        assert_near(numpy(loss(*args, **kwargs, training=True)), step["expected"], 1e-5)
    for key, expected in case.get("state_after", {}).items():
        np.testing.assert_allclose(numpy(getattr(loss, key)), np.array(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, case", parametrized(lambda name, case: case.get("grads")))
def test_gradients(name, case):
    args, kwargs = called_with(case)
    _, gradients = differentiated(built(name, case), args, kwargs)(args)
    for key, want in case["grads"].items():
        got = gradients[case["call"]["args"].index(key)]
        np.testing.assert_allclose(got, np.array(want), rtol=1e-4, atol=1e-6)


def assert_near(value, expected, rtol):
    assert abs(float(value) - expected) <= rtol * max(1.0, abs(expected))
