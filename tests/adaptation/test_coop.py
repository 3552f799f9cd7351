"""CoOp and CoCoOp: they begin as the zero-shot classifier, train their prompts alone, and leave as a plain one."""

import keras
import numpy as np
import pytest
from prompt_case import BATCH, IMAGES, LABELS, NAMES, TOWERS, logits_of, made, state, zero_shot
from shared_case import numpy, tiny_model

import kzoo
from kzoo.adaptation import CoCoOp, CoOp, FedPGP
from kzoo.models import DualEncoder


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.mark.one_other
@pytest.mark.parametrize("kind", TOWERS)
def test_the_context_of_a_text_gives_the_zero_shot_classifier(kind):
    model = made(**TOWERS[kind])
    classifier = CoOp(model, NAMES, init="a big")
    wanted = zero_shot(model, "a big {}.")
    np.testing.assert_allclose(logits_of(classifier), wanted, atol=1e-5)
    baked = classifier.bake()
    assert baked.classes == tuple(NAMES) and baked.zero_shot.shape == (3, 12)
    np.testing.assert_allclose(baked.logits(classifier.encode_image(IMAGES)) - 1.0, wanted, atol=1e-5)


def test_the_context_alone_is_trained_and_kept(model, tmp_path):
    before = state(model)
    classifier = CoOp(model, NAMES, n_ctx=3, class_specific=True, class_position="middle")
    (context,) = classifier.trainable_variables
    assert context.shape == (3, 3, 24)
    own, begun = state(classifier.model), numpy(context)
    classifier.compile(keras.optimizers.Adam(0.02))
    losses = classifier.fit(BATCH, batch_size=6, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    accuracy = np.mean(classifier.classify(IMAGES).argmax(axis=1) == LABELS)
    assert classifier.evaluate(BATCH, batch_size=5, verbose=0)["accuracy"] == pytest.approx(accuracy)
    moved = np.abs(numpy(context) - begun).reshape(-1, 24).max(axis=1)
    assert (moved > 1e-3).all()
    for weights, old in ((state(model), before), (state(classifier.model), own)):
        assert all(np.array_equal(weights[path], old[path]) for path in old)
    assert all(each.trainable for each in model.trainable_variables) and len(model.trainable_variables) > 10
    classifier.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.classify(IMAGES), classifier.classify(IMAGES), atol=1e-6)
    assert [each.path.split("/")[-2:] for each in again.trainable_variables] == [["context", "vectors"]]
    again.fit(BATCH, batch_size=6, verbose=0)


@pytest.mark.one_other
def test_class_embeddings_are_held_near_those_of_a_template(model):
    free, held = (CoOp(model, NAMES, n_ctx=2, knowledge_weight=weight, template="a {}") for weight in (0.0, 8.0))
    held.context.vectors.assign(numpy(free.context.vectors))
    values = []
    for classifier in (free, held):
        classifier.compile(keras.optimizers.SGD(0.1))
        values.append(classifier.evaluate(BATCH, batch_size=12, verbose=0)["loss"])
    texts = model.encode_text(["a red circle", "a green square", "a blue"])
    distance = np.mean(np.sum((free.bake().zero_shot - texts) ** 2, axis=1))
    assert distance > 0.1 and values[1] - values[0] == pytest.approx(8.0 * distance, rel=1e-4)
    held.compile(keras.optimizers.Adam(0.02))
    held.fit(BATCH, batch_size=6, epochs=8, verbose=0)
    assert np.mean(np.sum((held.bake().zero_shot - texts) ** 2, axis=1)) < distance


