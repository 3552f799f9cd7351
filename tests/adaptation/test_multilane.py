"""MULTI-LANE: pathways of tasks, by hand and one after another."""

import keras
import numpy as np
import pytest
from prompt_case import IMAGES, LABELS, state
from shared_case import numpy, spread, tiny_model

import kzoo
from kzoo.adaptation import MultiLane
from kzoo.models import DualEncoder

TASKS = {"round": ["circle", "ring"], "others": ["square", "triangle", "line"]}
SIZES = {"num_selectors": 3, "num_prompts": 2}
RANDOM = np.random.default_rng(0)
PRESENT = RANDOM.integers(0, 2, (12, 5))


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    spread(model)
    return model


def logits_of(lanes):
    return np.asarray(lanes.predict({"images": IMAGES}, verbose=0)["logits"])


def softmax(scores):
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def by_hand(model, lane):
    """The logits of one lane, written out."""
    tower = model.image_encoder
    given = numpy(tower(IMAGES, layers=(0, 1))["layer_tokens"])
    x = np.concatenate([given[:, 0, :1], np.repeat(numpy(lane.selectors)[None], 12, axis=0)], axis=1)
    for number, block in enumerate(tower.blocks):
        patches, own = numpy(block.norm_1(given[:, number])), numpy(block.norm_1(x))
        summaries = softmax(own[:, 1:] @ patches.transpose(0, 2, 1) / np.sqrt(24)) @ patches
        task = np.concatenate([own[:, :1], summaries], axis=1)
        query, key, value = (numpy(getattr(block.attention, name)(task)) for name in ("query", "key", "value"))
        key, value = (
            np.concatenate([np.repeat(numpy(put)[None], 12, axis=0), each], axis=1)
            for put, each in zip(lane.prompts[number], (key, value))
        )
        heads = [slice(0, 12), slice(12, 24)]
        mixed = [
            softmax(query[..., head] @ key[..., head].transpose(0, 2, 1) / np.sqrt(12)) @ value[..., head]
            for head in heads
        ]
        mixed = numpy(block.attention.out(np.concatenate(mixed, axis=-1)))
        x = x + np.concatenate([mixed[:, :1], own[:, 1:]], axis=1)
        x = x + numpy(block.feed_forward(block.norm_2(x)))
    last = numpy(tower.post_norm(x[:, 0]))
    last = last / np.linalg.norm(last, axis=-1, keepdims=True)
    return last @ numpy(lane.kernel) + numpy(lane.bias)


@pytest.mark.one_other
def test_pathways_of_tasks_do_not_change_each_other(model, tmp_path):
    lanes = MultiLane(model, TASKS, **SIZES)
    wanted = np.concatenate([by_hand(model, lane) for lane in lanes.lanes], axis=1)
    logits = logits_of(lanes)
    np.testing.assert_allclose(logits, wanted, atol=1e-4)
    np.testing.assert_allclose(lanes.presence(IMAGES), 1 / (1 + np.exp(-wanted)), atol=1e-4)

    labels = np.where([True, True, False, False, False], PRESENT, -1)
    known = PRESENT[:, :2]
    losses = np.log1p(np.exp(wanted[:, :2])) - known * wanted[:, :2]
    lanes.compile(keras.optimizers.SGD(0.0))
    found = lanes.evaluate({"images": IMAGES, "labels": labels}, batch_size=12, verbose=0, return_dict=True)
    assert abs(found["loss"] - losses.mean()) < 1e-4
    assert abs(found["presence_accuracy"] - np.mean((wanted[:, :2] > 0) == known)) < 1e-5

    frozen = state(lanes.model)
    lanes.compile(keras.optimizers.Adam(0.03))
    history = lanes.fit({"images": IMAGES, "labels": labels}, batch_size=6, epochs=6, verbose=0).history["loss"]
    first = logits_of(lanes)
    assert history[-1] < history[0] and np.abs(first[:, :2] - logits[:, :2]).max() > 0.1
    assert np.array_equal(first[:, 2:], logits[:, 2:])
    lanes.begin_task("others").compile(keras.optimizers.Adam(0.03))
    assert np.array_equal(numpy(lanes.lanes[1].selectors), numpy(lanes.lanes[0].selectors))
    before = logits_of(lanes)
    single = {"images": IMAGES, "labels": LABELS + 2}
    history = lanes.fit(single, batch_size=6, epochs=6, verbose=0).history["loss"]
    second = logits_of(lanes)
    assert history[-1] < history[0] and np.abs(second[:, 2:] - before[:, 2:]).max() > 0.1
    assert np.array_equal(second[:, :2], first[:, :2])
    assert all(np.array_equal(each, frozen[path]) for path, each in state(lanes.model).items())

    lanes.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits_of(again), second, atol=1e-5)
    assert {each.path.split("/")[0] for each in again.trainable_variables} == {"lane_1"}
    again.fit(single, batch_size=6, verbose=0)


@pytest.mark.once
def test_what_is_wrong_is_said(model):
    lanes = MultiLane(model, ["circle", "square"], prompted_blocks=1, **SIZES)
    lanes.compile(keras.optimizers.SGD(0.0))
    for labels, sentence in (
        (PRESENT, r"shape \(12, 5\), but \(batch,\) or \(batch, 2\)"),
        (PRESENT[:, :2] * 3, "1, 0, or -1 where nobody looked"),
        (LABELS, "labels are from 0 to 2, but 0 to 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            lanes.fit({"images": IMAGES, "labels": labels}, verbose=0)
    pooled = kzoo.encoders.VisionTransformer(16, 8, 24, 1, 2, embed_dim=12, class_token=False, pool="average")
    pooled = DualEncoder(pooled, model.text_encoder, preprocessor=model.preprocessor)
    for make, sentence in (
        (lambda: MultiLane(pooled, ["a", "b"]), "has no class token that goes through its blocks"),
        (lambda: MultiLane(model, ["a", "b"], prompted_blocks=3), "prompted_blocks is 3, but the tower has 2"),
        (lambda: lanes.begin_task("birds"), "task is 'birds', but the model has 'all'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
    for call in (lanes.bake, lambda: lanes.encode_image(IMAGES), lambda: lanes.export("nowhere")):
        with pytest.raises(NotImplementedError, match="a pathway through the image tower for each task"):
            call()
