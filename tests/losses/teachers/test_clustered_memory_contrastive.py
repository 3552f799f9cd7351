"""A memory in clusters: what goes in, who is a neighbour, the loss by a loop, and what is refused."""

import numpy as np
import pytest
from shared_case import numpy, value_and_gradients

from kzoo.losses import ClusteredMemoryContrastive

random = np.random.default_rng(0)


def unit(*shape):
    rows = random.normal(size=shape).astype("float32")
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive(loss, a, b, key_a, key_b, full=True):
    memory, clusters, centres = numpy(loss.queue), numpy(loss.clusters), numpy(loss.centres)
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)

    def nearness(row, key):
        near = [float(row @ key)]
        if full:
            own = int(np.argmax(centres @ key))
            members = [place for place in range(len(memory)) if clusters[place] == own]
            members = members if len(members) >= loss.neighbours else range(len(memory))
            order = sorted(members, key=lambda place: -float(memory[place] @ key))[: loss.neighbours]
            near += [float(row @ memory[place]) for place in order]
        return np.mean(near)

    positive = np.mean([0.5 * (nearness(a[i], key_b[i]) + nearness(b[i], key_a[i])) for i in range(len(a))])
    z, picture = np.concatenate([a, b]), np.tile(np.arange(len(a)), 2)
    rows = [
        np.mean([np.exp(x @ y / loss.temperature) for y, q in zip(z, picture) if q != p]) for x, p in zip(z, picture)
    ]
    return loss.spread_weight * np.log(np.mean(rows)) - positive


def test_it_is_the_loop_before_and_after_the_memory_is_full():
    loss = ClusteredMemoryContrastive(memory_size=12, dim=6, num_clusters=2, neighbours=3, seed=0)
    arrays = [unit(4, 6) for _ in range(4)]
    value, gradients = value_and_gradients(loss, arrays)
    assert value == pytest.approx(naive(loss, *arrays, full=False), abs=1e-5)
    assert not gradients[2].any() and not gradients[3].any() and gradients[0].any()
    for filled in (8, 16):  # the second time round over the oldest
        keys = [unit(4, 6) for _ in range(4)]
        loss(*keys, training=True)
        expected = np.concatenate(keys[2:])[: min(8, 12)]
        np.testing.assert_allclose(
            numpy(loss.queue)[(filled - 8) % 12 :][: 12 - (filled - 8) % 12][:4], expected[:4], atol=1e-6
        )
    assert numpy(loss.pointer) == 4
    value, gradients = value_and_gradients(loss, arrays)
    assert value == pytest.approx(naive(loss, *arrays), abs=1e-5)
    assert value != pytest.approx(naive(loss, *arrays, full=False), abs=1e-3)
    counts = np.bincount(numpy(loss.clusters), minlength=2)
    assert counts.min() >= 3  # used alike
    means = [numpy(loss.queue)[numpy(loss.clusters) == cluster].mean(axis=0) for cluster in (0, 1)]
    centres = numpy(loss.centres)
    assert all(centres[own] @ means[own] > centres[own] @ means[1 - own] for own in (0, 1))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-5)
    before = [numpy(each).copy() for each in loss.weights]
    loss(*arrays)  # not in training
    assert all(np.array_equal(old, numpy(new)) for old, new in zip(before, loss.weights))


def test_equal_rows_one_row_and_what_is_refused():
    same = np.repeat(unit(1, 4), 3, axis=0)
    loss = ClusteredMemoryContrastive(memory_size=4, dim=4, num_clusters=2, neighbours=0, spread_weight=0.4)
    assert float(numpy(loss(same, same, same, same))) == pytest.approx(-1.0 + 0.4 / 2.0, abs=1e-5)
    one = [unit(1, 4) for _ in range(4)]
    value, gradients = value_and_gradients(loss, one)
    assert np.isfinite(value) and all(np.isfinite(each).all() for each in gradients)
    with pytest.raises(ValueError, match="dim=4, but received embeddings of length 6; give the loss dim=6"):
        loss(*[unit(3, 6) for _ in range(4)])
    with pytest.raises(ValueError, match="neighbours is 5, more than the memory_size of 4"):
        ClusteredMemoryContrastive(memory_size=4)
