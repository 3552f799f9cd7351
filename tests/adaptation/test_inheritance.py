"""Weights that a student takes over: slices of the teacher's, the same function where nothing is lost, refusals."""

import numpy as np
import pytest
from shared_case import batch_of, fill, numpy, tiny_model

import kzoo
from kzoo.adaptation import inherit_weights
from kzoo.adaptation.distillation.inheritance import _layers
from kzoo.layers import Projector
from kzoo.paths import parameters

ONCE = pytest.mark.once
PAIR = ("image_embeddings", "text_embeddings")


def filled(**options):
    model = tiny_model(**options)
    fill(model.image_encoder)
    fill(model.text_encoder, seed=1)
    return model


def weights(model):
    return {each.path: numpy(each.variable) for each in parameters(model)}


def test_a_student_of_the_same_form_is_the_teacher_and_one_of_half_the_depth_begins_with_its_blocks():
    teacher, same, half = filled(depth=2), tiny_model(depth=2), tiny_model(depth=1)
    batch = batch_of(teacher, 6)
    assert inherit_weights(same, teacher)["share"] == 1.0
    for name in PAIR:
        np.testing.assert_allclose(numpy(same(batch)[name]), numpy(teacher(batch)[name]), atol=1e-6)
    found = inherit_weights(half, teacher)
    assert found["image"]["layers"] == found["text"]["layers"] == [0] and found["share"] < 1.0
    np.testing.assert_array_equal(
        numpy(half.image_encoder.blocks[0].mlp_up.kernel), numpy(teacher.image_encoder.blocks[0].mlp_up.kernel)
    )


@ONCE
def test_each_weight_is_a_slice_with_the_same_channels_everywhere():
    teacher, student = filled(depth=2, width=48, num_heads=4, embed_dim=16), tiny_model(depth=1, mlp_dim=32)
    found = inherit_weights(student, teacher, layers={"image": [1], "text": [0]})
    assert found["image"]["layers"] == [1] and found["text"]["layers"] == [0]
    own, theirs = weights(student), weights(teacher)
    for path, axes in (("query.kernel", (24, 24)), ("query.bias", (24,)), ("out.kernel", (24, 24))):
        expected = theirs[f"image_encoder.blocks.1.attention.{path}"][tuple(slice(side) for side in axes)]
        np.testing.assert_array_equal(own[f"image_encoder.blocks.0.attention.{path}"], expected)
    np.testing.assert_array_equal(own["text_encoder.token_embedding"], theirs["text_encoder.token_embedding"][:, :24])
    expected = theirs["text_encoder.blocks.0.mlp_up.kernel"][:24, :32]
    np.testing.assert_array_equal(own["text_encoder.blocks.0.mlp_up.kernel"], expected)
    np.testing.assert_array_equal(
        own["text_encoder.projection.kernel"], theirs["text_encoder.projection.kernel"][:24, :12]
    )

    found = inherit_weights(student, teacher, layers="magnitude", channels="magnitude")
    theirs, width = weights(teacher), found["image"]["width"]
    assert width.tolist() == sorted(set(width.tolist())) and width.tolist() != list(range(24))
    np.testing.assert_array_equal(
        weights(student)["image_encoder.embedding.kernel"], theirs["image_encoder.embedding.kernel"][..., width]
    )


@ONCE
def test_heads_neurons_and_blocks_that_do_nothing_are_those_that_go():
    small = filled(depth=1)
    large = tiny_model(depth=2, mlp_dim=128)
    batch, random = batch_of(small, 5), np.random.default_rng(0)
    for name in ("image_encoder", "text_encoder"):
        inner, outer = getattr(small, name), getattr(large, name)
        for path, value in weights(inner).items():
            if not path.startswith("blocks"):
                next(each for each in parameters(outer) if each.path == path).variable.assign(value)
        at, real = 1, np.sort(random.permutation(128)[:96])  # the second block, and neurons here and there
        for path, value in weights(inner.blocks[0]).items():
            variable = next(each for each in parameters(outer.blocks[at]) if each.path == path).variable
            wide = np.zeros(variable.shape, "float32")
            where = tuple(real if side == 128 else np.arange(side) for side in wide.shape)
            wide[np.ix_(*where)] = value
            variable.assign(wide)
        for path in ("attention.out", "mlp_down"):
            layer = outer.blocks[0]
            for step in path.split("."):
                layer = getattr(layer, step)
            layer.kernel.assign(np.zeros(layer.kernel.shape))
            layer.bias.assign(np.zeros(layer.bias.shape))
    for name in PAIR:
        np.testing.assert_allclose(numpy(large(batch)[name]), numpy(small(batch)[name]), atol=1e-5)
    student = tiny_model(depth=1)
    assert inherit_weights(student, large, layers="magnitude", channels="magnitude")["text"]["layers"] == [1]
    for name in PAIR:
        np.testing.assert_allclose(numpy(student(batch)[name]), numpy(small(batch)[name]), atol=1e-5)


@ONCE
def test_other_forms_of_models_and_what_is_left_as_it_was():
    teacher, student = filled(depth=2), tiny_model(depth=1)
    several = [
        kzoo.MultiEncoder({"text": each.text_encoder, "view": each.image_encoder}) for each in (student, teacher)
    ]
    assert inherit_weights(*several, layers={"view": [1]})["view"]["layers"] == [1]
    single = [
        kzoo.SelfSupervised(each.text_encoder, Projector((8, side))) for each, side in ((student, 4), (teacher, 6))
    ]
    found = inherit_weights(*single)
    assert found["view"]["layers"] == [0] and found["left"] and all("projector" in each for each in found["left"])
    with pytest.raises(NotImplementedError, match="decoder"):
        inherit_weights(*[kzoo.from_preset("coca_nano", load_weights=False)] * 2)


@ONCE
@pytest.mark.parametrize("blocks, count, expected", [(2, 4, [0, 2]), (4, 12, [0, 3, 6, 9]), (3, 4, [0, 1, 2])])
def test_uniform_blocks_are_every_nth(blocks, count, expected):
    assert _layers("uniform", "image", blocks, count, {}) == expected


@ONCE
def test_what_cannot_be_inherited_changes_nothing():
    teacher = filled(depth=2)
    resnet = kzoo.encoders.ResNet(image_size=32, depths=(1, 1, 1, 1), width=8, embed_dim=12)
    refused = [
        (ValueError, "3 blocks and the teacher's 2", tiny_model(depth=3), {}),
        (ValueError, "width=48, more than", tiny_model(width=48, num_heads=4), {}),
        (ValueError, "num_heads = width / 12", tiny_model(num_heads=1), {}),
        (ValueError, "has activation='quick_gelu'", tiny_model(activation="quick_gelu"), {}),
        (ValueError, "has image_size", tiny_model(image_size=24), {}),
        (ValueError, "give 1 numbers of the teacher's 2", tiny_model(depth=1), {"layers": {"image": [2]}}),
        (ValueError, "layers names 'audio'", tiny_model(depth=1), {"layers": {"audio": [0]}}),
        (ValueError, "neurons and the teacher", tiny_model(mlp_dim=200), {}),
        (NotImplementedError, "a ResNet and a", kzoo.DualEncoder(resnet, teacher.text_encoder), {}),
    ]
    for error, sentence, student, options in refused:
        before = student.get_weights()
        with pytest.raises(error, match=sentence) as caught:
            inherit_weights(student, teacher, **options)
        assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith("."), caught.value
        assert all(np.array_equal(old, new) for old, new in zip(before, student.get_weights()))
