"""Prompts that depend on the picture: GOPro, TaskOrientedPrompt, and the score maps of DenseCLIP."""

import keras
import numpy as np
import pytest
from prompt_case import BATCH, IMAGES, LABELS, NAMES, logits_of, state
from shared_case import numpy, spread, tiny_model

import kzoo
from kzoo.adaptation import CoOp, DenseCLIP, GOPro, TaskOrientedPrompt
from kzoo.encoders import ResNet
from kzoo.encoders.dense import dense_embeddings
from kzoo.losses import NTXent
from kzoo.models import DualEncoder


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    spread(model)
    return model


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    shares = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(shares, labels[..., None], axis=-1).mean()


def loss_of(classifier, batch):
    return classifier.evaluate(batch, batch_size=len(batch["labels"]), verbose=0, return_dict=True)["loss"]


def trains_and_is_kept(classifier, batch, outputs, tmp_path, rate=0.02):
    begun = state(classifier)
    trained = {each.path for each in classifier.trainable_variables}
    classifier.compile(keras.optimizers.Adam(rate))
    losses = classifier.fit(batch, batch_size=6, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    now = state(classifier)
    assert all(np.array_equal(now[path], begun[path]) for path in begun if path not in trained and "norm" not in path)
    assert sum(not np.array_equal(now[path], begun[path]) for path in trained) > len(trained) / 2
    classifier.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs(again), outputs(classifier), atol=1e-5)
    again.fit(batch, batch_size=6, verbose=0)
    with pytest.raises(NotImplementedError, match="depends on the picture"):
        classifier.export(tmp_path / "onnx")


@pytest.mark.one_other
def test_task_oriented_prompts_begin_as_coop(model, tmp_path):
    coop = CoOp(model, NAMES, init="a big")
    both = TaskOrientedPrompt(model, NAMES, init="a big", knowledge_weight=2.0, template="a {}")
    near = np.square(coop.bake().zero_shot - numpy(both.zero_shot)).sum(axis=-1).mean()
    both.compile(keras.optimizers.SGD(0.0))
    assert abs(loss_of(both, BATCH) - cross_entropy(logits_of(coop), LABELS) - 2.0 * near) < 1e-3
    np.testing.assert_allclose(logits_of(both), logits_of(coop), atol=1e-4)
    ids, is_name = both.context.arrays["token_ids"][0], both.context.is_name[0]
    found = numpy(model.text_encoder.embed(ids[None]))[0][is_name].mean(axis=0)
    np.testing.assert_allclose(numpy(both.context.names(model.text_encoder))[0], found, atol=1e-6)
    asked = both.prompt_attention.out.kernel
    asked.assign(np.random.default_rng(0).normal(size=asked.shape))
    assert both._contexts(numpy(model.image_encoder(IMAGES)["tokens"])).shape == (12, 3, 2, 24)
    assert np.abs(logits_of(both) - logits_of(coop)).max() > 1e-2
    trains_and_is_kept(both, BATCH, logits_of, tmp_path)


@pytest.mark.one_other
def test_gopro_compares_the_views_of_a_picture(model, tmp_path):
    gopro = GOPro(model, NAMES, init="a big", view_weight=0.5)
    data = gopro.views(IMAGES, LABELS, batch_size=6, seed=1)
    batch = data[0]
    assert sorted(batch) == ["labels", "view_1", "view_2", "view_3"]
    own = batch["view_1"]
    assert any(np.array_equal(own[0], image) for image in IMAGES)
    tokens = numpy(model.image_encoder(own, layers=(1, 2))["layer_tokens"]).astype("float64")
    means, deviations = tokens.mean(axis=2), tokens.std(axis=2)
    kernels = [[numpy(each).astype("float64") for each in pair] for pair in (gopro.style, gopro.content)]
    mixed = sum(
        np.einsum("blw,lwd->bld", x, kernel) + bias
        for x, (kernel, bias) in zip(((means + deviations) / 2, means), kernels)
    )
    slots, bias = (numpy(each) for each in gopro.slots_of.weights)
    vectors = numpy(gopro.context.vectors) + np.einsum("bld,lk->bkd", mixed / 2, slots) + bias[:, None]
    classes = numpy(gopro.context.embed(model.text_encoder, vectors.astype("float32")))
    np.testing.assert_allclose(numpy(gopro._classes(tokens.astype("float32"))), classes, atol=1e-4)
    logits = model.similarity.numbers()[0] * np.einsum("bd,bcd->bc", unit(model.encode_image(own)), classes)
    wanted = cross_entropy(logits, batch["labels"])
    gopro.compile(keras.optimizers.SGD(0.0))
    plain = {"images": own, "labels": batch["labels"]}
    assert abs(loss_of(gopro, plain) - wanted) < 1e-3
    for view in ("view_2", "view_3"):
        seen = numpy(model.image_encoder(batch[view], layers=(1, 2))["layer_tokens"])
        wanted += np.square(numpy(gopro._classes(seen)) - classes).mean()
    sides = [gopro.view_norm(gopro.view_projection(model.encode_image(batch[view]))) for view in ("view_1", "view_2")]
    wanted += 0.5 * float(numpy(NTXent(0.1)(*sides)))
    assert abs(loss_of(gopro, batch) - wanted) < 1e-3
    trains_and_is_kept(gopro, data, logits_of, tmp_path, 0.003)


def maps_of(classifier):
    return np.asarray(classifier.predict({"images": IMAGES}, verbose=0)["score_maps"])


