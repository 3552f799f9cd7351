"""Recall against a plain loop; ties, several captions, zero-shot prompts."""

import numpy as np
import pytest

from kzoo.evaluation import class_embeddings, fill_templates, recall_at_k, retrieval, softmax

random = np.random.default_rng(0)


def unit(rows, dim=6):
    x = random.normal(size=(rows, dim)).astype("float32")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_equals_a_loop_in_blocks(monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    images = unit(30)
    texts = unit(30) * 0.7 + images
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    got = recall_at_k(images, texts, ks=(1, 5))
    for k in (1, 5):
        for name, scores in (("image_to_text", images @ texts.T), ("text_to_image", texts @ images.T)):
            hits = [i in np.argsort(-scores[i])[:k] for i in range(30)]
            assert got[f"{name}_recall@{k}"] == pytest.approx(np.mean(hits))


def test_a_collapsed_model_scores_as_chance_does():
    same = np.ones((100, 4), "float32") / 2
    assert recall_at_k(same, same, ks=(1, 10)) == {
        "image_to_text_recall@1": 0.0,
        "image_to_text_recall@10": 0.0,
        "text_to_image_recall@1": 0.0,
        "text_to_image_recall@10": 0.0,
    }


def test_several_captions_of_an_image():
    # the first caption of image 7 points at image 9, its second caption at image 7 itself
    images = np.eye(3, dtype="float32")[[0, 0, 1, 2]]
    texts = np.array([[0, 0, 0.9], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "float32")
    got = recall_at_k(images, texts, ks=(1,), image_ids=[7, 7, 8, 9])
    assert got == {"image_to_text_recall@1": 1.0, "text_to_image_recall@1": 0.75}
    assert recall_at_k(images, texts, ks=(1,))["image_to_text_recall@1"] == 0.75


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_row_without_a_direction_is_a_miss_and_said(value):
    rows = np.eye(6, dtype="float32")
    images, texts = rows.copy(), rows.copy()
    images[:2] = texts[1:3] = value
    with pytest.warns(UserWarning, match="2 image embeddings and 2 text embeddings of 6 are zero or not finite"):
        got = recall_at_k(images, texts, ks=(1, 10))
    assert set(got.values()) == {0.5}  # of the pairs 3 to 5
    with pytest.warns(UserWarning, match="they count as misses"):
        assert set(recall_at_k(np.full_like(rows, value), rows).values()) == {0.0}
    with pytest.warns(UserWarning, match="they count as misses"):  # one of two captions is enough for its picture
        got = recall_at_k(rows, texts, ks=(1,), image_ids=[0, 0, 1, 1, 4, 5])
    assert got == {"image_to_text_recall@1": 0.75, "text_to_image_recall@1": 0.5}


def test_length_does_not_rank():
    images, texts = unit(20), unit(20)
    lengths = np.arange(1, 21)[:, None]
    assert recall_at_k(images * lengths, texts / lengths) == recall_at_k(images, texts)
    assert recall_at_k(images * 1e20, texts * 1e-20) == recall_at_k(images, texts)


def test_ids_of_another_number():
    with pytest.raises(ValueError, match=r"image_ids has shape \(2,\) for 3 pairs"):
        recall_at_k(unit(3), unit(3), image_ids=[1, 2])


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((0, 4), (0, 4)), ((3,), (3,))])
def test_arrays_that_are_no_pairs(shapes):
    with pytest.raises(ValueError, match="are not pairs of rows"):
        recall_at_k(*(np.zeros(shape) for shape in shapes))


def test_templates():
    assert fill_templates(["cat", "dog"], ["a {}.", "{}!"]) == ["a cat.", "cat!", "a dog.", "dog!"]
    for labels, templates, sentence in (
        ([], "a {}", "at least one class name"),
        ("cat", "a {}", "at least one class name"),
        (["cat"], "a cat", "needs one {} where"),
        (["cat"], [], "templates is empty"),
        ([1, 2], "a {}", r"labels\[0\] is of type int, but a string is expected"),
        ([np.zeros((8, 8, 3))], "a {}", r"labels\[0\] is of type ndarray, but a string is expected.$"),
        (None, "a {}", "labels is of type NoneType, but a list of at least one class name is expected"),
        (["cat"], [3], r"templates\[0\] is of type int"),
        (["cat"], 3, "templates is of type int"),
    ):
        with pytest.raises((ValueError, TypeError), match=sentence):
            fill_templates(labels, templates)


def test_class_embeddings_average_the_prompts_at_unit_length():
    prompts = unit(6)
    got = class_embeddings(prompts, 2)
    mean = prompts[:3].mean(axis=0)
    np.testing.assert_allclose(got[0], mean / np.linalg.norm(mean), rtol=1e-6)


def test_softmax():
    np.testing.assert_allclose(softmax(np.array([[0.0, np.log(3.0)], [1e4, 0.0]])), [[0.25, 0.75], [1.0, 0.0]])
