"""Automatic inheritance: gates that are learned, what they shut, and what a student takes over by them."""

import numpy as np
import pytest
from shared_case import batch_of, fill, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import inherit_weights, learn_masks
from kzoo.adaptation.distillation.hard_concrete import drawn, open_share, settled
from kzoo.adaptation.distillation.masked import Masked
from kzoo.paths import parameters

PAIR = ("image_embeddings", "text_embeddings")
HALF = {"heads": 1, "neurons": 48, "layers": 1}


@pytest.fixture
def teacher():
    model = tiny_model(depth=2)
    fill(model.image_encoder)
    fill(model.text_encoder, seed=1)
    return model


def weight(model, path):
    return next(each.variable for each in parameters(model) if each.path == path)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.once
def test_gates_are_those_of_the_hard_concrete_distribution():
    a, u = np.array([-3.0, -0.5, 0.0, 0.7, 4.0], "float32"), np.array([0.9, 0.3, 0.5, 0.8, 0.1], "float32")
    wanted = np.clip(1.2 * sigmoid((np.log(u / (1 - u)) + a) * 1.5) - 0.1, 0.0, 1.0)
    np.testing.assert_allclose(numpy(drawn(a, u)), wanted, atol=1e-6)
    np.testing.assert_allclose(numpy(settled(a)), np.clip(1.2 * sigmoid(1.5 * a) - 0.1, 0.0, 1.0), atol=1e-6)
    random = np.random.default_rng(0).random((20000, 1)).astype("float32")
    np.testing.assert_allclose(numpy(open_share(a)), (numpy(drawn(a[None], random)) > 0).mean(axis=0), atol=0.02)


def test_open_gates_change_nothing_and_shut_ones_take_out_what_they_stand_for(teacher):
    masked = Masked(teacher, {"image": HALF, "text": HALF}, 1, 0)
    batch = batch_of(teacher, 5)
    whole = {name: numpy(each) for name, each in teacher(batch).items()}
    for gates in masked.gates.values():
        for each in gates.log_alpha.values():
            each.assign(np.full(each.shape, 20.0))

    def found():
        each = [masked.gates[name].embedded([batch[own.name] for own in tower.inputs], False) for name, tower in towers]
        return [numpy(rows) / np.linalg.norm(numpy(rows), axis=-1, keepdims=True) for rows in each]

    towers = list(teacher.modalities().items())
    for own, name in zip(found(), PAIR):
        np.testing.assert_allclose(own, whole[name], atol=1e-5)
    width = teacher.image_encoder.width // teacher.image_encoder.blocks[0].attention.num_heads
    for name, tower in towers:
        gates = masked.gates[name].log_alpha
        shut = {kind: np.full(each.shape, 20.0) for kind, each in gates.items()}
        shut["heads"][0, 1] = shut["neurons"][0, 5:9] = shut["layers"][1] = -20.0
        for kind, each in gates.items():
            each.assign(shut[kind])
        for path, rows in (
            ("blocks.0.attention.out.kernel", slice(width, 2 * width)),
            ("blocks.0.mlp_down.kernel", slice(5, 9)),
            *(
                (f"blocks.1.{each}.{end}", slice(None))
                for each in ("attention.out", "mlp_down")
                for end in ("kernel", "bias")
            ),
        ):
            array = numpy(weight(tower, path)).copy()
            array[rows] = 0.0
            weight(tower, path).assign(array)
    pruned = teacher(batch)
    for own, name in zip(found(), PAIR):
        np.testing.assert_allclose(own, numpy(pruned[name]), atol=1e-5)
        assert np.abs(own - whole[name]).max() > 1e-3


@pytest.mark.once
def test_what_does_nothing_is_learned_to_be_left_out(teacher):
    dead = {"neurons": np.arange(96) % 2 == 1, "layers": np.array([True, False])}
    for tower in (teacher.image_encoder, teacher.text_encoder):
        down = numpy(weight(tower, "blocks.1.mlp_down.kernel")).copy()
        down[dead["neurons"]] = 0.0
        weight(tower, "blocks.1.mlp_down.kernel").assign(down)
        for each in ("attention.out", "mlp_down"):
            for end in ("kernel", "bias"):
                own = weight(tower, f"blocks.0.{each}.{end}")
                own.assign(np.zeros(own.shape))
    for each in teacher.similarity.trainable_variables:
        each.assign(np.full(each.shape, np.log(60.0)))  # so that what is missed counts
    student = tiny_model(depth=1, mlp_dim=48)
    before = [numpy(each).copy() for each in teacher.weights]
    data = kzoo.data.pairs(toy_pairs(24), teacher.preprocessor, batch_size=12)
    masks = learn_masks(student, teacher, data, epochs=20)
    assert all(np.array_equal(numpy(each), old) for each, old in zip(teacher.weights, before, strict=True))
    for modality in ("image", "text"):
        own = masks[modality]
        assert {kind: each.shape for kind, each in own.items()} == {"neurons": (2, 96), "layers": (2,)}
        assert own["layers"][0] < own["layers"][1]
        assert own["neurons"][1][dead["neurons"]].mean() < own["neurons"][1][~dead["neurons"]].mean()
    assert inherit_weights(student, teacher, masks=masks)["image"]["layers"] == [1]
    exact = {"neurons": np.where(dead["neurons"], 0.0, 1.0)[None].repeat(2, axis=0), "layers": np.array([0.1, 0.9])}
    inherit_weights(student, teacher, masks={"image": exact, "text": exact})
    batch = batch_of(teacher, 5)
    for name in PAIR:
        np.testing.assert_allclose(numpy(student(batch)[name]), numpy(teacher(batch)[name]), atol=1e-5)
    with pytest.raises(ValueError, match=r"'layers' of masks of the image tower have the shape \(3,\)"):
        inherit_weights(student, teacher, masks={"image": {"layers": np.ones(3)}})
