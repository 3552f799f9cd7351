"""What one backend saves, the next one opens: folders, .keras files and .weights.h5 files."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from shared_case import TESTS, tiny_model, toy_pairs

import kzoo

pytestmark = pytest.mark.every_backend
OTHER = {"jax": "tensorflow", "tensorflow": "torch", "torch": "jax"}

WRITER = """
import keras, numpy as np
from shared_case import tiny_model, toy_pairs, batch_of
keras.utils.set_random_seed(3)
model = tiny_model()
model.compile("clip_adamw")
model.fit(batch_of(model, 12), batch_size=6, verbose=0)
model.save("model.keras")
model.save_weights("model.weights.h5")
model.save_to_preset("preset")
pairs = toy_pairs(5)
np.savez("expected.npz", backend=keras.config.backend(), iterations=int(model.optimizer.iterations),
         images=model.encode_image(pairs["images"]), texts=model.encode_text(pairs["captions"]))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of a model that another backend has trained for two steps."""
    folder = tmp_path_factory.mktemp("written")
    environment = os.environ | {"KERAS_BACKEND": OTHER[keras.config.backend()], "PYTHONPATH": str(TESTS)}
    subprocess.run([sys.executable, "-c", WRITER], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def check(model, folder):
    expected, pairs = np.load(folder / "expected.npz"), toy_pairs(5)
    assert str(expected["backend"]) != keras.config.backend()
    np.testing.assert_allclose(model.encode_image(pairs["images"]), expected["images"], atol=2e-6)
    np.testing.assert_allclose(model.encode_text(pairs["captions"]), expected["texts"], atol=2e-6)


def test_preset_folder(written):
    check(kzoo.from_preset(written / "preset"), written)


def test_keras_file(written):
    model = kzoo.load_model(written / "model.keras")
    here = tiny_model()
    here.compile("clip_adamw")
    assert model.jit_compile == here.jit_compile  # each backend compiles as it would by itself
    here.compile("clip_adamw", jit_compile=False)
    assert here.get_compile_config()["jit_compile"] is False
    check(model, written)
    assert int(model.optimizer.iterations) == int(np.load(written / "expected.npz")["iterations"]) == 2


def test_weights_file(written):
    model = tiny_model()
    model.load_weights(written / "model.weights.h5")
    check(model, written)
