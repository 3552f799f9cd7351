"""FastViT: branches that merge into one convolution, what timm may say of it, training, and what leaves."""

import collections

import keras
import numpy as np
import onnx
import pytest
from keras import ops
from shared_case import TESTS, numpy

import kzoo
from kzoo.encoders import FastViT, TextTransformer
from kzoo.layers.branches import BranchedConv, ConditionalPositions, RepMixer
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.training import EMATeacher
from kzoo.weights.fields import Fields
from kzoo.weights.mapping import grouped
from kzoo.weights.trunks import fastvit

STAGES = {
    "depths": (1, 1, 1),
    "widths": (8, 16, 32),
    "mlp_ratios": (2, 1.5, 1),
    "mixers": ("repmixer", "repmixer", "attention"),
    "positions_before": (True, False, True),
    "downsamples": (False, True, True),
    "squeezes": (False, True, False),
}
random = np.random.default_rng(0)


def trained(layer):
    """Give every weight other numbers, and batch norms statistics as of a training."""
    for weight in layer.weights:
        drawn = random.normal(0.0, 1.5 * np.prod(weight.shape[:-1]) ** -0.5, weight.shape)
        if weight.name in ("gamma", "moving_variance", "gain"):
            drawn = random.uniform(0.5, 1.5, weight.shape)
        weight.assign(drawn.astype("float32"))
    return layer


def tower(**options):
    return FastViT((48, 64), **STAGES | options)


@pytest.mark.parametrize(
    "make, channels",
    [
        (lambda merged: BranchedConv(6, (3, 1), 2, squeeze=3, activation="gelu", merged=merged), 3),
        (lambda merged: BranchedConv(6, (1,), identity=True, merged=merged), 6),
        (lambda merged: BranchedConv(12, (7, 3), 2, multiplier=3, merged=merged), 4),
        (lambda merged: BranchedConv(4, (3, 1), multiplier=1, identity=True, merged=merged), 4),
        (lambda merged: RepMixer(5, merged=merged), 4),
        (lambda merged: RepMixer(1, layer_scale=None, merged=merged), 4),
        (lambda merged: ConditionalPositions(merged=merged), 4),
    ],
)
def test_one_convolution_gives_the_sum_of_the_branches(make, channels):
    layer, one = make(merged=False), make(merged=True)
    x = random.normal(size=(2, 9, 11, channels)).astype("float32")
    layer.build(x.shape)
    one.build(x.shape)
    one.take_merged(trained(layer))
    kernels = [weight for weight in one.weights if "kernel" in weight.name and "gate" not in weight.path]
    assert len(kernels) == 1 and not any("moving" in weight.path for weight in one.weights)
    np.testing.assert_allclose(numpy(one(x)), numpy(layer(x, training=False)), atol=2e-5)


@pytest.mark.parametrize(
    "options", [{}, {"norm": "layer", "stem_branches": False, "expansion": 1.0, "layer_scale": None}]
)
def test_a_merged_tower_gives_the_same_on_any_size(options):
    own = trained(tower(embed_dim=5, hidden_dim=7, **options))
    before = [numpy(weight) for weight in own.weights]
    merged = own.for_export()
    assert merged.merged and not own.merged and merged.for_export() is merged
    assert len(merged.weights) < len(own.weights) / 2
    images = random.integers(0, 256, (2, 30, 52, 3), dtype="uint8")
    for name, got in merged(images, any_size=True).items():
        expected = numpy(own(images, any_size=True)[name])
        np.testing.assert_allclose(numpy(got), expected, atol=1e-5 * max(1.0, np.abs(expected).max()), err_msg=name)
    assert all(np.array_equal(old, numpy(new)) for old, new in zip(before, own.weights, strict=True))


