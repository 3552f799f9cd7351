"""mean_rank_variance on its golden cases, what it is blind to, and its errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from kzoo.evaluation import mean_rank_variance

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "golden_image_text.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["mean_rank_variance"]["cases"], ids=lambda case: case["name"])
def test_golden(case):
    got = mean_rank_variance(case["inputs"]["ranks"], **case["constructor"])
    assert got == pytest.approx(case["expected"], rel=1e-12)


@pytest.mark.parametrize("kind", ["variance", "std"])
def test_languages_in_any_order_and_ranks_from_0_or_1(kind):
    ranks = np.random.default_rng(0).integers(0, 50, (6, 3))
    value = mean_rank_variance(ranks, kind)
    assert mean_rank_variance(ranks[:, [2, 0, 1]], kind) == pytest.approx(value, rel=1e-12)
    assert mean_rank_variance(ranks + 1, kind) == pytest.approx(value, rel=1e-12)
    assert mean_rank_variance(ranks[:, :1].repeat(3, axis=1), kind) == 0.0


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (([[1, 2]], "variances"), "kind 'variances' is unknown; choose one of variance, std"),
        (([1, 2, 3],), r"ranks of shape \(3,\) are not finite numbers"),
        ((np.zeros((0, 3)),), r"ranks of shape \(0, 3\)"),
        (([[1.0, np.nan]],), "are not finite numbers"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        mean_rank_variance(*arguments)
