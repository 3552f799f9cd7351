"""How weights start."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from shared_case import numpy

import kzoo
from kzoo.layers import initializers, random_numbers
from kzoo.layers.initializers import HeNormal, Normal, TooMany, at_most, empty_weights, without_values
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


def shared_among(monkeypatch, count):
    """What is built from here on is drawn by so many threads."""
    for place in (initializers, random_numbers):
        monkeypatch.setattr(place, "processors", lambda: count)


def built(preset, **options):
    """What there is to compare of a model that a seed has started."""
    keras.utils.set_random_seed(3)
    keras.utils.clear_session(free_memory=False)  # numbers in the names of layers go on from model to model
    model = kzoo.from_preset(preset, load_weights=False, **options)
    weights = [(each.path, tuple(each.shape), str(each.dtype), each.trainable) for each in model.variables]
    tracked = []
    if keras.config.backend() == "torch":
        tracked = [(name, tuple(each.shape), each.requires_grad) for name, each in model.named_parameters()]
    return weights, tracked, digest([keras.ops.cast(each, "float32") for each in model.weights])


CASES = [
    ("clip_nano", {}),
    ("siglip_nano", {"dtype": "bfloat16"}),
    ("coca_nano", {"dtype": "mixed_bfloat16"}),
    ("clip_resnet_nano", {}),
    ("convnext_nano", {}),
    ("moco_v3_nano", {}),  # whose teacher starts as its student
]


@pytest.mark.parametrize(("preset", "options"), CASES)
def test_threads_draw_what_one_draws(preset, options, monkeypatch):
    shared_among(monkeypatch, 1)
    alone = built(preset, **options)
    shared_among(monkeypatch, 3)
    before = set(threading.enumerate())
    assert built(preset, **options) == alone
    assert not set(threading.enumerate()) - before  # so that a process that forks afterwards leaves none behind
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(built, preset, **options).result() == alone


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, ValueError])
def test_what_stops_a_thread_stops_the_build(error, monkeypatch):
    shared_among(monkeypatch, 3)
    alone, before, drawn = built("clip_nano"), set(threading.enumerate()), []

    def numbers(*draw):
        drawn.append(draw)
        if len(drawn) > 20:
            raise error("stopped")
        return own(*draw)

    own = random_numbers.numbers
    monkeypatch.setattr(random_numbers, "numbers", numbers)
    with pytest.raises(error, match="stopped"):
        built("clip_nano")
    assert not set(threading.enumerate()) - before
    monkeypatch.setattr(random_numbers, "numbers", own)
    with (
        keras.StatelessScope()
    ):  # at whose end Keras would go on where the build has stopped, had it been left anything
        keras.ops.zeros(1)
    assert built("clip_nano") == alone


def counted(monkeypatch):
    """What is drawn from here on, by two threads, as far ahead as 20 numbers; and the function that draws."""
    drawn, own = [], random_numbers.numbers
    shared_among(monkeypatch, 2)
    monkeypatch.setattr(random_numbers, "AHEAD", 20)
    monkeypatch.setattr(random_numbers, "numbers", lambda *draw: drawn.append(draw) or own(*draw))
    return drawn, own


def test_numbers_are_drawn_a_few_arrays_ahead(monkeypatch):
    (drawn, own), draws = counted(monkeypatch), [(seed, (2, 3), 0.1, None) for seed in range(40)]
    with random_numbers.drawn_ahead() as ahead:
        for draw in draws:
            ahead.add(*draw)
        for count, draw in enumerate(draws):
            assert len(drawn) <= count + 4  # of six numbers each
            assert np.array_equal(random_numbers.taken(*draw), own(*draw))
        assert len(drawn) == len(draws)  # each once
        assert np.array_equal(random_numbers.taken(*draws[3]), own(*draws[3]))  # and again, where somebody asks


def test_numbers_that_nobody_takes_hold_up_none_behind_them(monkeypatch):
    (drawn, own), draws = counted(monkeypatch), [(seed, (2, 3), 0.1, None) for seed in range(6)]
    with random_numbers.drawn_ahead() as ahead:
        for draw in draws:
            ahead.add(*draw)
        for place in (2, 5):
            assert np.array_equal(random_numbers.taken(*draws[place]), own(*draws[place]))
    assert sorted(drawn) == draws


def test_within_a_budget_or_a_scope_weights_are_drawn_as_they_are_made(monkeypatch):
    monkeypatch.setattr(initializers, "drawn_ahead", None)
    shared_among(monkeypatch, 3)
    with at_most(1000, "a file"), pytest.raises(TooMany, match="1,000 numbers"):
        built("clip_nano")
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.from_preset("clip_nano", load_weights=False)
    assert model.image_encoder.count_params() > 0
    keras.utils.clear_session(free_memory=False)
