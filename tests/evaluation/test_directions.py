"""One rule for the length of embeddings, in every function that compares them."""

from types import SimpleNamespace

import numpy as np
import pytest

from kzoo.evaluation import alignment, clip_score, tolerance, uniformity
from kzoo.evaluation.directions import directions, with_direction
from kzoo.inference.embed import Embedder

random = np.random.default_rng(0)
ROWS = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, -2.0]])
PROMPTS = {"a photo of a cat.": [2.0, 0.0], "a photo of a dog.": [0.0, 2.0], "a dog": [0.0, 5.0]}


class Toy(Embedder):
    """A model whose embeddings are written down, and not of unit length."""

    embed_dim = 2

    def __init__(self, value=None):
        self.preprocessor = SimpleNamespace(encode_texts=lambda texts: {"texts": np.array(texts)})
        self.value = value

    def embed_batch(self, batch):
        rows = np.array([PROMPTS[str(text)] for text in batch["texts"]], "float32")
        return rows if self.value is None else np.full_like(rows, self.value)

    def scale_and_bias(self):
        return 10.0, 1.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_have_unit_length_and_stay_where_they_have_it(dtype):
    rows = random.normal(size=(40, 8)).astype(dtype)
    once = directions(rows)
    assert once.dtype == dtype
    assert np.array_equal(directions(once), once) and directions(once) is once
    np.testing.assert_allclose(np.linalg.norm(once.astype("float64"), axis=1), 1.0, atol=16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(directions(ROWS), [[0.6, 0.8], [0.6, 0.8], [0.0, -1.0]], rtol=1e-12)


def test_lengths_at_the_ends_of_the_numbers():
    large, small = (np.full((1, 4), value, "float32") for value in (1e38, 1e-38))
    np.testing.assert_allclose(directions(large), 0.5, rtol=1e-6)
    np.testing.assert_allclose(directions(small), 0.5, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_a_direction(value):
    rows = np.stack([ROWS, ROWS])
    rows[1, 2] = value
    with pytest.raises(ValueError, match=r"^row 2 of a is zero or not finite, .* \(1 of 6 rows\); embed it again"):
        directions(rows, "a")
    unit, found = with_direction(rows)
    assert found.tolist() == [[True] * 3, [True, True, False]] and not unit[1, 2].any()
    wrong = np.where([[False], [False], [True]], value, ROWS)
    for call in (
        lambda: clip_score(ROWS, wrong),
        lambda: alignment(wrong, ROWS),
        lambda: uniformity(wrong),
        lambda: tolerance(wrong, [1, 1, 1]),
        lambda: Toy().logits(wrong, ["a dog"]),
        lambda: Toy().logits(ROWS, wrong),
        lambda: Toy().encode_text(wrong),
        lambda: Toy().classify(wrong, ["cat", "dog"]),
        lambda: Toy(value).classify(ROWS, ["cat", "dog"]),
        lambda: Toy(value).logits(ROWS, ["a dog"]),
    ):
        with pytest.raises(ValueError, match="is zero or not finite, and so has no direction"):
            call()


def test_a_model_compares_cosines():
    unit = directions(ROWS)
    np.testing.assert_allclose(Toy().logits(ROWS, ["a dog"]), 10.0 * unit[:, 1:] + 1.0, rtol=1e-6)
    np.testing.assert_allclose(Toy().encode_image(ROWS), unit, rtol=1e-6)
    np.testing.assert_array_equal(Toy().classify(ROWS, ["cat", "dog"]), Toy().classify(unit, ["cat", "dog"]))
