"""Distillation behind the one door: what teachers of each kind say, and what is learned of it."""

import keras
import numpy as np
import pytest
from PIL import Image
from shared_case import spread, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import Distillation, TeacherEmbeddings
from kzoo.adaptation.distillation.class_logits import teacher_logits
from kzoo.adaptation.distillation.distilled import LOGITS, TaughtClassifier
from kzoo.adaptation.examples import read_examples

NAMES = ("red", "green", "blue", "grey")
IMAGES, LABELS = toy_pairs(24)["images"], np.arange(24) % 4
DATA = {"classes": NAMES, "templates": "a {}"}


@pytest.fixture(scope="module")
def model():
    model = tiny_model(depth=1)
    spread(model.image_encoder)
    return model


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("alpha, temperature", [(0.7, 2.0), pytest.param(1.0, 1.0, marks=pytest.mark.once)])
def test_the_loss_is_that_of_the_labels_and_of_the_teacher(model, alpha, temperature):
    texts = model.encode_text([f"a {name}" for name in NAMES])
    given = [model, list(NAMES), texts, ["a {}"], Distillation(model, alpha, temperature)]
    student = TaughtClassifier(*given)
    student.compile(keras.optimizers.SGD(0.0), loss=given[-1].loss())
    told = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    arrays = student.preprocessor.encode_images(IMAGES) | {"labels": LABELS.astype("int32"), LOGITS: told}
    found = student.train_on_batch(arrays, return_dict=True)
    own, theirs = (log_softmax(each / temperature) for each in (student.logits(IMAGES), told))
    divergence = (np.exp(theirs) * (theirs - own)).sum(axis=1).mean()
    missed = -log_softmax(student.logits(IMAGES))[np.arange(24), LABELS].mean()
    np.testing.assert_allclose(
        float(found["loss"]), (1 - alpha) * missed + alpha * temperature**2 * divergence, rtol=1e-4
    )


@pytest.mark.once
def test_a_teacher_of_any_kind_says_what_it_says(model, tmp_path):
    paths = [tmp_path / f"{place}.png" for place in range(24)]
    for path, image in zip(paths, IMAGES):
        Image.fromarray(image).save(path)
    examples = read_examples((list(map(str, paths)), LABELS), NAMES).at(np.arange(20, 0, -1))
    said = model.logits(IMAGES, [f"a {name}" for name in NAMES])[20:0:-1]
    adapted = kzoo.adapt(model, (IMAGES, 3 - LABELS), "zero_shot", **DATA | {"classes": NAMES[::-1]}).model
    model.save_to_preset(tmp_path / "model")
    adapted.save(tmp_path / "adapted")
    for teacher in (model, adapted, tmp_path / "adapted", str(tmp_path / "model")):
        np.testing.assert_allclose(teacher_logits(teacher, examples, ["a {}"]), said, atol=1e-4)
    texts = [f"a {name}" for name in NAMES]
    rows = model.encode_image(IMAGES), model.encode_text(texts)
    stored = TeacherEmbeddings(rows[0], list(map(str, paths)), rows[1], texts)
    stored.save(tmp_path / "said.npz")
    cosines = 100.0 * rows[0][20:0:-1] @ rows[1].T
    for teacher in (stored, tmp_path / "said.npz", {"image_embeddings": rows[0], "text_embeddings": rows[1]}):
        np.testing.assert_allclose(teacher_logits(teacher, examples, ["a {}"]), cosines, atol=1e-3)


@pytest.mark.once
def test_without_a_share_of_the_teacher_it_is_fine_tuning(model):
    fitted = {"shots": 4, "epochs": 2, "learning_rate": 0.003, "batch_size": 8} | DATA
    full = kzoo.adapt(model, (IMAGES, LABELS), "full", **fitted).model.logits(IMAGES)
    alone = kzoo.adapt(model, (IMAGES, LABELS), "distil", teacher=model, alpha=0.0, **fitted).model.logits(IMAGES)
    np.testing.assert_allclose(alone, full, atol=1e-5)
    assert np.abs(full - model.logits(IMAGES, [f"a {name}" for name in NAMES])).max() > 0.01


@pytest.mark.once
def test_teachers_that_cannot_be(model):
    rows, examples = np.ones((24, 3)), read_examples((IMAGES, LABELS), NAMES)
    for teacher, error, sentence in (
        (3, TypeError, "teacher is .*3.*; give a model, an export"),
        ({"image_embeddings": rows}, ValueError, "give image_embeddings and text_embeddings"),
        ({"image_embeddings": rows[:5], "text_embeddings": np.ones((4, 3))}, ValueError, "a row for each picture"),
        ({"image_embeddings": rows, "text_embeddings": np.ones((4, 5))}, ValueError, "each of the 4 classes"),
        (TeacherEmbeddings(rows, [f"no {each}" for each in range(24)]), ValueError, "no embedding of the picture"),
        (
            kzoo.adapt(model, (IMAGES, LABELS % 2), "class_mean", ("one", "two"), templates="a {}").model,
            ValueError,
            "such as 'blue'",
        ),
    ):
        with pytest.raises(error, match=sentence):
            teacher_logits(teacher, examples, ["a {}"])
    with pytest.raises(TypeError, match="there is no teacher; give a model"):
        kzoo.adapt(model, (IMAGES, LABELS), "distil", **DATA)
