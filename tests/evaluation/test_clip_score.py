"""CLIPScore and RefCLIPScore: cosines by hand, a loop, what is refused."""

import numpy as np
import pytest

from kzoo.evaluation import clip_score, ref_clip_score

random = np.random.default_rng(0)


def cosine(a, b):
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))


def test_by_hand():
    images = [[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    texts = [[0.3, 0.4], [0.0, 7.0], [-1.0, 1.0]]  # cosines 0.6, 1 and one below 0
    np.testing.assert_allclose(clip_score(images, texts, per_sample=True), [1.5, 2.5, 0.0], rtol=1e-12)
    assert clip_score(images, texts) == pytest.approx(4 / 3, rel=1e-12)
    # best references: cosines 0.8, 1 and 0.6; harmonic means of 1.5 and 0.8, 2.5 and 1, 0 and 0.6
    references = [[[0.0, 1.0], [-1.0, 0.0]], [[0.0, 2.0]], [[-1.4, 0.2]]]
    got = ref_clip_score(images, texts, references, per_sample=True)
    np.testing.assert_allclose(got, [2 * 1.5 * 0.8 / 2.3, 2 * 2.5 / 3.5, 0.0], rtol=1e-12)


def test_equals_a_loop():
    images, texts = random.normal(size=(2, 9, 5))
    references = [random.normal(size=(1 + i % 3, 5)) for i in range(9)]
    near = [2.5 * max(cosine(image, text), 0) for image, text in zip(images, texts)]
    assert clip_score(images, texts) == pytest.approx(sum(near) / 9, rel=1e-12)
    best = [max(max(cosine(text, row) for row in rows), 0) for text, rows in zip(texts, references)]
    means = [2 / (1 / a + 1 / b) if a and b else 0.0 for a, b in zip(near, best)]
    assert 0 < sum(value > 0 for value in means) < 9
    assert ref_clip_score(images, texts, references) == pytest.approx(sum(means) / 9, rel=1e-12)


def test_length_of_embeddings_and_order_of_references_are_irrelevant():
    images, texts = np.abs(random.normal(size=(2, 4, 3)))
    references = random.normal(size=(4, 2, 3))
    wanted = ref_clip_score(images, texts, references)
    assert ref_clip_score(5 * images, texts / 7, 1e-3 * references[:, ::-1]) == pytest.approx(wanted, rel=1e-12)
    assert type(wanted) is type(clip_score(images, texts)) is float


def test_one_reference_each():
    images, texts, references = random.normal(size=(3, 4, 3))
    assert ref_clip_score(images, texts, references) == ref_clip_score(images, texts, references[:, None])


def test_opposite_references_score_zero():
    assert ref_clip_score([[1.0, 0.0]], [[1.0, 0.0]], [[[-1.0, 0.0]]]) == 0.0
    assert ref_clip_score([[1.0, 0.0]], [[-1.0, 0.0]], [[[1.0, 0.0]]]) == 0.0  # 0 and 0


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((0, 4), (0, 4)), ((3,), (3,))])
def test_arrays_that_are_no_pairs(shapes):
    with pytest.raises(ValueError, match="are not pairs of rows"):
        clip_score(*(np.ones(shape) for shape in shapes))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_a_direction(value):
    good, bad = np.ones((2, 3)), np.array([[1.0, 1.0, 1.0], [value] * 3])
    for arguments, name in (((bad, good, good), "image"), ((good, bad, good), "text")):
        with pytest.raises(ValueError, match=f"row 1 of the {name} embeddings is zero or not finite"):
            ref_clip_score(*arguments)
    with pytest.raises(ValueError, match="row 0 of the reference embeddings of sample 1 is zero or not finite"):
        ref_clip_score(good, good, bad)


def test_references_that_do_not_fit():
    two = np.ones((2, 3))
    with pytest.raises(ValueError, match="references of 1 samples came for 2 captions"):
        ref_clip_score(two, two, [two])
    for wrong in (np.ones((1, 4)), np.ones((0, 3)), np.ones((1, 1, 3))):
        with pytest.raises(ValueError, match="reference embeddings of sample 1 are of shape"):
            ref_clip_score(two, two, [two, wrong])
