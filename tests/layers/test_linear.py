"""Products with a matrix and activations, each way that a backend takes them, against float64."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_tensor as as_tensor
from shared_case import numpy, value_and_gradients

from kzoo.keras_contact import outputs_shown
from kzoo.layers.linear import Dense, multiplied
from kzoo.layers.numerics import activation_function, layer_norm, written

# by rows, width and width of the output: few and many, as they are multiplied by one library or another
SHAPES = {"one row": (1, 8, 6), "few": (3, 1280, 1280), "many": (48, 320, 320), "bags": (2, 45, 256, 256)}


@pytest.fixture(params=["GenuineIntel", "AuthenticAMD"] if keras.config.backend() == "torch" else ["any"])
def maker(request, tmp_path, monkeypatch):
    """Who made the processor, by which torch multiplies with one library or another."""
    if keras.config.backend() != "torch":
        yield request.param
        return
    from kzoo.layers import kernels_torch

    (tmp_path / "processors").write_text(f"vendor_id\t: {request.param}\n")
    monkeypatch.setattr(kernels_torch, "PROCESSORS", tmp_path / "processors")
    kernels_torch.onednn_is_faster.cache_clear()
    yield request.param
    kernels_torch.onednn_is_faster.cache_clear()


def case(shape):
    generator = np.random.default_rng(0)
    *rows, width, units = shape
    sizes = ((*rows, width), (width, units), (units,), (*rows, units))
    return [(generator.normal(size=size) / np.sqrt(width)).astype("float32") for size in sizes]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_product_and_its_gradients(maker, shape, biased):
    x, kernel, bias, weight = case(shape)
    arrays = [x, kernel, bias] if biased else [x, kernel]
    want = x.astype("float64") @ kernel + (bias if biased else 0.0)
    np.testing.assert_allclose(numpy(multiplied(*map(as_tensor, arrays))), want, atol=1e-6)
    _, gradients = value_and_gradients(lambda *each: ops.sum(ops.multiply(multiplied(*each), weight)), arrays)
    rows, up = x.reshape(-1, x.shape[-1]), weight.reshape(-1, weight.shape[-1]).astype("float64")
    for gradient, each in zip(gradients, [weight.astype("float64") @ kernel.T, rows.T @ up, up.sum(0)]):
        np.testing.assert_allclose(gradient, each, atol=2e-6)


@pytest.mark.parametrize("name", ["quick_gelu", "gelu"])
def test_the_slope_of_an_activation(name):
    function, x = activation_function(name), np.linspace(-6.0, 6.0, 101).astype("float32")
    step = 1e-2  # in float32, of the whole curve: a value is within 1e-6
    _, (slope,) = value_and_gradients(lambda x: ops.sum(function(x)), [x])
    want = (numpy(function(as_tensor(x + step))) - numpy(function(as_tensor(x - step)))) / (2.0 * step)
    np.testing.assert_allclose(slope, want, atol=2e-4)
    assert numpy(function(as_tensor(x[:1]))) == pytest.approx(numpy(function(as_tensor(x)))[0])


@pytest.mark.skipif(keras.config.backend() != "torch", reason="elsewhere a part of a matrix is a copy of it")
@pytest.mark.parametrize("which", ["x", "kernel", "both"])
def test_matrices_cut_out_of_wider_ones_are_laid_out_first(maker, which):
    """oneDNN multiplies them as they are by a kernel that takes a thousand times as long."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, given=(), options=None):
            if "_linear_pointwise" in str(operation):
                taken.extend(given[:2])
            return operation(*given, **options or {})

    taken = []
    x, kernel = torch.randn(512, 160)[:, :64], torch.randn(64, 520)[:, 256:512]
    whole = x.contiguous(), kernel.contiguous()
    cut = (x if which != "kernel" else whole[0]), (kernel if which != "x" else whole[1])
    with Products():
        found = multiplied(*cut)
    torch.testing.assert_close(found, multiplied(*whole), rtol=1e-6, atol=1e-5)
    assert len(taken) == (0 if maker == "GenuineIntel" else 2)
    assert all(each.is_contiguous() or each.t().is_contiguous() for each in taken)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="the others derive these themselves")
