"""The methods of the one door that train: what they begin as, learn, leave, and refuse."""

import numpy as np
import pytest
from shared_case import numpy, spread, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import AdaptedClassifier, adapters, load_adapter, save_adapter
from kzoo.adaptation.methods import METHODS
from kzoo.paths import parameters

NAMES = ("red", "green", "blue", "grey")
IMAGES, LABELS = toy_pairs(24)["images"], np.arange(24) % 4
TRAINED = [name for name, method in METHODS.items() if method.trained_by is not None]
# what is trained in each way runs on each backend; the classes of the prompts do so in their own tests
EACH = {"lora": (), "coop": pytest.mark.one_other, "flyp": pytest.mark.one_other}
KNOWING = {"image_embeddings": np.eye(4)[LABELS] + 0.9, "text_embeddings": np.eye(4) + 0.9}  # a teacher
SETTINGS = {  # so that a tiny model learns in a few steps
    "coop": {"init": "a", "learning_rate": 0.1},
    "kgcoop": {"init": "a", "learning_rate": 0.1},
    "cocoop": {"init": "a", "reduction": 4, "batch_size": 4, "learning_rate": 0.05},
    "vpt": {"n_ctx": 2, "learning_rate": 0.1, "epochs": 20},
    "maple": {"n_ctx": 1, "init": None, "learning_rate": 0.05},
    "mvlpt": {"n_ctx": 1, "n_ctx_visual": 1, "project_dim": 8, "learning_rate": 0.1},
    "fedpgp": {"n_ctx": 2, "rank": 1, "learning_rate": 0.1},
    "hicropl": {"n_ctx": 1, "learning_rate": 0.02, "batch_size": 8},
    "gopro": {"init": "a", "learning_rate": 0.02, "batch_size": 8},
    "task_oriented": {"init": "a", "learning_rate": 0.02, "batch_size": 8},
    "bottleneck": {"bottleneck_dim": 4, "learning_rate": 0.02},
    "prefix": {"num_prefix": 2, "learning_rate": 0.05},
    "lora": {"rank": 2, "learning_rate": 0.02},
    "bitfit": {"learning_rate": 0.02},
    "full": {"learning_rate": 0.003},
    "flyp": {"learning_rate": 0.003},
    "distil": {"learning_rate": 0.003, "teacher": KNOWING},
}


@pytest.fixture(scope="module")
def model():
    model = tiny_model(depth=1)
    spread(model.image_encoder)
    return model


def call(model, method, **options):
    wanted = {"classes": NAMES, "shots": 4, "templates": "a {}"}
    wanted |= {"epochs": 6, "batch_size": 8} if method in TRAINED else {}
    return kzoo.adapt(model, (IMAGES, LABELS), method, **wanted | SETTINGS.get(method, {}) | options)


@pytest.mark.parametrize("method", [pytest.param(each, marks=EACH.get(each, pytest.mark.once)) for each in TRAINED])
def test_it_trains_and_is_kept(model, method, tmp_path):
    before = [numpy(each).copy() for each in model.weights]
    found = call(model, method)
    report, adapted = found.report, found.model
    assert (report.method, report.pictures, report.held_out, report.shots) == (method, 16, 8, 4)
    assert report.trained == sum(np.prod(each.shape) for each in found.trained.trainable_variables) > 0
    assert all(np.array_equal(numpy(each), old) for each, old in zip(model.weights, before, strict=True))
    assert all(each.trainable for each in model.trainable_variables) and not hasattr(model, "objective")
    zero_shot = model.logits(IMAGES, [f"a {name}" for name in NAMES])
    logits = adapted.logits(IMAGES)
    assert np.abs(logits - zero_shot).max() > 1e-3  # something was learned
    losses = [_loss(each, LABELS) for each in (zero_shot, logits)]
    assert losses[1] < losses[0], losses
    adapted.save(tmp_path / "kept")
    again = AdaptedClassifier.load(tmp_path / "kept")
    assert again.classes == NAMES and type(again) is type(adapted)
    np.testing.assert_allclose(again.logits(IMAGES), logits, atol=1e-4)
    assert isinstance(kzoo.from_preset(tmp_path / "kept"), kzoo.DualEncoder)


