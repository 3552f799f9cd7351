"""Alignment, uniformity and tolerance: golden cases, by hand, loops, what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kzoo import evaluation
from kzoo.evaluation import alignment, geometry, tolerance, uniformity

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "golden_ssl.json").read_text())
random = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["alignment", "uniformity", "tolerance"])
def test_golden_cases(name):
    for case in GOLDEN[name]["cases"]:
        arrays, given = case["inputs"], case["call"]
        keywords = {key: arrays[value] if isinstance(value, str) else value for key, value in given["kwargs"].items()}
        value = getattr(evaluation, name)(*(arrays[key] for key in given["args"]), **keywords)
        assert type(value) is float and value == pytest.approx(case["expected"], rel=1e-9)


def test_by_hand():
    corners = [[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]  # squared distances 2, 2 and 4
    assert alignment(corners, corners[1:] + corners[:1], alpha=4.0) == pytest.approx((4 + 4 + 16) / 3, rel=1e-12)
    assert uniformity(corners, t=0.5) == pytest.approx(math.log((2 * math.exp(-1) + math.exp(-2)) / 3), rel=1e-12)
    assert tolerance(corners, [5, 5, 5]) == pytest.approx(-1 / 3, rel=1e-12)


def test_many_rows_are_compared_in_parts(monkeypatch):
    a = random.normal(size=(11, 3))
    whole = uniformity(a)
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    squared = [np.sum((unit[i] - unit[j]) ** 2) for i in range(11) for j in range(i)]
    assert whole == pytest.approx(math.log(np.mean(np.exp(-2.0 * np.array(squared)))), rel=1e-12)
    monkeypatch.setattr(geometry, "ROWS", 4)
    assert uniformity(a) == pytest.approx(whole, rel=1e-12)


def test_tolerance_equals_a_loop_over_pairs():
    a, labels = random.normal(size=(9, 4)), [0, 1, 2, 1, 0, 1, 3, 2, 1]
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(9) for j in range(9) if i != j and labels[i] == labels[j]]
    assert tolerance(a, labels) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_bounds_and_length():
    same, opposite = np.ones((4, 3)), np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert alignment(same, 2 * same) == pytest.approx(0.0, abs=1e-12)
    assert uniformity(same) == pytest.approx(0.0, abs=1e-12)
    assert tolerance(same, [1, 1, 1, 1]) == pytest.approx(1.0, rel=1e-12)
    assert alignment(opposite, opposite[::-1]) == pytest.approx(4.0, rel=1e-12)
    assert uniformity(opposite, t=1000.0) == pytest.approx(-4000.0, rel=1e-12)  # far below the smallest double


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: alignment(np.ones((3, 2)), np.ones((2, 2))), r"\(3, 2\) and \(2, 2\) are not pairs of rows"),
        (lambda: alignment(np.ones(3), np.ones(3)), r"shape \(3,\), but \(n, dim\)"),
        (lambda: uniformity(np.ones((1, 2))), "but got 1; give at least 2"),
        (lambda: tolerance(np.ones((3, 2)), [1, 2]), r"labels of shape \(2,\) do not fit"),
        (lambda: tolerance(np.ones((3, 2)), [1, 2, 3]), "no label is shared by two of the 3 rows"),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
