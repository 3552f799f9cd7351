"""Samplers beside those of groups: neighbours, episodes, rare classes, tasks side by side."""

import numpy as np
import pytest

from kzoo.data import Episodes, GroupShares, InversePropensity, NearEmbeddings, NearLocations


def epoch(sampler, count, batch_size, seed=0):
    sampler.check(count, batch_size)
    batches = sampler.batches(batch_size, np.random.default_rng(seed))
    assert len(batches) == sampler.count_batches(batch_size)
    assert all(len(rows) == batch_size and np.asarray(rows).dtype.kind == "i" for rows in batches)
    return [np.asarray(rows) for rows in batches]


RANDOM = np.random.default_rng(0)
TOWNS = RANDOM.uniform((-180, -80), (180, 80), (8, 2))
PLACES = np.repeat(TOWNS, 8, axis=0) + RANDOM.normal(0, 0.01, (64, 2))


@pytest.mark.parametrize(
    "sampler",
    [
        NearLocations(PLACES, neighbours=6),
        NearEmbeddings(np.repeat(np.eye(8), 8, axis=0) + RANDOM.normal(0, 0.01, (64, 8)), neighbours=6),
        Episodes(np.arange(64) % 8, ways=4, shots=1, queries=3),
        InversePropensity(np.arange(64) % 8),
        GroupShares(np.arange(64) % 8),
    ],
)
def test_an_epoch_is_a_function_of_the_seed(sampler):
    first, again, other = (epoch(sampler, 64, 16, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    for rows in first:
        assert len(set(rows)) == 16
    with pytest.raises(ValueError, match="rows"):
        sampler.check(63, 16)


def test_distances_between_places_are_haversines():
    sampler = NearLocations([[0.0, 0.0], [90.0, 0.0], [179.0, 0.0], [-179.0, 0.0], [0.0, 90.0]], neighbours=1)
    degrees = np.degrees(2 * np.arcsin(np.sqrt(sampler.distances(np.arange(5)))))
    np.testing.assert_allclose(degrees[0], [0, 90, 179, 179, 90], atol=1e-6)
    np.testing.assert_allclose(degrees[2, 3], 2.0)  # across the date line
    assert sampler.table[2, 0] == 3 and sampler.pool == 2


@pytest.mark.parametrize(
    "sampler",
    [
        NearLocations(PLACES, neighbours=7, pool=7),
        NearEmbeddings(np.repeat(np.eye(8), 8, axis=0) + RANDOM.normal(0, 0.01, (64, 8)), neighbours=7, pool=7),
    ],
)
def test_neighbours_stand_together_and_each_row_once(sampler):
    batches = epoch(sampler, 64, 16)
    assert sorted(np.concatenate(batches)) == list(range(64))
    for rows in batches:  # two towns in each
        assert len(set(rows // 8)) == 2


def test_half_of_the_neighbours_are_the_nearest_half_drawn():
    line = np.stack([np.cos(np.arange(40) / 40), np.sin(np.arange(40) / 40)], axis=1)
    sampler = NearEmbeddings(line, neighbours=4, pool=10)
    assert sampler.table[0].tolist() == list(range(1, 11)) and set(sampler.table[20, :2]) == {19, 21}
    drawn = set()
    for seed in range(20):
        first = int(np.random.default_rng(seed).permutation(40)[0])  # nothing is taken yet: it gets all it asks for
        rows = next(set(rows) for rows in epoch(sampler, 40, 5, seed) if first in rows)
        pool = sampler.table[first].tolist()
        assert rows >= {first, *pool[:2]} and rows <= {first, *pool}
        drawn |= {pool.index(row) for row in rows - {first}}
    assert drawn == set(range(10))


def test_the_neighbours_of_the_other_side_of_pairs():
    sampler = NearEmbeddings(np.eye(4), np.eye(4)[[1, 0, 3, 2]], neighbours=1, pool=1)
    assert sampler.table[:, 0].tolist() == [1, 0, 3, 2]


def test_episodes_hold_shots_then_queries():
    labels = np.array([0] * 10 + [1] * 9 + [2] * 8 + [3] * 2)
    batches = epoch(Episodes(labels, ways=2, shots=2, queries=3, count=30), 29, 10)
    seen = set()
    for rows in batches:
        shots, queries = labels[rows[:4]].reshape(2, 2), labels[rows[4:]].reshape(2, 3)
        assert (shots == shots[:, :1]).all() and (queries == shots[:, :1]).all() and shots[0, 0] != shots[1, 0]
        assert len(set(rows)) == 10
        seen |= set(shots[:, 0])
    assert seen == {0, 1, 2} and len(batches) == 30


def test_rare_groups_are_drawn_as_often_as_others():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = np.concatenate([np.concatenate(epoch(InversePropensity(labels), 1000, 10, seed)) for seed in range(5)])
    shares = np.bincount(labels[drawn]) / len(drawn)
    assert 0.2 < shares.min() and shares.max() < 0.45
    even = np.concatenate([np.concatenate(epoch(InversePropensity(labels, 0.0), 1000, 10, seed)) for seed in range(5)])
    assert abs((labels[even] == 0).mean() - 0.9) < 0.02


def test_propensities_of_single_rows():
    propensities = np.where(np.arange(20) < 10, 1e-6, 1.0)
    for rows in epoch(InversePropensity(np.zeros(20, int), propensities=propensities), 20, 5):
        assert rows.max() < 10


def test_shares_of_groups_stand_side_by_side():
    groups = np.repeat([7, 3], [40, 6])
    batches = epoch(GroupShares(groups, {7: 6, 3: 2}), 46, 8)
    for rows in batches:
        assert groups[rows].tolist() == [3, 3, 7, 7, 7, 7, 7, 7] and len(set(rows)) == 8
    assert len(batches) == 6 and len(set(np.concatenate(batches)[groups[np.concatenate(batches)] == 7])) == 36
    equal = epoch(GroupShares(groups), 46, 4)
    assert len(equal) == 20 and all(groups[rows].tolist() == [3, 3, 7, 7] for rows in equal)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: NearLocations(np.zeros((3, 3))), r"coordinates of shape \(3, 3\) are no places"),
        (lambda: NearLocations([[0.0, 91.0], [0.0, 0.0]]), "are no places; give longitude and latitude"),
        (lambda: NearLocations([[0.0, 1.0]]), "there are 1 rows, which have no neighbours"),
        (lambda: NearLocations(PLACES, neighbours=4, pool=2), "neighbours is 4 and pool 2"),
        (lambda: NearEmbeddings(np.zeros(3)), r"embeddings \(3,\) and others \(3,\) do not go together"),
        (lambda: NearEmbeddings(np.full((3, 2), np.nan)), "give finite numbers"),
        (lambda: Episodes([0, 1], ways=0), "ways is 0"),
        (lambda: Episodes([0, 0, 1], 2, 1, 1).check(3, 4), "1 groups have 2 rows or more, but an episode needs 2"),
        (lambda: Episodes([0, 0, 1, 1], 2, 1, 1).check(4, 5), "batch_size is 5, but episodes of 2 ways .* 4 rows"),
        (lambda: InversePropensity([0, 1], 2.0), "power is 2.0"),
        (lambda: InversePropensity([0, 1], propensities=[1.0, 0.0]), "give a positive number for each of the rows"),
        (lambda: InversePropensity([0, 1]).check(2, 3), "a batch_size of 3 is more than the 2 rows"),
        (lambda: GroupShares([0, 1], {2: 1}), r"rows name group 2, but there are only \[0, 1\]"),
        (lambda: GroupShares([0, 1, 2]).check(3, 4), "a batch of 4 rows cannot hold"),
        (lambda: GroupShares([0, 1, 1], {0: 2, 1: 2}).check(3, 4), "group 0 has fewer rows than a batch takes of it"),
    ],
)
def test_bad_samplers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
