"""Which rows each of several processes reads: all of them, none twice."""

import numpy as np
import pytest
from shared_case import toy_pairs

import kzoo
from kzoo.data.samplers import DistinctGroups, SameGroup
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.scale.rows import PART, cut, likeness_of, own_rows, whole_rows
from kzoo.training.run_data import ArrayOrder

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def preprocessor():
    found = Preprocessor(ImageSteps(16), vocabulary={"train": 320, "context_length": 10})
    found.adapt(toy_pairs(24)["captions"])
    return found


def put_together(parts):
    """The rows of a whole batch from those of the processes, without those that stand in for none."""
    real = [{name: each[part[PART][:, 0] > 0] for name, each in part.items() if name != PART} for part in parts]
    return {name: np.concatenate([each[name] for each in real]) for name in real[0]}


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 33])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_parts_make_the_whole(rows, count):
    batch = {"x": np.arange(rows) + 1, "scale": np.float32(2.0)}
    parts = [cut({"x": batch["x"]}, index, count) for index in range(count)]
    np.testing.assert_array_equal(put_together(parts)["x"], batch["x"])
    sizes = [len(part["x"]) for part in parts]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1  # no process has nothing to compute
    assert {whole_rows(part) for part in parts} == {rows} and len({part[PART][0, 2] for part in parts}) == 1
    assert own_rows(rows, 0, 1) == slice(0, rows)


def test_batches_are_told_apart():
    one = {"images": np.zeros((4, 8, 8, 3), "uint8"), "ids": np.arange(4)}
    other = one | {"ids": np.array([0, 1, 3, 2])}
    assert likeness_of(one) == likeness_of({name: each.copy() for name, each in one.items()}) != likeness_of(other)


SETS = {
    "shuffled": {"shuffle": True},
    "in order": {"shuffle": False},
    "one group": {"sampler": SameGroup(np.arange(24) % 3)},
    "other groups": {"sampler": DistinctGroups(np.arange(24) // 2)},
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("count", [2, 3])
def test_a_set_gives_each_process_its_rows_of_the_same_batches(name, count, preprocessor):
    whole = kzoo.data.pairs(toy_pairs(24), preprocessor, 5, ids=True, **SETS[name])
    parts = [whole.of_part(index, count) for index in range(count)]
    assert {len(part) for part in parts} == {len(whole)} and whole.part == (0, 1)
    for epoch in (0, 3):
        for number in range(len(whole)):
            found = put_together([part.at(epoch, number) for part in parts])
            for entry, wanted in whole.at(epoch, number).items():
                np.testing.assert_array_equal(found[entry], wanted)


def test_a_row_that_cannot_be_read_is_replaced_by_one_that_nobody_has(preprocessor):
    source = toy_pairs(24)
    source["images"] = [b"no picture" if index in (2, 3, 11) else image for index, image in enumerate(source["images"])]
    whole = kzoo.data.pairs(source, preprocessor, 6, ids=True, skip_broken=True)
    parts = [whole.of_part(index, 2) for index in range(2)]
    with pytest.warns(UserWarning, match="left out"):
        batches = [[part.at(0, number)["ids"] for part in parts] for number in range(4)]
    for both in batches:
        rows = np.concatenate(both)
        assert len(set(rows)) == len(rows) == 6 and not {2, 3, 11} & set(rows)


def test_random_views_differ_from_process_to_process(preprocessor):
    images = np.repeat(toy_pairs(1)["images"], 8, axis=0)
    data = kzoo.data.views(images, ImageSteps(16), 8)
    first, second = (data.of_part(index, 2).at(0, 0)["view_1"] for index in (0, 1))
    assert (first != second).any()


def test_matrices_of_pairs_are_read_as_a_whole(preprocessor):
    matrices = {"positives": kzoo.data.Lookup(np.eye(24))}
    assert kzoo.data.pairs(toy_pairs(24), preprocessor, 6, matrices=matrices).compares_rows
    assert not kzoo.data.pairs(toy_pairs(24), preprocessor, 6).compares_rows


def test_arrays_have_one_order_for_all():
    data = ArrayOrder({"x": np.arange(10)}, 4, True, seed=1)
    parts = [ArrayOrder({"x": np.arange(10)}, 4, True, seed=1) for _ in range(2)]
    for index, part in enumerate(parts):
        part.part = index, 2
    for number in range(3):
        found = put_together([part.at(2, number) for part in parts])
        np.testing.assert_array_equal(found["x"], data.at(2, number)["x"])