@pytest.mark.one_other
def test_a_context_of_the_picture_is_that_of_coop_where_nothing_moves_it(model, tmp_path):
    classifier = CoCoOp(model, NAMES, init="a big", reduction=4)
    free = logits_of(classifier)
    for weight in classifier.meta_output.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(logits_of(classifier), zero_shot(model, "a big {}."), atol=1e-5)
    assert np.abs(free - logits_of(classifier)).max() > 1e-3
    classifier.compile(keras.optimizers.Adam(0.01), micro_batch_size=2)
    losses = classifier.fit(BATCH, batch_size=6, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and len(classifier.trainable_variables) == 5
    classifier.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        kzoo.load_model(tmp_path / "model.keras").classify(IMAGES), classifier.classify(IMAGES), atol=1e-6
    )
    with pytest.raises(NotImplementedError, match="depends on the picture"):
        classifier.export(tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.one_other
def test_a_client_of_a_federation_has_a_part_of_its_own(model, tmp_path):
    client, shared = FedPGP(model, NAMES, rank=1, init="a big", template="a {}"), zero_shot(model, "a big {}.")
    found = logits_of(client)
    classes, plain = client.bake().zero_shot, model.encode_text([f"a big {name.replace('_', ' ')}." for name in NAMES])
    texts = model.encode_text(["a red circle", "a green square", "a blue"])
    near, far = np.sum(texts * plain, axis=1) / 0.5, np.sum(plain * classes, axis=1) / 0.5
    added = np.mean(np.log(np.exp(near) + np.exp(far)) - near)
    client.compile(keras.optimizers.Adam(0.02))
    whole = client.evaluate(BATCH, batch_size=12, verbose=0)
    entropy = -np.mean((found - np.log(np.exp(found).sum(axis=1, keepdims=True)))[np.arange(12), LABELS])
    assert whole["loss"] == pytest.approx(entropy + added, rel=1e-4)
    begun, context = [numpy(each) for each in client.trainable_variables], numpy(client.context.vectors)
    client.fit(BATCH, batch_size=6, epochs=2, verbose=0)
    assert sorted(tuple(each.shape) for each in client.trainable_variables) == [(1, 24), (2, 1), (2, 24)]
    assert all(np.abs(numpy(new) - old).max() > 1e-4 for old, new in zip(begun, client.trainable_variables))
    client.save(tmp_path / "model.keras")
    np.testing.assert_allclose(logits_of(kzoo.load_model(tmp_path / "model.keras")), logits_of(client), atol=1e-5)
    client.context.vectors.assign(context)
    client.local_left.assign(np.zeros((2, 1)))
    np.testing.assert_allclose(logits_of(client), shared, atol=1e-5)


@pytest.mark.once
def test_what_cannot_be_prompted(model):
    layer = keras.Sequential([keras.Input((10,), dtype="int32"), keras.layers.Embedding(320, 12)])
    layer.add(keras.layers.GlobalAveragePooling1D())
    other = DualEncoder(model.image_encoder, layer, preprocessor=model.preprocessor)
    single = kzoo.SelfSupervised(model.image_encoder, preprocessor=model.preprocessor)
    for call, error, sentence in (
        (lambda: CoOp(other, NAMES), ValueError, "LayerTower cannot be run from embeddings"),
        (lambda: CoOp(single, NAMES), ValueError, "has no image tower"),
        (lambda: CoOp("clip_base", NAMES), TypeError, "model is 'clip_base'|model is of type str"),
        (lambda: CoOp(tiny_model(vocabulary=False, depth=1), NAMES), ValueError, "no vocabulary"),
        (lambda: CoOp(model, NAMES[:1]), ValueError, "there is 1 class"),
        (lambda: CoOp(model, NAMES, n_ctx=9), ValueError, "give a smaller n_ctx"),
        (lambda: CoOp(model, NAMES, n_ctx=3, init="a"), ValueError, "n_ctx is 3, but init 'a' has 1 token"),
        (lambda: CoOp(model, NAMES, class_specific=True, init="a"), ValueError, "init is a text for all classes"),
        (lambda: CoOp(model, NAMES, n_ctx=1, class_position="back"), ValueError, "class_position"),
        (lambda: CoOp(model, NAMES, n_ctx=1, knowledge_weight=-1.0), ValueError, "knowledge_weight"),
        (lambda: CoOp(model, NAMES, n_ctx=1, template="a"), ValueError, "needs one {}"),
        (
            lambda: CoOp(model, NAMES, knowledge_weight=1.0),
            ValueError,
            "text 'a photo of a red circle.' is longer than",
        ),
        (
            lambda: FedPGP(model, NAMES, 2, rank=3, template="{}"),
            ValueError,
            "rank is 3, but a context is 2 vectors of 24",
        ),
        (lambda: CoCoOp(model, NAMES, init="a", reduction=13), ValueError, "reduction is 13, but .* 12 channels"),
    ):
        with pytest.raises(error, match=sentence):
            call()
    classifier = CoOp(model, NAMES, n_ctx=1)
    classifier.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="label"):
        classifier.fit({"images": IMAGES, "labels": LABELS + 1}, verbose=0)
    with pytest.raises(ValueError, match="'labels'"):
        classifier.fit({"images": IMAGES}, verbose=0)
