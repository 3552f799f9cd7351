"""A folder that the version before the contract of towers wrote opens with its numbers."""

import numpy as np
from shared_case import TESTS, batch_of, numpy

import kzoo

FOLDER = TESTS / "presets" / "saved_by_0_1"


def test_a_captioner_with_all_its_parts():
    model = kzoo.from_preset(FOLDER)
    expected = np.load(FOLDER / "expected.npz")
    for name, value in model(batch_of(model, 3)).items():
        np.testing.assert_allclose(numpy(value), expected[name], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(model.scale_and_bias(), expected["scale"], rtol=1e-6)
