"""Checkpoints at another image size and context length: tables resampled as open_clip resamples them with torch."""

import json
import shutil

import numpy as np
import pytest
import torch
from shared_case import TESTS, numpy, toy_pairs

import kzoo
from kzoo.layers import PatchEmbedding
from kzoo.layers.positions import resize_grid, resize_sequence
from kzoo.layers.sin_cos import sin_cos_positions

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


@pytest.mark.parametrize(
    "name, size, grids, table",
    [
        ("oc_clip_rn_tiny", (96, 64), ((2, 2), (3, 2)), "attention_pool.position_embedding"),
        ("hf_siglip_tiny", (32, 48), ((4, 4), (4, 6)), "embedding.position_embedding"),
        ("hf_blip_itm_tiny", 40, ((4, 4), (5, 5)), "embedding.position_embedding"),
        ("bv_siglip_stacked", 24, ((4, 4), (3, 3)), "embedding.position_embedding"),
    ],
)
def test_towers_of_other_families_at_another_size(name, size, grids, table):
    folder = TESTS / "fixtures" / name
    stored, model = kzoo.from_preset(folder), kzoo.from_preset(folder, image_size=size)
    layer, attribute = table.split(".")
    old, new = (numpy(getattr(getattr(each.image_encoder, layer), attribute)) for each in (stored, model))
    np.testing.assert_array_equal(new, resize_grid(old, *grids))
    assert model.encode_image(toy_pairs(2)["images"]).shape == (2, model.embed_dim)


def test_towers_without_a_grid_take_any_size():
    align = kzoo.from_preset(TESTS / "fixtures" / "hf_align_tiny", image_size=(97, 81))
    assert align.preprocessor.images.resize_size == (116, 97)  # the crop keeps its share: 78 / 65
    assert align.encode_image(toy_pairs(1)["images"]).shape == (1, 80)
    convnext = kzoo.from_preset(TESTS / "fixtures" / "oc_convnext_tiny", image_size=(96, 70))
    assert convnext.image_encoder.grid == (3, 2) and convnext.encode_image(toy_pairs(1)["images"]).shape == (1, 24)
    with pytest.raises(ValueError, match="takes pictures of any shape, so image_size=64 has no meaning"):
        kzoo.from_preset(TESTS / "fixtures" / "hf_siglip2_naflex_tiny", image_size=64)


def test_windows_of_another_size_are_refused(tmp_path):
    """Swin keeps its windows where every map is larger than they are, and shrinks them elsewhere."""
    folder = TESTS / "fixtures" / "oc_swin_tiny"
    kzoo.from_preset(folder).save_to_preset(tmp_path)
    for each in (folder, tmp_path):
        with pytest.raises(
            ValueError, match=r"stage_3/block_0/attention/position_bias has shape \(25, 4\), but \(9, 4\)"
        ):
            kzoo.from_preset(each, image_size=48)


def test_a_longer_context_for_other_text_towers():
    folder = TESTS / "fixtures"
    coca = kzoo.from_preset(folder / "oc_coca_tiny", context_length=20)
    table = numpy(kzoo.from_preset(folder / "oc_coca_tiny").text_encoder.position_embedding)
    got = numpy(coca.text_encoder.position_embedding)
    np.testing.assert_array_equal(got[:-1], resize_sequence(table[:-1], 20))
    np.testing.assert_array_equal(got[-1], table[-1])  # of the appended token
    bert = kzoo.from_preset(folder / "hf_chinese_clip_tiny", context_length=9)
    assert bert.text_encoder.num_positions == 16 and bert.preprocessor.vocabulary["context_length"] == 9
    with pytest.raises(ValueError, match="context_length is 17, but a table of num_positions=16 has room for 16 ids"):
        kzoo.from_preset(folder / "hf_chinese_clip_tiny", context_length=17)


def test_a_size_that_was_not_asked_for_is_named(tmp_path):
    """A config that says another size than its weights have: the report names both shapes."""
    shutil.copytree(TESTS / "fixtures" / "hf_clip_tiny", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vision_config"]["image_size"] = 48
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"position_embedding.weight is \(17, 48\), which does not make \[\(37, 48\)\]"
    ):
        kzoo.from_preset(tmp_path)
    model = kzoo.from_preset(FIXTURE)
    with pytest.raises(
        ValueError, match=r"images have shape \(1, 48, 48, 3\), but this model takes \(batch, 32, 32, 3\)"
    ):
        model({"images": np.zeros((1, 48, 48, 3), "uint8")})


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


def test_positions_that_stay_as_they_are():
    """Sines of MAE: no trained weight, resampled for a picture of another size as a learned table is."""
    sizes = {"image_size": (8, 12), "patch_size": 4, "width": 8}
    fixed = PatchEmbedding(**sizes, positions="sin_cos")
    fixed.build((None, 8, 12, 3))
    assert not fixed.position_embedding.trainable
    np.testing.assert_array_equal(numpy(fixed.position_embedding), sin_cos_positions((2, 3), 8, prefix=1))
    learned = PatchEmbedding(**sizes)
    learned.build((None, 8, 12, 3))
    for name in ("kernel", "class_embedding", "position_embedding"):
        getattr(learned, name).assign(getattr(fixed, name))
    for images in (tables(2, 8, 12, 3), tables(2, 12, 12, 3)):
        np.testing.assert_array_equal(numpy(fixed(images)), numpy(learned(images)))
    with pytest.raises(ValueError, match="positions 'sincos' is unknown; choose one of learned, sin_cos"):
        PatchEmbedding(**sizes, positions="sincos")
