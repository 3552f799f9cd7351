"""What makes and places the tokens of a ViT beside a projection and a table: each against loops."""

import numpy as np
import pytest
from shared_case import fill, numpy

from kzoo.encoders import VisionTransformer
from kzoo.layers.relative_positions import RelativePositions, relative_offsets
from kzoo.layers.stems import ConvolutionStem, MBConvStem, mean_of_windows

random = np.random.default_rng(0)
SMALL = {"width": 16, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 5), (6, 3)])
def test_the_mean_of_a_window_leaves_the_frame_out(rows, columns):
    x = random.normal(size=(2, rows, columns, 3)).astype("float32")
    got = numpy(mean_of_windows(x))
    assert got.shape == (2, -(-rows // 2), -(-columns // 2), 3)
    for i in range(got.shape[1]):
        for j in range(got.shape[2]):
            window = x[:, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
            np.testing.assert_allclose(got[:, i, j], window.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("prefix", [0, 1])
def test_each_pair_of_patches_has_the_bias_of_its_offset(prefix):
    grid, layer = (2, 3), RelativePositions(num_heads=2, hidden_dim=4, prefix_tokens=prefix)
    layer.build((None, 2), (None, None))
    fill(layer)
    got = numpy(layer(*relative_offsets(grid)))
    assert got.shape == (2, 6 + prefix, 6 + prefix)
    assert not prefix or (not got[:, 0].any() and not got[:, :, 0].any())
    places = [(row, column) for row in range(2) for column in range(3)]
    for query, (row, column) in enumerate(places):
        for key, (other_row, other_column) in enumerate(places):
            offset = np.array([row - other_row, column - other_column])
            hidden = np.sign(offset) * np.log(1 + np.abs(offset))
            hidden = np.maximum(hidden @ numpy(layer.mlp_up.kernel) + numpy(layer.mlp_up.bias), 0.0)
            bias = hidden @ numpy(layer.mlp_down.kernel) + numpy(layer.mlp_down.bias)
            np.testing.assert_allclose(got[:, query + prefix, key + prefix], bias, rtol=1e-5, atol=1e-6)


def test_grids_of_stems():
    assert ConvolutionStem(8).grid_of((40, 63)) == (2, 3)  # what is beyond a whole patch is dropped
    assert MBConvStem(8, 4, ((4, 1), (4, 1))).grid_of((40, 65)) == (3, 5)  # and here a part is one more


@pytest.mark.parametrize(
    "options",
    [
        {"stem": "convolutions", "position_prefix": False},
        {"stem": "mbconv", "stem_width": 8, "stem_stages": ((8, 1), (16, 1)), "positions": None},
        {"positions": None, "relative_dim": 4},
    ],
)
def test_pictures_of_another_size(options):
    tower, small = (VisionTransformer(size, 16, **options, **SMALL) for size in ((32, 48), (48, 32)))
    images = random.integers(0, 256, (2, 48, 32, 3), dtype="uint8")
    fill(tower)
    for new, old in zip(small.weights, tower.weights, strict=True):
        new.assign(old)
    if "stem" in options and options.get("positions", True):
        table = numpy(tower.embedding.position_embedding).reshape(2, 3, 16)
        small.embedding.position_embedding.assign(np.zeros((6, 16)))
        tower.embedding.position_embedding.assign(np.zeros_like(table).reshape(6, 16))
    got, expected = tower(images, any_size=True), small(images)
    for name in ("embedding", "tokens"):
        np.testing.assert_allclose(numpy(got[name]), numpy(expected[name]), atol=1e-5)


def test_relative_positions_take_no_kept_patches_and_no_prompts():
    tower = VisionTransformer(32, 16, positions=None, relative_dim=4, **SMALL)
    images = tower.samples(1)["images"]
    assert not {"keep", "prompts"} & tower.options and "mask" not in tower.options
    for options in ({"keep": np.array([[0, 2]])}, {"prompts": {0: np.zeros((1, 16), "float32")}}):
        with pytest.raises(ValueError, match="places its tokens by how far apart they are, and takes no keep and no"):
            tower(images, **options)


def test_a_stem_says_what_it_leaves():
    with pytest.raises(ValueError, match="patch_size=8 does not go with stem='convolutions', which leaves a token for"):
        VisionTransformer(32, 8, stem="convolutions", **SMALL)
    with pytest.raises(ValueError, match=r"stages are \(\); give the channels and blocks of two"):
        VisionTransformer(32, 16, stem="mbconv", **SMALL)
    with pytest.raises(
        ValueError, match="stem 'conv' is unknown; choose one of convolutions, padded_convolutions, mbconv"
    ):
        VisionTransformer(32, 16, stem="conv", **SMALL)


def test_statistics_of_a_stem_are_learned_in_training_alone():
    tower = VisionTransformer(32, 16, stem="convolutions", mask_token=True, **SMALL)
    images, norm = tower.samples(2)["images"], tower.embedding.stem.convolutions[0].norm
    mask = np.zeros((2, 4), bool)
    for options, moves in (({}, False), ({"training": True}, True), ({"training": True, "mask": mask}, True)):
        before = numpy(norm.moving_mean)
        tower(images, **options)
        assert np.array_equal(before, numpy(norm.moving_mean)) != moves
