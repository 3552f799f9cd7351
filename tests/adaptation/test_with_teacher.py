"""A teacher that is a model, an export or stored embeddings: asked once, never trained, nowhere in the student."""

import numpy as np
import pytest
from cli_case import fails, run
from shared_case import spread, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import TeacherEmbeddings, with_teacher
from kzoo.losses import EmbeddingDistillation, LogitDistillation

NAMES = ("teacher_image_embeddings", "teacher_text_embeddings")


@pytest.fixture(scope="module")
def teacher():
    """Of another picture size and another width than the student."""
    model = tiny_model(image_size=24, depth=1, embed_dim=20)
    spread(model.image_encoder)
    spread(model.text_encoder)
    return model


def of_pairs(model, count=12, **options):
    return kzoo.data.pairs(toy_pairs(count), model.preprocessor, 4, shuffle=False, **options)


def test_a_student_learns_what_a_teacher_says_and_keeps_nothing_of_it(model, teacher, tmp_path):
    before, weights = teacher.get_weights(), model.count_params()
    data = with_teacher(kzoo.data.pairs(toy_pairs(24), model.preprocessor, 8), teacher)
    model.compile(kzoo.training.AdamW(1e-2), loss=LogitDistillation(teacher_temperature=0.1))
    losses = model.fit(data, epochs=4, verbose=0, validation_data=data.in_order()).history["loss"]
    assert losses[-1] < losses[0]
    assert all(np.array_equal(old, new) for old, new in zip(before, teacher.get_weights()))
    model.save_to_preset(tmp_path / "student")
    again = kzoo.from_preset(tmp_path / "student")
    assert again.teacher is None and again.count_params() == weights
    assert set(model.evaluate(data, verbose=0)) >= {"loss", "image_to_text_recall@1"}


@pytest.mark.once
def test_every_kind_of_teacher_says_the_same(model, teacher, tmp_path):
    data = of_pairs(model)
    images = teacher.encode_image(toy_pairs(12)["images"])
    texts = teacher.encode_text(toy_pairs(12)["captions"])
    stored = TeacherEmbeddings.of(teacher, data)
    stored.save(tmp_path / "teacher.npz")
    teacher.save_to_preset(tmp_path / "preset")
    teacher.export(tmp_path / "onnx")
    kinds = (
        teacher,
        stored,
        TeacherEmbeddings.load(tmp_path / "teacher.npz"),
        tmp_path / "teacher.npz",
        str(tmp_path / "preset"),
        tmp_path / "onnx",
        {"image_embeddings": 3.0 * images, "text_embeddings": texts},
    )
    for kind in kinds:
        batch = with_teacher(data, kind)[1]
        np.testing.assert_allclose(batch[NAMES[0]], images[4:8], atol=2e-5)
        np.testing.assert_allclose(batch[NAMES[1]], texts[4:8], atol=2e-5)
    assert NAMES[0] not in data[1]  # the set that was given stays as it is
    arrays = teacher.preprocessor(toy_pairs(12)["images"], toy_pairs(12)["captions"])
    small = model.preprocessor(toy_pairs(12)["images"], toy_pairs(12)["captions"])
    own = {f"teacher_{name}": each for name, each in arrays.items()}
    for given in (arrays, small | own):
        found = with_teacher(given, teacher, batch_size=5)
        np.testing.assert_allclose(found[NAMES[0]], images, atol=1e-5)
        np.testing.assert_allclose(found[NAMES[1]], texts, atol=1e-5)
    assert with_teacher(small, {"image_embeddings": images})[NAMES[0]].shape == (12, 20)