def test_gradients_of_gradients(maker):
    import torch

    x, kernel, bias, _ = (torch.tensor(each, requires_grad=True) for each in case(SHAPES["many"]))

    def twice(product, activation):
        first = torch.autograd.grad(activation(product(x, kernel, bias)).square().sum(), (x, kernel), create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), (x, kernel, bias))

    ours = twice(multiplied, activation_function("quick_gelu"))
    plain = twice(lambda x, kernel, bias: x @ kernel + bias, lambda x: x * torch.sigmoid(1.702 * x))
    for mine, its in zip(ours, plain):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


def test_what_is_written_at_one_place_of_each_row():
    cache, new = np.arange(48.0, dtype="float32").reshape(2, 2, 4, 3), -np.ones((2, 2, 1, 3), "float32")
    new[:, 1] = -2.0
    at, want = np.eye(4, dtype="bool")[[3, 1]], cache.copy()
    want[0, :, 3] = want[1, :, 1] = new[0, :, 0]
    before = as_tensor(cache)
    np.testing.assert_array_equal(numpy(written(before, as_tensor(new), as_tensor(at))), want)
    np.testing.assert_array_equal(numpy(before), cache)


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "torch", reason="the others compile the whole step")
def test_a_product_that_is_recorded_has_the_same_gradients(maker):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    given = [torch.tensor(each, requires_grad=True) for each in case(SHAPES["many"])[:3]]
    with torch.no_grad():
        recorded = make_fx(multiplied)(*given)
    assert ("kzoo.product" in recorded.code) == (maker != "GenuineIntel")
    ours, plain = (
        torch.autograd.grad(product(*given).square().sum(), given)
        for product in (torch.compile(recorded, backend="aot_eager"), multiplied)
    )
    for mine, its in zip(ours, plain):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "jax", reason="how XLA lays out what jax derives")
def test_the_gradient_of_a_kernel_is_made_as_it_lies_and_an_export_has_no_reshapes():
    import jax
    from jax import export

    x, kernel, _, weight = case(SHAPES["bags"])
    derived = jax.jit(jax.grad(lambda kernel, x, weight: ops.sum(multiplied(x, kernel) * weight)))
    program = derived.lower(kernel, x, weight).compile().as_text()
    assert " copy(" not in program and " transpose(" not in program
    rows = export.symbolic_shape("rows")
    of_rows = jax.ShapeDtypeStruct((*rows, 45, 256), "float32")
    exported = export.export(jax.jit(multiplied))(of_rows, kernel).mlir_module()
    assert "stablehlo.dot_general" in exported and "reshape " not in exported


def test_of_a_quantised_layer_and_one_with_lora():
    x, kernel, bias, _ = case(SHAPES["bags"])
    plain, quantised = Dense(256), Dense(256)
    for layer in (plain, quantised):
        layer.build(x.shape)
        layer.set_weights([kernel, bias])
    quantised.quantize("int8")
    np.testing.assert_allclose(numpy(quantised(x)), numpy(plain(x)), atol=2e-2)
    assert quantised.quantization_mode == "int8"
    plain.enable_lora(2)
    plain.lora_kernel_b.assign(np.ones((2, 256)))
    added = x @ (numpy(plain.lora_kernel_a) @ np.ones((2, 256)))
    np.testing.assert_allclose(numpy(plain(x)), x @ kernel + bias + added, atol=1e-5)


def test_what_watches_a_layer_sees_it():
    layer = Dense(2)
    layer.build((None, 3))
    x = as_tensor(np.ones((4, 3), "float32"))
    seen = []
    with outputs_shown([layer], lambda _, output: seen.append(output.shape)):
        layer(x)
    if keras.config.backend() == "torch":
        layer.register_forward_hook(lambda *_: seen.append("hooked"))
        layer(x)
        assert seen.pop() == "hooked"
    assert [tuple(each) for each in seen] == [(4, 2)]


def test_within_half_precision_a_layer_of_float32_stays_so():
    outer = keras.Sequential([Dense(3, dtype="float32"), Dense(2, dtype="mixed_bfloat16"), layer_norm(1e-5, "norm")])
    x = np.ones((4, 3), "float32")
    outer.build(x.shape)
    first, second, norm = outer.layers
    assert keras.backend.standardize_dtype(first(x).dtype) == "float32"
    assert keras.backend.standardize_dtype(second(first(x)).dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(outer(x).dtype) == "float32" and norm.compute_dtype == "float32"