@pytest.mark.one_other("jax")
def test_an_export_holds_one_convolution_for_each_sum_with_lora_merged(tmp_path):
    encoder = trained(tower(embed_dim=12, name="image_encoder"))
    for layer in (encoder.stages[2].blocks[0].attention.query, encoder.stages[0].blocks[0].mlp.up):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(random.normal(size=layer.lora_kernel_b.shape).astype("float32"))
    loss = [{"loss": "NTXent", "inputs": ["view_1", "teacher_view_2"]}]
    model = kzoo.SelfSupervised(
        encoder, teacher=EMATeacher(0.99), loss=loss, preprocessor=Preprocessor(ImageSteps((48, 64))), name="student"
    )
    before = [numpy(weight) for weight in model.weights]
    manifest = model.export(tmp_path / "onnx")
    assert max(*manifest["worst_difference"].values(), *manifest["asked"].values()) < 1e-5
    assert all(np.array_equal(old, numpy(new)) for old, new in zip(before, model.weights, strict=True))
    assert not model.encoder.merged and model.teacher is not None
    nodes = collections.Counter(node.op_type for node in onnx.load(tmp_path / "onnx" / "image_encoder.onnx").graph.node)
    # of the stem, before two stages, of two mixers, before each MLP, for positions, and the last
    assert nodes["Conv"] == 3 + 2 * 2 + 2 + 3 + 2 + 1