@pytest.mark.once
def test_captions_and_pictures_are_found_by_themselves(model, teacher, tmp_path):
    pairs = toy_pairs(8)
    source = {"images": pairs["images"], "captions": [[text, text.upper()] for text in pairs["captions"]]}
    bags = with_teacher(kzoo.data.pairs(source, model.preprocessor, 4, captions_per_image=2, word_dropout=0.5), teacher)
    found = bags[0][NAMES[1]]
    assert found.shape == (4, 2, 20)
    known = teacher.encode_text([*pairs["captions"], *map(str.upper, pairs["captions"])])
    assert np.abs(found[:, :, None] - known).max(axis=-1).min(axis=-1).max() < 1e-5  # whatever words were dropped
    each = with_teacher(kzoo.data.pairs(source, model.preprocessor, 4, shuffle=False, every_caption=True), teacher)
    np.testing.assert_allclose(each[0][NAMES[1]][1], known[8], atol=1e-5)

    from PIL import Image

    for number, image in enumerate(pairs["images"]):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    lines = [f"{number}.png,{text}" for number, text in enumerate(pairs["captions"])]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,caption", *lines]))
    files = [f"{tmp_path}/./{number}.png" for number in range(8)]
    np.savez(
        tmp_path / "embedded.npz",  # as kzoo embed writes it
        image_embeddings=teacher.encode_image(files),
        image_files=np.array(files),
        text_embeddings=teacher.encode_text(pairs["captions"]),
        texts=np.array(pairs["captions"]),
    )
    table = kzoo.data.pairs(tmp_path / "pairs.csv", model.preprocessor, 4, shuffle=False)
    found = with_teacher(table, tmp_path / "embedded.npz")[0]
    np.testing.assert_allclose(found[NAMES[0]], teacher.encode_image(files[:4]), atol=1e-5)
    (tmp_path / "packed").mkdir()
    kzoo.data.write_shards(tmp_path / "pairs.csv", tmp_path / "packed")
    packed = with_teacher(kzoo.data.shards(tmp_path / "packed", model.preprocessor, 4, shuffle=False), teacher)[0]
    apart = [np.abs(packed[NAMES[0]][:, None] - teacher.encode_image(files)).max(axis=-1)]
    apart += [np.abs(packed[NAMES[1]][:, None] - teacher.encode_text(pairs["captions"])).max(axis=-1)]
    assert max(each.min(axis=1).max() for each in apart) < 1e-5
    assert np.array_equal(*(each.argmin(axis=1) for each in apart))  # a picture with its caption, in any order


@pytest.mark.once
def test_a_command_trains_with_a_teacher(teacher, tmp_path, capsys, monkeypatch):
    from PIL import Image

    pairs = toy_pairs(8)
    for number, image in enumerate(pairs["images"]):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    lines = [f"{number}.png,{text}" for number, text in enumerate(pairs["captions"])]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,caption", *lines]))
    teacher.save_to_preset(tmp_path / "teacher")
    asked = ("train", tmp_path / "pairs.csv", "--epochs", 1, "--batch-size", 4, "--teacher", tmp_path / "teacher")
    result = run(*asked, "--output", tmp_path / "student", "--validation", tmp_path / "pairs.csv")
    assert result.exit_code == 0, result.output
    found = kzoo.from_preset(tmp_path / "student")
    assert [each["loss"] for each in found.loss_spec] == ["InfoNCE", "LogitDistillation"] and found.teacher is None
    code, said = fails(capsys, monkeypatch, *asked, "--output", tmp_path / "other", "--loss", "InfoNCE")
    assert code == 1 and "--loss is InfoNCE, which reads no teacher" in " ".join(said.split())
    assert not (tmp_path / "other").exists()


@pytest.mark.once
def test_what_cannot_be_is_said_in_a_sentence(model, teacher, tmp_path):
    data, few = of_pairs(model), TeacherEmbeddings.of(teacher, of_pairs(model, 4))
    (tmp_path / "other.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "empty.npz", numbers=np.eye(3))
    refused = [
        (ValueError, "no embedding of the picture 'row 4'", lambda: with_teacher(data, few)[1]),
        (TypeError, "teacher is 3", lambda: with_teacher(data, 3)),
        (TypeError, "data is", lambda: with_teacher([1, 2], few)),
        (TypeError, "teacher is", lambda: with_teacher({"images": np.zeros((2, 24, 24, 3))}, few)),
        (ValueError, "reads nothing", lambda: with_teacher({"labels": np.zeros(3)}, teacher)),
        (ValueError, "of the 12 rows", lambda: with_teacher(data, {"image_embeddings": np.eye(3)})),
        (ValueError, "a dict of embeddings", lambda: with_teacher(data, {"embeddings": np.eye(12)})),
        (ValueError, "other.npz is no file of embeddings", lambda: with_teacher(data, tmp_path / "other.npz")),
        (ValueError, "empty.npz holds none", lambda: with_teacher(data, tmp_path / "empty.npz")),
        (ValueError, "neither of pictures nor of texts", TeacherEmbeddings),
        (ValueError, "go together", lambda: TeacherEmbeddings(np.eye(3))),
        (ValueError, "but 2 texts", lambda: TeacherEmbeddings(text_embeddings=np.eye(3), texts=["a", "b"])),
        (ValueError, "zero or not finite", lambda: TeacherEmbeddings(np.zeros((1, 3)), ["a.jpg"])),
        (ValueError, "ends in .npz", lambda: few.save(tmp_path / "teacher.txt")),
    ]
    for error, sentence, call in refused:
        with pytest.raises(error, match=sentence) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith("."), caught.value
    model.compile("sgd", loss=EmbeddingDistillation())
    with pytest.raises(ValueError, match="LogitDistillation"):  # of another width
        model.fit(with_teacher(data, teacher), verbose=0)
