"""ConvNeXt and Swin: maps of stages, sizes, projections, refusals, half precision, training."""

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.encoders import ConvNeXt, SwinTransformer, TextTransformer
from kzoo.encoders.stages import of_stages
from kzoo.layers import SimilarityHead
from kzoo.models import DualEncoder

random = np.random.default_rng(0)


def convnext(**options):
    return ConvNeXt(**{"image_size": (32, 48), "depths": (1, 1), "widths": (4, 8), "embed_dim": 6} | options)


def swin(**options):
    sizes = {"image_size": (40, 36), "depths": (1, 2), "width": 4, "num_heads": (1, 2), "window_size": 4}
    return SwinTransformer(**sizes | {"embed_dim": 6} | options)


@pytest.mark.once
@pytest.mark.parametrize(
    "tower, grid",
    [
        (lambda: convnext(), (4, 6)),
        (lambda: convnext(image_size=(35, 55), patch_size=3, kernel_sizes=(3, 5)), (5, 9)),
        (lambda: convnext(patch_size=2), (4, 6)),  # both stages halve the map
        (lambda: swin(), (5, 5)),  # 10 x 9 patches
        (lambda: swin(image_size=(41, 35), window_size=(4, 3)), (5, 4)),
    ],
    ids=["convnext", "remainders", "small stem", "swin", "windows by stage"],
)
def test_the_map_of_the_last_stage(tower, grid):
    tower = tower()
    outputs = tower(tower.samples(2)["images"])
    assert tuple(tower.grid) == grid and tower.token_dim == 8
    assert outputs["tokens"].shape == (2, grid[0] * grid[1], 8) and outputs["embedding"].shape == (2, 6)


@pytest.mark.once
@pytest.mark.parametrize("tower", [convnext, swin])
def test_projections(tower):
    names = [weight.path.partition("/projection")[2] for weight in tower(hidden_dim=10).weights]
    kernels = ["/hidden/kernel", "/hidden/bias", "/final/kernel"]
    assert [name for name in names if name] == kernels  # the last layer has no bias, the first one has
    assert [weight.shape[-1] for weight in tower(hidden_dim=10, projection_bias=True).weights[-2:]] == [6, 6]
    bare = tower(embed_dim=None)
    assert bare.projection is None and bare.embed_dim == bare.token_dim == 8


@pytest.mark.once
def test_what_is_pooled():
    images = random.integers(0, 256, (2, 32, 48, 3), "uint8")
    tower = convnext(embed_dim=None)
    outputs = {name: numpy(value) for name, value in tower(images).items()}
    mean = outputs["tokens"].mean(axis=1)
    normed = (mean - mean.mean(-1, keepdims=True)) / np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(outputs["embedding"], normed, atol=1e-4)
    tower = swin(embed_dim=None)
    outputs = {name: numpy(value) for name, value in tower(tower.samples(2)["images"]).items()}
    np.testing.assert_allclose(outputs["embedding"], outputs["tokens"].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("tower", [convnext, swin])
def test_pictures_of_another_size(tower):
    keras.utils.set_random_seed(0)
    small, large = tower(image_size=48), tower(image_size=64)  # all maps of Swin are larger than its windows
    for one, other in zip(large.weights, small.weights, strict=True):
        one.assign(other)
    images = random.integers(0, 256, (1, 64, 64, 3), "uint8")
    expected = numpy(large(images)["embedding"])
    np.testing.assert_allclose(numpy(small(images, any_size=True)["embedding"]), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"this model takes \(batch, 48, 48, 3\)"):
        small(images)


@pytest.mark.once
@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: convnext(widths=(4, 8, 16)), "widths has 3 values, but depths has 2 stages; give one for each stage"),
        (lambda: convnext(kernel_sizes=(3, 4)), "a depthwise kernel of 4 has no middle; choose an odd size"),
        (lambda: convnext(kernel_sizes=0), "kernel_sizes is 0; give a whole number of at least 1, or one for each"),
        (lambda: convnext(image_size=7), r"image_size \(7, 7\) holds no patch of 8 x 8 pixels"),
        (lambda: convnext(layer_scale=float("nan")), "layer_scale is nan; give a finite number, or None"),
        (lambda: swin(num_heads=(1, 3)), "num_heads=3 does not divide width=8"),
        (lambda: swin(num_heads=(1,)), "num_heads has 1 values, but depths has 2 stages"),
        (lambda: swin(window_size=(4, 4, 4)), "window_size has 3 values, but depths has 2 stages"),
        (lambda: swin(image_size=3), r"image_size \(3, 3\) holds no patch of 4 x 4 pixels"),
        (lambda: swin(mlp_ratio=0), "mlp_ratio is 0; give a positive number"),
    ],
)
def test_towers_that_cannot_be(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


@pytest.mark.once
def test_one_value_for_each_stage():
    assert of_stages("x", 7, (1, 1)) == (7, 7) and of_stages("x", [3, 5], (1, 1)) == (3, 5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("tower", [convnext, swin])
def test_half_precision(tower, policy):
    keras.utils.set_random_seed(0)
    whole = tower()
    half = tower(dtype=policy)
    for one, other in zip(half.weights, whole.weights, strict=True):
        one.assign(other)
    images = whole.samples(2)["images"]
    got, expected = (numpy(keras.ops.cast(each(images)["embedding"], "float32")) for each in (half, whole))
    assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("tower", [convnext, swin])
def test_two_steps_of_training_reach_every_weight(tower):
    keras.utils.set_random_seed(0)
    image = tower(name="image_encoder")
    text = TextTransformer(50, 8, 16, 1, 2, eot_id=3, embed_dim=6, name="text_encoder")
    model = DualEncoder(image, text, SimilarityHead(name="similarity"))
    model.compile("adam")
    before = [numpy(weight).copy() for weight in image.trainable_weights]
    batch = image.samples(4) | text.samples(4)
    history = model.fit(batch, batch_size=4, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    still = [weight.path for weight, old in zip(image.trainable_weights, before) if np.array_equal(numpy(weight), old)]
    assert not still
