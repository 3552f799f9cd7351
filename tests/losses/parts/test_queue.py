"""The ring buffer against a loop that writes one key at a time."""

import numpy as np
import pytest
from shared_case import numpy

from kzoo.losses import Loss
from kzoo.losses.parts.queue import add_queue, enqueued, filled


def naive(queue, pointer, keys, groups):
    queue, pointer = queue.copy(), pointer.copy()
    for key, group in zip(keys, groups):
        if 0 <= group < len(queue):
            queue[group, pointer[group]] = key
            pointer[group] = (pointer[group] + 1) % queue.shape[1]
    return queue, pointer


@pytest.mark.parametrize("rows", [1, 3, 7])  # fewer than slots, as many, more than twice as many
def test_groups_fill_their_own_queue_in_order(rows):
    random = np.random.default_rng(rows)
    queue, pointer = random.normal(size=(2, 3, 2)).astype("float32"), np.array([0, 2], "int32")
    keys, groups = random.normal(size=(rows, 2)).astype("float32"), random.integers(-1, 3, rows).astype("int32")
    wanted = naive(queue, pointer, keys, groups)
    for got, want in zip(enqueued(queue, pointer, keys, groups), wanted, strict=True):
        np.testing.assert_array_equal(numpy(got), want)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_one_queue_holds_keys_or_labels(rows):
    keys = np.arange(1, rows + 1)
    queue, pointer = naive(np.array([[-1, -2, -3]]), np.array([2]), keys, np.zeros(rows, int))
    got = enqueued(np.array([-1, -2, -3], "int32"), np.int32(2), keys)
    np.testing.assert_array_equal(numpy(got[0]), queue[0])
    assert numpy(got[1]) == pointer[0]


def test_a_queue_starts_with_unit_vectors_or_empty():
    one, two, grouped = Loss(), Loss(), Loss()
    add_queue(one, 4, 3, seed=1)
    add_queue(two, 4, 3, empty=True)
    add_queue(grouped, 4, 3, num_groups=2)
    np.testing.assert_allclose(np.linalg.norm(numpy(one.queue), axis=-1), 1.0, rtol=1e-6)
    assert numpy(filled(one.queue)).all() and not numpy(filled(two.queue)).any()
    assert grouped.queue.shape == (2, 4, 3) and grouped.pointer.shape == (2,)
    assert not one.trainable_variables


def test_sizes_are_positive():
    with pytest.raises(ValueError, match="queue_size is 0; give a whole number of at least 1"):
        add_queue(Loss(), 0, 3)
