"""A tower that its views train: what the losses read, the momentum teacher, small crops, save and load."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy

import kzoo
from kzoo.encoders import ResNet, TextTransformer, VisionTransformer
from kzoo.layers import Projector
from kzoo.losses import DINO, InfoNCE, NTXent, QueueContrastive, SupCon
from kzoo.training import EMATeacher

random = np.random.default_rng(0)


def pixels(rows, size=16):
    return random.integers(0, 256, (rows, size, size, 3), dtype="uint8")


def batch(rows=6, local=0):
    views = {f"view_{number}": pixels(rows) for number in (1, 2)}
    return views | {f"local_{number + 1}": pixels(rows, 8) for number in range(local)}


def model(projector=(8, 5), teacher=None, encoder=None, **options):
    encoder = encoder or VisionTransformer(16, 8, width=12, depth=1, num_heads=2, embed_dim=7)
    return kzoo.SelfSupervised(encoder, Projector(projector, **options), teacher)


def mlp():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)])


def test_each_view_is_projected_and_features_come_before_the_projector():
    tested, views = model(batch_norm=False), batch(local=1)
    found = tested(views, outputs=("student",))
    assert list(found) == ["view_1", "view_2", "local_1", "student"] and found["student"].shape == (3, 6, 5)
    embedding = tested.encoder(views["view_2"])["embedding"]
    np.testing.assert_allclose(tested.encode(views["view_2"], batch_size=4), numpy(embedding), atol=1e-5)
    np.testing.assert_allclose(numpy(found["view_2"]), numpy(tested.projector(embedding)), atol=1e-5)
    local = tested.projector(tested.encoder(views["local_1"], any_size=True)["embedding"])
    np.testing.assert_allclose(numpy(found["student"])[2], numpy(local), atol=1e-5)
    assert set(tested.predict(views, verbose=0)) == {"view_1", "view_2", "local_1"}


def test_the_loss_is_that_of_the_projections_and_reads_other_entries():
    tested, labels = model(batch_norm=False), np.array([0, 1, 0, 1, 2, 2])
    views = batch() | {"species": labels}
    projections = [numpy(tested(views)[name]) for name in ("view_1", "view_2")]
    for loss, keywords in ((NTXent(), {}), (SupCon(labels="species"), {"labels": labels})):
        tested.compile("sgd", loss=loss)
        expected = float(numpy(type(loss)()(*projections, **keywords)))
        assert tested.evaluate(views, batch_size=6, verbose=0)["loss"] == pytest.approx(expected, rel=1e-4)


def test_views_train_encoder_and_projector():
    tested, views = model(), batch()
    before = [numpy(each) for each in tested.trainable_variables]
    tested.compile(keras.optimizers.Adam(3e-3))  # NTXent
    losses = tested.fit(views, batch_size=6, epochs=12, verbose=0).history["nt_xent"]
    assert losses[-1] < 0.7 * losses[0]
    still = [each.path for each, old in zip(tested.trainable_variables, before) if np.array_equal(numpy(each), old)]
    assert not still


def naive_teacher(model, steps, momentum, x):
    """The weights of a teacher by a loop over steps that a model without one takes."""
    copy = [numpy(weight) for weight in (*model.encoder.weights, *model.projector.weights)]
    for step in range(steps):
        model.train_on_batch(x)
        m = momentum(step)
        for place, weight in enumerate((*model.encoder.weights, *model.projector.weights)):
            copy[place] = m * copy[place] + (1 - m) * numpy(weight) if weight.trainable else numpy(weight)
    return copy


@pytest.mark.parametrize("steps", [None, 4])
def test_the_teacher_is_the_moving_average_of_the_student(steps):
    views = {"view_1": random.normal(size=(6, 4)).astype("float32")}
    views["view_2"] = views["view_1"] + 0.1
    students = []
    for teacher in (None, EMATeacher(0.6, steps)):
        keras.utils.set_random_seed(3)
        students.append(model(teacher=teacher, encoder=mlp()))
        loss = NTXent() if teacher is None else NTXent() + 0.0 * NTXent(inputs=("view_1", "teacher_view_2"))
        students[-1].compile(keras.optimizers.SGD(0.3), loss=loss)

    def momentum(step):
        return 0.6 if steps is None else 1 - 0.4 * (np.cos(np.pi * min(step / steps, 1.0)) + 1) / 2

    expected = naive_teacher(students[0], 5, momentum, views)
    students[1].fit(views, batch_size=6, epochs=3, verbose=0, shuffle=False)
    for _ in range(2):
        students[1].train_on_batch(views)
    got = [*teacher.encoder.weights, *teacher.projector.weights]
    assert any("moving_mean" in weight.path for weight in got)
    for weight, value in zip(got, expected, strict=True):
        np.testing.assert_allclose(numpy(weight), value, atol=2e-5, err_msg=weight.path)
    students[1].trainable = False
    students[1].trainable = True  # opens the student alone
    assert len(students[1].trainable_variables) == len(students[0].trainable_variables) == 9
    assert len({each.path for each in students[1].variables}) == len(students[1].variables)


def test_a_queue_reads_the_student_of_one_view_and_the_teacher_of_the_other():
    tested, views = model(teacher=EMATeacher(0.9), batch_norm=False), batch()
    fill(tested.teacher.projector)
    tested.compile(keras.optimizers.SGD(0.1), loss=QueueContrastive(dim=5, queue_size=8))
    found = tested(views, outputs=("query", "key"))
    np.testing.assert_array_equal(numpy(found["query"]), numpy(found["view_1"]))
    key = numpy(tested.teacher.projector(tested.teacher.encoder(views["view_2"])["embedding"]))
    np.testing.assert_allclose(numpy(found["key"]), key, atol=1e-5)
    for _ in range(2):  # on torch the second one would meet a queue that was changed under the first
        tested.train_on_batch(views)
    unit = key / np.linalg.norm(key, axis=1, keepdims=True)  # of which the second step left two
    np.testing.assert_allclose(numpy(tested.objective.queue)[4:6], unit[4:6], atol=1e-5)
    assert int(tested.objective.pointer) == 12 % 8


def test_student_and_teacher_of_many_crops():
    tested, views = model((8, 4), EMATeacher(0.9), batch_norm=False, prototypes=9), batch(local=2)
    tested.compile(keras.optimizers.SGD(0.1), loss=DINO(dim=9))
    found = tested(views, outputs=("student", "teacher"))
    assert found["student"].shape == (4, 6, 9) and found["teacher"].shape == (2, 6, 9)
    np.testing.assert_allclose(numpy(found["teacher"]), numpy(found["student"])[:2], atol=1e-5)
    expected = float(numpy(DINO(dim=9)(found["student"], found["teacher"])))
    assert float(numpy(tested.train_on_batch(views)[0])) == pytest.approx(expected, rel=1e-4)


def test_a_frozen_encoder_stays_and_so_does_its_copy():
    tested = model(teacher=EMATeacher(0.5))
    tested.encoder.trainable = False
    before = tested.encoder.get_weights()
    tested.compile(keras.optimizers.SGD(0.1), loss=QueueContrastive(dim=5, queue_size=8))
    tested.fit(batch(), batch_size=6, epochs=2, verbose=0)
    for layer in (tested.encoder, tested.teacher.encoder):
        assert all(np.array_equal(old, new) for old, new in zip(before, layer.get_weights()))


def test_texts_are_their_own_views_under_dropout():
    tower = TextTransformer(50, 6, 12, 1, 2, eot_id=2, dropout=0.3, causal=False, mask_padding=True)
    ids = np.array([[1, 7, 9, 2, 0, 0], [1, 8, 2, 0, 0, 0]], "int32")
    texts = {"view_1": ids, "view_2": ids, "view_1_padding_mask": ids > 0, "view_2_padding_mask": ids > 0}
    tested = model(encoder=tower)
    tested.compile("clip_adamw", loss=InfoNCE(0.05, inputs=("view_1", "view_2")))
    tested.fit(texts, batch_size=2, verbose=0)
    expected = numpy(tower(ids, ids > 0)["embedding"])
    np.testing.assert_allclose(tested.encode((ids, ids > 0)), expected, atol=1e-5)
    del texts["view_2_padding_mask"]
    with pytest.raises(ValueError, match="the batch has 'view_1_padding_mask', but no 'view_2_padding_mask'"):
        tested(texts)


def test_a_model_with_its_teacher_and_queue_is_saved_and_goes_on(tmp_path):
    tested = model(teacher=EMATeacher(0.7, steps=10), encoder=mlp())
    views = {name: random.normal(size=(4, 4)).astype("float32") for name in ("view_1", "view_2")}
    tested.compile(keras.optimizers.SGD(0.1), loss=QueueContrastive(dim=5, queue_size=8))
    tested.fit(views, batch_size=4, epochs=2, verbose=0)
    tested.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.teacher.get_config() == tested.teacher.get_config() and int(again.teacher.step) == 2
    assert len(again.trainable_variables) == len(tested.trainable_variables)
    first, second = (each.train_on_batch(views)[0] for each in (tested, again))
    assert float(numpy(first)) == pytest.approx(float(numpy(second)), rel=1e-5)
    for new, old in zip(again.teacher.weights, tested.teacher.weights, strict=True):
        np.testing.assert_allclose(numpy(new), numpy(old), atol=1e-6)


def test_a_tower_that_takes_one_size_refuses_small_crops():
    tested = model(encoder=ResNet(32, (1, 1, 1, 1), 4, 6, head_width=16))
    views = {"view_1": pixels(2, 32), "local_1": pixels(2, 64)}
    with pytest.raises(ValueError, match=r"local_1 have shape \(2, 64, 64, 3\), but this model takes"):
        tested(views)


@pytest.mark.parametrize(
    "views, sentence",
    [
        ({"images": pixels(2)}, r"a batch has the keys \['images'\], but a dict with views is expected"),
        (pixels(2), "a batch has the type ndarray, but a dict with views"),
        ({"view_1": pixels(2, 8)}, r"view_1 have shape \(2, 8, 8, 3\)"),
        ({"view_1": pixels(2), "view_2": pixels(3)}, "different numbers of rows"),
    ],
)
def test_bad_batches(views, sentence):
    with pytest.raises(ValueError, match=sentence):
        model()(views)


def test_a_loss_and_a_model_that_do_not_fit_are_refused_before_training():
    with pytest.raises(ValueError, match="the loss reads 'key', but the model has no teacher"):
        model().compile("sgd", loss=QueueContrastive(dim=5))
    with pytest.raises(ValueError, match="the loss reads 'teacher', but the model has no teacher"):
        model().compile("sgd", loss=NTXent() + DINO(dim=5))
    with pytest.raises(ValueError, match="the model has a teacher, but the loss reads only .*view_1"):
        model(teacher=EMATeacher()).compile("sgd", loss=NTXent())


def test_bad_parts():
    with pytest.raises(ValueError, match=r"the width of what the encoder \(Sequential\) gives is not known"):
        kzoo.SelfSupervised(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"sizes is \(\); give the width of each layer"):
        Projector(())
    with pytest.raises(ValueError, match=r"momentum is 1.0; give a number in \[0, 1\)"):
        EMATeacher(1.0)
    with pytest.raises(ValueError, match="steps is 0"):
        EMATeacher(0.9, steps=0)
    teacher = EMATeacher(0.9)
    model(teacher=teacher)
    with pytest.raises(ValueError, match="follows the layers of a model already"):
        model(teacher=teacher)