@pytest.mark.once
def test_an_export_has_what_was_learned(model, tmp_path):
    found = call(model, "lora", targets="**.attention", decomposed=True, templates=["a {}", "a big {}"])
    assert {each.path.split(".")[1] for each in parameters(found.trained) if each.variable.trainable} == {
        "image_encoder",
        "text_encoder",
    }
    logits = found.model.logits(IMAGES)
    found.model.export(tmp_path / "onnx")
    assert adapters(found.model.encoder) == ["default"] and np.array_equal(found.model.logits(IMAGES), logits)
    export = AdaptedClassifier.load(tmp_path / "onnx")
    texts = [f"a {name}" for name in NAMES]
    np.testing.assert_allclose(export.encoder.encode_text(texts), found.model.encoder.encode_text(texts), atol=1e-5)
    np.testing.assert_allclose(export.logits(IMAGES), logits, rtol=1e-3, atol=1e-3)
    own, other = (call(each, "class_mean").model for each in (export.encoder, found.model.encoder))
    np.testing.assert_allclose(own.logits(IMAGES), other.logits(IMAGES), rtol=1e-3, atol=1e-2)
    with pytest.raises(TypeError, match="an export with a folder of its own"):
        own.save(tmp_path / "again")
    with pytest.raises(TypeError, match="LoRA trains a model, but the one given is of type .*, an export"):
        call(export.encoder, "lora")
    save_adapter(found.model.encoder, tmp_path / "adapter")
    again = tiny_model(depth=1)
    again.set_weights(model.get_weights())
    load_adapter(again, tmp_path / "adapter")
    np.testing.assert_allclose(again.encode_image(IMAGES), found.model.encoder.encode_image(IMAGES), atol=1e-5)
    with pytest.raises(NotImplementedError, match="has no .keras file of its own"):
        found.trained.save(tmp_path / "trained.keras")
    with pytest.raises(NotImplementedError, match="depends on the picture"):
        call(model, "cocoop", epochs=1).model.export(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.once
def test_a_seed_gives_one_training(model):
    one, same, other = (call(model, "lora", seed=seed, epochs=2).trained for seed in (3, 3, 4))
    first = [numpy(each) for each in one.trainable_variables]
    assert all(np.array_equal(a, numpy(b)) for a, b in zip(first, same.trainable_variables, strict=True))
    assert not all(np.array_equal(a, numpy(b)) for a, b in zip(first, other.trainable_variables, strict=True))


@pytest.mark.once
def test_what_cannot_be_trained_leaves_the_model_as_it_was(model):
    before, paths = [numpy(each).copy() for each in model.weights], [each.path for each in parameters(model)]

    for called, error, sentence in (
        (lambda: call(model, "coop", init=None, n_ctx=20), ValueError, "give a smaller n_ctx"),
        (lambda: call(model, "coop", init="a", n_ctx=3), ValueError, "n_ctx is 3, but init 'a' has 1 token"),
        (lambda: call(model, "coop", templates=["a {}", "{}"]), ValueError, "CoOp reads one template, but 2 are given"),
        (lambda: call(model, "lora", rank=99), ValueError, "rank is 99, but image_encoder.* has a side of 24"),
        (lambda: call(model, "lora", targets="**.valu"), ValueError, "names nothing|name nothing|valu"),
        (lambda: call(model, "full", targets="similarity"), ValueError, "similarity.*, which no class depends on"),
        (lambda: call(model, "lora", epochs=0), ValueError, "epochs is 0"),
        (lambda: call(model, "lora", rnak=2), TypeError, "no setting 'rnak'; .*is 'rank' meant"),
        (lambda: call(model, "lora", shots=7), ValueError, "class 'red' has 6 pictures, fewer than the 7 shots"),
        (lambda: call(model, "lora", classes=("red",)), ValueError, "there is 1 class"),
        (lambda: call(model, "lora", classes=(*NAMES, "black")), ValueError, "class 'black' has no picture"),
        (lambda: call(model, "lora", templates=None), ValueError, "'lora' reads texts of the classes"),
    ):
        with pytest.raises(error, match=sentence):
            called()
        assert [each.path for each in parameters(model)] == paths
        assert all(each.variable.trainable for each in parameters(model) if each.trains)
    assert all(np.array_equal(numpy(each), old) for each, old in zip(model.weights, before, strict=True))


def _loss(logits, labels):
    logits = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))
