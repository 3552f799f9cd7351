"""Checkpoints at another image size and context length: tables resampled as open_clip resamples them with torch."""

import numpy as np
import pytest
import torch
from shared_case import TESTS, numpy, toy_pairs

import kzoo
from kzoo.weights.positions import resize_grid, resize_sequence

FIXTURE = TESTS / "fixtures" / "oc_clip_vit_tiny"


def tables(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("grid, new", [((7, 7), (14, 14)), ((14, 14), (7, 7)), ((24, 24), (23, 27)), ((3, 4), (9, 2))])
def test_grids_equal_torch(grid, new):
    table = tables(1 + grid[0] * grid[1], 8)
    square = torch.tensor(table[1:]).reshape(1, *grid, 8).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(square, size=new, mode="bicubic", antialias=True, align_corners=False)
    got = resize_grid(table, grid, new)
    np.testing.assert_allclose(got[1:], expected.permute(0, 2, 3, 1).reshape(-1, 8).numpy(), atol=1e-5)
    assert np.array_equal(got[0], table[0]) and got.dtype == np.float32
    assert resize_grid(table, grid, grid) is table


@pytest.mark.parametrize("old, new", [(77, 100), (77, 32), (16, 17), (5, 64)])
def test_sequences_equal_torch(old, new):
    table = tables(old, 8)
    expected = torch.nn.functional.interpolate(torch.tensor(table).T[None], size=new, mode="linear")[0].T
    np.testing.assert_allclose(resize_sequence(table, new), expected.numpy(), atol=1e-5)
    assert resize_sequence(table, old) is table


def test_a_checkpoint_at_another_size():
    stored = kzoo.from_preset(FIXTURE)
    model = kzoo.from_preset(FIXTURE, image_size=(48, 40), context_length=24)
    assert model.image_encoder.image_size == model.preprocessor.images.image_size == (48, 40)
    assert model.image_encoder.embedding.grid == (6, 5) and model.text_encoder.context_length == 24
    table = numpy(stored.image_encoder.embedding.position_embedding)
    expected = resize_grid(table, (4, 4), (6, 5))
    np.testing.assert_array_equal(numpy(model.image_encoder.embedding.position_embedding), expected)
    words = numpy(stored.text_encoder.position_embedding)
    np.testing.assert_array_equal(numpy(model.text_encoder.position_embedding), resize_sequence(words, 24))
    assert model.encode_image(toy_pairs(2)["images"]).shape == (2, 24)
    for one, other in zip(model.image_encoder.blocks[1].weights, stored.image_encoder.blocks[1].weights):
        assert np.array_equal(numpy(one), numpy(other))


def test_the_same_size_changes_nothing():
    stored, same = kzoo.from_preset(FIXTURE), kzoo.from_preset(FIXTURE, image_size=32, context_length=16)
    for one, other in zip(same.weights, stored.weights, strict=True):
        assert np.array_equal(numpy(one), numpy(other))


def test_a_model_of_kzoo_at_another_size(tmp_path, model):
    model.save_to_preset(tmp_path)
    wide = kzoo.from_preset(tmp_path, image_size=(16, 32), context_length=14)
    assert wide.encode_image(toy_pairs(3)["images"]).shape == (3, 12)
    assert wide.preprocessor(texts=["a red circle"])["token_ids"].shape == (1, 14)
    assert wide.encode_text(["a red circle"]).shape == (1, 12)
    wide.save_to_preset(tmp_path / "wide")
    again = kzoo.from_preset(tmp_path / "wide")
    assert np.array_equal(again.encode_text(["a red circle"]), wide.encode_text(["a red circle"]))


def test_a_size_without_a_patch():
    with pytest.raises(ValueError, match="holds no patch of 8 x 8 pixels"):
        kzoo.from_preset(FIXTURE, image_size=4)
