"""How weights start."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from shared_case import numpy

import kzoo
from kzoo.layers.initializers import HeNormal, Normal, empty_weights, without_values
from kzoo.presets.build import build
from kzoo.presets.table import read_row


def digest(tensors):
    """Of the bits of tensors, in their order."""
    found = hashlib.sha256()
    for each in tensors:
        found.update(np.ascontiguousarray(numpy(each)).tobytes())
    return found.hexdigest()[:16]


def test_a_seed_starts_every_backend_with_the_same_weights():
    keras.utils.set_random_seed(7)
    model = kzoo.from_preset("clip_nano", load_weights=False)
    found = [float(np.abs(numpy(tower.weights[0])).sum()) for tower in (model.image_encoder, model.text_encoder)]
    assert found == pytest.approx([531.66748, 260.91809], rel=1e-6)
    assert digest(model.weights) == "d12893ac178019c4"
    keras.utils.set_random_seed(8)
    other = kzoo.from_preset("clip_nano", load_weights=False)
    assert not np.array_equal(numpy(other.weights[0]), numpy(model.weights[0]))


def test_a_seed_gives_the_same_bits():
    drawn = [Normal(stddev=0.02, seed=3)((97, 300)), HeNormal(seed=4)((3, 3, 16, 40)), Normal(seed=5)(())]
    assert digest(drawn) == "afdffa74bfe9cb97"


def test_normal():
    values = numpy(keras.ops.cast(Normal(stddev=0.3, seed=1)((200, 500), "bfloat16"), "float32"))
    assert values.std() == pytest.approx(0.3, rel=0.01) and abs(values.mean()) < 0.005


@pytest.mark.parametrize(
    ("depthwise", "shape", "fan_in"), [(False, (3, 3, 64, 200), 9 * 64), (True, (3, 3, 20000, 1), 9)]
)
def test_a_convolution_keeps_the_variance_before_a_rectifier(depthwise, shape, fan_in):
    values = numpy(HeNormal(depthwise, seed=1)(shape))
    deviation = (2 / fan_in) ** 0.5
    assert values.std() == pytest.approx(deviation, rel=0.01)
    assert np.abs(values).max() <= 2 * deviation / 0.8796
    again = keras.initializers.get(keras.initializers.serialize(HeNormal(depthwise, seed=1)))
    assert np.array_equal(numpy(again(shape)), values)


def test_a_description_draws_no_number(monkeypatch):
    def refused(seed):
        raise AssertionError("a number was drawn")

    monkeypatch.setattr(np.random, "default_rng", refused)
    model = without_values(build, read_row("clip_nano"))
    assert model.image_encoder.count_params() > 0


def test_a_model_that_another_thread_builds_meanwhile_gets_its_numbers():
    with ThreadPoolExecutor(1) as thread, empty_weights():
        values = numpy(thread.submit(Normal(stddev=0.3, seed=1), (4, 5)).result())
    assert np.array_equal(values, numpy(Normal(stddev=0.3, seed=1)((4, 5))))
