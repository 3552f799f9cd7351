"""Every golden case of the losses that are there: values, and gradients where they are listed."""

import numpy as np
import pytest
from shared_case import as_array, golden, numpy, value_and_gradients

import kzoo.losses

TABLE = "golden_losses.json"
CASES = [
    pytest.param(name, case, id=f"{name}-{case['name']}")
    for name in ("InfoNCE", "SigmoidContrastive", "Captioning")
    for case in golden(TABLE, name)
]


@pytest.mark.filterwarnings("ignore:InfoNCE received a batch of one")
@pytest.mark.parametrize("name, case", CASES)
def test_value(name, case):
    loss, args, kwargs = _call(name, case)
    value = numpy(loss(*args, **kwargs))
    assert value.dtype == np.float32 and value.shape == ()
    np.testing.assert_allclose(value, case["expected"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name, case", [case for case in CASES if case.values[1].get("grads")])
def test_gradients(name, case):
    loss, args, kwargs = _call(name, case)
    wanted = [case["grads"][key] for key in case["call"]["args"]]
    _, gradients = value_and_gradients(lambda *tensors: loss(*tensors, **kwargs), args)
    for got, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(got, np.array(want), rtol=1e-4, atol=1e-6)


def _call(name, case):
    loss = getattr(kzoo.losses, name)(**case["constructor"])
    inputs = {key: as_array(value) for key, value in case["inputs"].items()}
    args = [inputs[key] for key in case["call"]["args"]]
    return loss, args, {keyword: inputs[key] for keyword, key in case["call"]["kwargs"].items()}
