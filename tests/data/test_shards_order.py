"""The order of samples over shards: every sample once, mixed, and any batch without those before it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kzoo.data.streams.order import LANES, ShardOrder

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(lambda counts: sum(counts) >= 2)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 50), st.integers(1, 200), st.integers(0, 5))
def test_batches_are_full_and_hold_no_sample_twice(counts, batch_size, buffer, epoch):
    batch_size = min(batch_size, sum(counts))
    order = ShardOrder(counts, batch_size, buffer, seed=1)
    read = np.stack([order.chosen(epoch, index) for index in range(order.batches)])
    assert read.shape == (sum(counts) // batch_size, batch_size)
    assert len(np.unique(read)) == read.size and 0 <= read.min() and read.max() < sum(counts)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def read(seed, epoch, backwards=False):
        order = ShardOrder([50, 30, 0, 70], 10, 40, seed)
        indices = range(order.batches)[:: -1 if backwards else 1]
        found = {index: order.chosen(epoch, index).tolist() for index in indices}
        return [found[index] for index in range(order.batches)]

    first = read(0, 0)
    assert first == read(0, 0, backwards=True)
    assert first != read(0, 1) and first != read(1, 0)


def test_samples_are_mixed_over_shards_and_within_them():
    counts, batch = [1000] * 32, 64
    order = ShardOrder(counts, batch, 1600, seed=0)
    for index in (0, 100):
        chosen = order.chosen(0, index)
        assert len(set(chosen // 1000)) >= LANES  # of as many shards as there are lanes
    lane = np.concatenate([order.chosen(0, index)[:4] for index in range(25)])  # one window
    assert sorted(lane) != lane.tolist()
    assert lane.max() - lane.min() < 1000 or len(set(lane // 1000)) == 2


def test_a_shard_is_read_in_one_stretch_of_the_epoch():
    order = ShardOrder([500] * 40, 50, 800, seed=3)
    read = np.stack([order.chosen(0, index) // 500 for index in range(order.batches)])
    for shard in range(40):
        batches = np.flatnonzero((read == shard).any(axis=1))
        assert np.ptp(batches) < 4 * 500 / (50 / LANES)  # of some 160 for one lane


@pytest.mark.parametrize("count", [2, 4, 8])
def test_processes_read_different_shards(count):
    order = ShardOrder([500] * 64, 64, 800, seed=3)
    read = np.stack([order.chosen(0, index) // 500 for index in range(order.batches)])
    parts = [set(part.ravel()) for part in np.split(read, count, axis=1)]
    assert sum(map(len, parts)) <= 64 + count  # only those at the ends of lanes twice


@pytest.mark.parametrize("counts", [[22], [7, 15], [0, 3, 3, 3, 13]])
def test_every_sample_is_left_out_as_often_as_others(counts):
    order, epochs = ShardOrder(counts, 6, 50, seed=0), 2000
    read = np.bincount([each for epoch in range(epochs) for index in range(3) for each in order.chosen(epoch, index)])
    np.testing.assert_allclose(epochs - read, epochs * 4 / 22, rtol=0.25)