def test_score_maps_compare_each_place_with_each_class(model, tmp_path):
    dense = DenseCLIP(model, NAMES, n_ctx=2, depth=1, width=16, gamma_init=0.5)
    maps = maps_of(dense)
    assert maps.shape == (12, 2, 2, 3) and np.abs(maps).max() < 1.0 + 1e-5
    found = model.image_encoder(IMAGES)
    places = numpy(dense_embeddings(model.image_encoder, found["tokens"]))
    first = numpy(model.image_encoder.projection(model.image_encoder.post_norm(found["tokens"][:, 1:2])))
    np.testing.assert_allclose(places[:, :1], first, atol=1e-5)
    texts = np.repeat(numpy(dense.context.features(model.text_encoder))[None], 12, axis=0)
    memory = np.concatenate([numpy(found["embedding"])[:, None], places], axis=1)
    moved = texts + 0.5 * numpy(dense.decoder(texts, memory))
    wanted = unit(places) @ unit(moved).transpose(0, 2, 1)
    np.testing.assert_allclose(maps.reshape(12, 4, 3), wanted, atol=1e-5)
    np.testing.assert_allclose(dense.segment(IMAGES).sum(axis=-1), 1.0, atol=1e-5)

    labels = np.random.default_rng(0).integers(-1, 3, (12, 6, 8))
    chosen = labels[:, [1, 4]][:, :, [2, 6]].reshape(12, 4)
    dense.compile(keras.optimizers.SGD(0.0))
    counts = chosen >= 0
    assert (
        abs(
            loss_of(dense, {"images": IMAGES, "labels": labels})
            - cross_entropy((wanted / 0.07)[counts], chosen[counts])
        )
        < 1e-3
    )
    scored = numpy(dense({"images": IMAGES}, outputs=("scored_map",))["scored_map"])
    assert scored.shape == (12, 2, 2, 27) and np.allclose(scored[..., 24:], maps, atol=1e-5)
    dense.compile(keras.optimizers.Adam(0.01))
    batch = {"images": IMAGES, "labels": np.repeat(LABELS, 4).reshape(12, 2, 2)}
    before = state(dense.model)
    for text in (False, True):
        changed = [path for path in before if path.startswith("text_encoder") is text]
        assert changed
    trains_and_is_kept(dense, batch, maps_of, tmp_path, 0.01)
    after = state(dense.model)
    moved = {path.split("/")[0] for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {"image_encoder"}


@pytest.mark.once
def test_a_tenth_of_the_rate_is_the_towers(model):
    dense = DenseCLIP(model, NAMES, n_ctx=2, depth=1, width=16, gamma_init=0.5)
    dense.compile(keras.optimizers.Adam(0.01))
    before = state(dense)
    dense.train_on_batch({"images": IMAGES, "labels": np.repeat(LABELS, 4).reshape(12, 2, 2)})
    after = state(dense)
    steps = {path: np.abs(after[path] - before[path]).max() for path in before}
    tower = [step for path, step in steps.items() if path.startswith("image_encoder") and step]
    assert tower and max(tower) < 0.0011 and np.abs(numpy(dense.gamma) - 0.49).max() < 0.021
    locked = DenseCLIP(model, NAMES, n_ctx=2, depth=1, width=16, train_backbone=False)
    assert not any(each.path.startswith("image_encoder") for each in locked.trainable_variables)


@pytest.mark.once
def test_each_place_of_a_resnet_asks_as_the_mean_does():
    tower = ResNet(32, (1, 1), 8, 12, head_width=8, name="image_encoder")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    found = tower(images)
    places = numpy(dense_embeddings(tower, found["tokens"]))
    pool, tokens = tower.attention_pool, numpy(found["tokens"])
    x = np.concatenate([tokens.mean(axis=1, keepdims=True), tokens], axis=1) + numpy(pool.position_embedding)
    np.testing.assert_allclose(places, numpy(pool.attention(x, x))[:, 1:], atol=1e-5)


@pytest.mark.once
def test_what_is_wrong_is_said(model):
    layer = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(12)])
    plain = DualEncoder(kzoo.encoders.as_tower(layer, "image"), model.text_encoder, preprocessor=model.preprocessor)
    pooled = tiny_model(depth=1)
    tower = kzoo.encoders.VisionTransformer(16, 8, 24, 1, 2, embed_dim=12, class_token=False, pool="attention")
    pooled = DualEncoder(tower, pooled.text_encoder, preprocessor=pooled.preprocessor)
    for make, sentence in (
        (lambda: TaskOrientedPrompt(plain, NAMES, init="a"), "gives no tokens"),
        (lambda: GOPro(plain, NAMES, init="a"), "LayerTower cannot be run"),
        (lambda: DenseCLIP(plain, NAMES, 1), "LayerTower has no embedding of each place"),
        (lambda: DenseCLIP(pooled, NAMES, 1), "the pool 'attention' of this VisionTransformer"),
        (lambda: DenseCLIP(model, NAMES, 9), "a smaller n_ctx"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
    dense = DenseCLIP(model, NAMES, n_ctx=1, depth=1, width=16)
    dense.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match=r"labels have shape \(12,\)"):
        dense.fit(BATCH, verbose=0)
    with pytest.raises(ValueError, match="labels are from 0 to 255"):
        dense.fit({"images": IMAGES, "labels": np.arange(48).reshape(12, 2, 2) % 2 * 255}, verbose=0)
    with pytest.raises(NotImplementedError, match="call segment"):
        dense.classify(IMAGES)