@pytest.mark.one_other("tensorflow")  # where kernels of one pixel that stride once destroyed memory
@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.once)])
def test_two_steps_train_the_branches_and_move_the_statistics(dtype):
    keras.utils.set_random_seed(0)
    images = random.integers(0, 256, (8, 48, 64, 3), dtype="uint8")
    small = {"depths": (1, 1), "widths": (8, 32), "mlp_ratios": (1, 1), "mixers": ("repmixer", "attention")}
    small |= dict.fromkeys(("positions_before", "downsamples", "squeezes"), (False, True))
    image = FastViT((48, 64), **small, embed_dim=12, name="image_encoder", dtype=dtype)
    text = TextTransformer(40, 4, width=8, depth=1, num_heads=1, embed_dim=12, pool="last", name="text_encoder")
    model = kzoo.DualEncoder(image, text)
    model.compile(keras.optimizers.Adam(0.01))
    before = [numpy(weight) for weight in image.weights]
    history = model.fit({"images": images, "token_ids": random.integers(1, 40, (8, 4))}, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert not [weight.path for weight, old in zip(image.weights, before) if np.array_equal(old, numpy(weight))]
    image.trainable = False
    before = [numpy(weight) for weight in image.weights]
    trained, asked = (numpy(image(images, training=each)["embedding"]) for each in (True, False))
    np.testing.assert_allclose(trained, asked, rtol=1e-6)
    assert all(np.array_equal(old, numpy(weight)) for weight, old in zip(image.weights, before))


@pytest.mark.once
def test_kernels_of_several_channels_each_lie_as_torch_has_them():
    tensor = random.normal(size=(6, 1, 3, 3)).astype("float32")
    (kernel,) = grouped(3).to_parameters(tensor)
    assert kernel.shape == (3, 3, 2, 3) and np.array_equal(grouped(3).to_tensor([kernel]), tensor)
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False, data_format="channels_last")
    x = random.normal(size=(1, 3, 3, 2)).astype("float32")
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    expected = [(x[0, :, :, out // 3] * tensor[out, 0]).sum() for out in range(6)]
    np.testing.assert_allclose(numpy(layer(ops.convert_to_tensor(x)))[0, 0, 0], expected, rtol=1e-5)


def read(name, **arguments):
    return fastvit.arguments(fastvit.row(name), Fields(arguments, "config.json of it, model_args"))


@pytest.mark.once
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("fastvit_mci1", {}),
        ("fastvit_mci4", {}),
        ("fastvit_mci0", {"layers": [1, 2, 1], "embed_dims": [8, 8, 16], "mlp_ratios": [2, 1.5, 1]}),
        ("fastvit_mci3", {"layers": [1, 1, 1, 1], "embed_dims": [8, 8, 16, 32], "stem_use_scale_branch": True}),
        ("fastvit_mci3", {"token_mixers": ["repmixer"] * 5, "pos_embs": [None] * 5, "cls_ratio": 1.0}),
        ("fastvit_mci0", {"down_patch_size": 5, "down_stride": 1, "repmixer_kernel_size": 5, "lkc_use_act": False}),
        ("fastvit_mci0", {"layer_scale_init_value": None, "se_downsamples": [True, False, False, True]}),
        ("fastvit_mci2", {"downsamples": [True, False, True, True]}),
    ],
)
def test_what_timm_says_of_a_tower_comes_back(name, arguments):
    row = read(name, drop_path_rate=0.1, num_classes=5, **arguments)
    again, said = fastvit.name(row | {"merged": False})
    assert read(again, **said) == row and len(said) <= len(arguments)


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (
            {"norm_layer": "layernorm2d"},
            "says norm_layer='layernorm2d'; this version knows layers, embed_dims",
        ),
        ({"act_layer": "relu"}, "says act_layer='relu'"),
        ({"in_chans": 1}, "says in_chans=1, which this version cannot build"),
        ({"fork_feat": True}, "says fork_feat=True, which"),
        ({"global_pool": "max"}, "says global_pool='max', which"),
        ({"inference_mode": True}, r"says inference_mode=True: its branches are merged \(reparam_conv\)"),
        ({"layers": [1, 1, 1, 1, 1]}, "has 5 layers, but 4 embed_dims; give one for each stage"),
        ({"layers": [1, 1, 1]}, "has 3 layers, but 4 embed_dims"),
        ({"layers": 3}, "says layers=3; a list is expected, one number for each stage"),
        ({"mlp_ratios": [2]}, "has 4 layers, but 1 mlp_ratios"),
        ({"pos_embs": ["x", None, None, None]}, "says pos_embs="),
        ({"downsamples": [0, 1, 1, 1]}, "says downsamples="),
    ],
)
def test_what_timm_may_not_say(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        read("fastvit_mci0", **arguments)


@pytest.mark.once
def test_what_timm_cannot_say():
    row = fastvit.row("fastvit_mci0") | {"merged": False}
    with pytest.raises(ValueError, match="timm has no FastViT with norm='layer' and positions_before=.True, False"):
        fastvit.name(row | {"norm": "layer", "positions_before": (True, False, False, False)})
    with pytest.raises(ValueError, match="its branches are merged; write the model that it was made of"):
        fastvit.name(row | {"merged": True})
    with pytest.raises(ValueError, match=r"holds visual.trunk.stem.0.reparam_conv.weight: .*\(reparam_conv\)"):
        fastvit.FASTVIT.check(["logit_scale", "visual.trunk.stem.0.reparam_conv.weight"])


@pytest.mark.once
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"widths": (8, 12, 32)}, "12 channels cannot be made of 8, as many of each; choose a multiple"),
        ({"widths": (8, 16)}, "depths has 3 stages, but 2 are given of width; give one for each"),
        ({"widths": (8, 16, 48)}, "a stage with attention has 48 channels; give a multiple of 32"),
        (
            {"mixers": ("repmixer", "pooling", "attention")},
            "mixers is .*; give for each stage one of repmixer",
        ),
        ({"mixer_kernel": 4}, "kernel_sizes is .4, 1.; give odd sides of kernels, the largest first"),
        ({"norm": "group"}, "norm 'group' is unknown; choose one of batch, layer"),
        ({"expansion": 0.0}, "expansion is 0.0; give a positive number"),
    ],
)
def test_bad_arguments(options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        tower(**options)


@pytest.mark.once
def test_a_checkpoint_whose_branches_are_merged_is_refused_by_that_word(tmp_path):
    from safetensors.numpy import load_file, save_file

    fixture = TESTS / "fixtures" / "oc_mobileclip_s_tiny"
    for path in fixture.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(fixture / "open_clip_model.safetensors")
    merged = {name.replace("conv_kxk.0.conv", "reparam_conv"): tensor for name, tensor in tensors.items()}
    save_file(merged, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match=r"holds visual\.trunk.*reparam_conv.*: its branches are merged"):
        kzoo.from_preset(tmp_path)
