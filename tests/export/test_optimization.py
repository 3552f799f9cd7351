"""The optimiser of exported graphs: the same numbers from fewer nodes, and hands off what only looks alike."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kzoo.export.optimization import optimized

pytestmark = pytest.mark.once
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


def made(nodes, weights, shape=("batch", 5, 6), opset=18, dtype=TensorProto.FLOAT):
    """A graph from `x` to `y`; nodes are `(operator, inputs, output, attributes)`."""
    weights = {name: np.asarray(array) for name, array in weights.items()}
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs.split(), [out], **more[0] if more else {})
            for kind, inputs, out, *more in nodes
        ],
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def kinds(proto):
    return Counter(node.op_type for node in proto.graph.node)


def check(nodes, weights, expected, shape=("batch", 5, 6), opset=18, pixels=False):
    """The graph gives the same numbers in batches of two sizes, with the operators that are expected."""
    proto = made(nodes, weights, shape, opset, TensorProto.UINT8 if pixels else TensorProto.FLOAT)
    found = optimized(proto)
    for batch in (1, 3):
        x = RANDOM.integers(0, 256, (batch, *shape[1:])).astype("uint8") if pixels else normal(batch, *shape[1:])
        before, after = run(proto, x), run(found, x)
        assert after.shape == before.shape
        np.testing.assert_allclose(after, before, atol=2e-5 * max(1.0, np.abs(before).max()))
    onnx.checker.check_model(found, full_check=True)
    assert kinds(found) == Counter(expected)
    return found


def written_out(mean=(-1,), scale_shape=(6,), form="jax"):
    """A layer norm as jax2onnx and tf2onnx write it."""
    weights = {"axis": np.array(mean), "epsilon": np.float32(1e-3), "one": np.float32(1)}
    weights |= {"scale": normal(*scale_shape) + 2, "bias": normal(*scale_shape)}
    root = [("Reciprocal", "root", "inverse")] if form == "tf" else [("Div", "one root", "inverse")]
    shift = [("Sub", "bias shifted", "rest")] if form == "tf" else [("Add", "back bias", "rest")]
    nodes = [
        ("ReduceMean", "x axis", "mean"),
        ("Sub", "x mean", "centred"),
        ("Mul", "centred centred", "squares"),
        ("ReduceMean", "squares axis", "variance"),
        ("Add", "variance epsilon", "floored"),
        ("Sqrt", "floored", "root"),
        *root,
        ("Mul", "inverse scale", "m"),
        *([("Mul", "mean m", "shifted")] if form == "tf" else [("Neg", "mean", "less"), ("Mul", "less m", "back")]),
        *shift,
        ("Mul", "x m", "scaled"),
        ("Add", "scaled rest", "y"),
    ]
    return nodes, weights


@pytest.mark.parametrize("form", ["jax", "tf"])
def test_a_norm_that_is_written_out_becomes_one_node(form):
    found = check(*written_out(form=form), {"LayerNormalization": 1})
    assert found.graph.node[0].attribute[1].f == pytest.approx(1e-3)


def test_a_norm_of_channels_that_are_not_last_is_turned():
    check(*written_out((1,), (5, 1)), {"LayerNormalization": 1, "Transpose": 2})


def test_what_only_has_the_outline_of_a_norm_stays():
    nodes, weights = written_out()
    nodes[2] = ("Mul", "x x", "squares")  # from which the mean is not taken
    nodes.pop(1)
    check(nodes, weights, Counter(kind for kind, *_ in nodes))


def test_an_opset_without_the_operator_has_no_norms():
    nodes, weights = written_out()
    nodes = [
        (kind, "x" if kind == "ReduceMean" and "x" in read else read.split()[0], out, {"axes": [-1]})
        if kind == "ReduceMean"
        else (kind, read, out)
        for kind, read, out in nodes
    ]
    del weights["axis"]
    assert "LayerNormalization" not in kinds(optimized(made(nodes, weights, opset=16)))


PICTURES = ("batch", 8, 8, 3)
FIRST, LAST = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
AROUND = {"pads": np.array([0, 1, 1, 0, 0, 1, 1, 0])}


def test_batch_norms_padding_and_scales_go_into_a_convolution():
    nodes = [
        ("Pad", "x pads", "padded"),
        ("Transpose", "padded", "first", FIRST),
        ("Conv", "first kernel", "mixed"),
        ("Transpose", "mixed", "last", LAST),
        ("Sub", "last mean", "centred"),
        ("Mul", "centred scale", "scaled"),
        ("Add", "scaled bias", "normed"),
        ("Div", "normed four", "y"),
    ]
    weights = AROUND | {"kernel": normal(4, 3, 3, 3), "four": np.float32(4)}
    weights |= {name: normal(1, 1, 1, 4) for name in ("mean", "scale", "bias")}
    check(nodes, weights, {"Transpose": 2, "Conv": 1}, PICTURES)


@pytest.mark.parametrize("how", [{"mode": "reflect"}, {"value": np.float32(1)}])
def test_padding_that_is_not_of_zeros_stays(how):
    value = how.pop("value", None)
    nodes = [
        ("Pad", "x pads value" if value is not None else "x pads", "padded", how),
        ("Transpose", "padded", "first", FIRST),
        ("Conv", "first kernel", "y"),
    ]
    weights = AROUND | {"kernel": normal(4, 3, 3, 3)} | ({} if value is None else {"value": value})
    check(nodes, weights, {"Pad": 1, "Transpose": 1, "Conv": 1}, PICTURES)


SCALED = [("Cast", "x", "numbers", {"to": 1}), ("Mul", "numbers scale", "scaled"), ("Add", "scaled shift", "pixels")]
SCALES = {"scale": np.array([0.01, 0.02, 0.03], "float32"), "shift": np.array([-1.5, -2.0, 1.0], "float32")}


def test_the_scale_of_pixels_goes_into_the_product_with_patches_and_their_shift_before_it():
    nodes = [
        *SCALED,
        ("Slice", "pixels starts ends axes", "whole"),
        ("Reshape", "whole grid", "cut"),
        ("Transpose", "cut", "beside", {"perm": [0, 1, 3, 2, 4, 5]}),
        ("Reshape", "beside rows", "patches"),
        ("MatMul", "patches kernel", "tokens"),
        ("Relu", "tokens", "y"),
    ]
    weights = SCALES | {"grid": np.array([-1, 2, 4, 2, 4, 3]), "rows": np.array([-1, 4, 48]), "kernel": normal(48, 5)}
    weights |= {"starts": np.array([0, 0, 0]), "ends": np.array([2**31 - 1, 8, 8]), "axes": np.array([0, 1, 2])}
    expected = {"Cast": 1, "Reshape": 2, "Transpose": 1, "MatMul": 1, "Add": 1, "Relu": 1}
    found = check(nodes, weights, expected, PICTURES, pixels=True)
    assert [node.op_type for node in found.graph.node][:2] == ["Cast", "Add"]


@pytest.mark.parametrize("pads", [[0] * 4, [1] * 4])
def test_the_scale_of_pixels_goes_into_a_convolution(pads):
    nodes = [*SCALED, ("Transpose", "pixels", "first", FIRST), ("Conv", "first kernel", "mixed", {"pads": pads})]
    nodes.append(("Relu", "mixed", "y"))
    weights = SCALES | {"kernel": normal(4, 3, 3, 3)}
    check(nodes, weights, {"Cast": 1, "Add": 1, "Transpose": 1, "Conv": 1, "Relu": 1}, PICTURES, pixels=True)


def test_the_scale_of_a_layer_goes_into_its_product_also_behind_a_reshape():
    nodes = [
        ("Reshape", "x rows", "flat"),
        ("MatMul", "flat kernel", "mixed"),
        ("Reshape", "mixed back", "high"),
        ("Add", "high bias", "biased"),
        ("Mul", "scale biased", "y"),
    ]
    weights = {"rows": np.array([-1, 6]), "back": np.array([-1, 5, 4]), "kernel": normal(6, 4)}
    check(nodes, weights | {"bias": normal(4), "scale": normal(4)}, {"Reshape": 2, "MatMul": 1, "Add": 1})


def test_weights_that_two_nodes_read_stay_one():
    nodes = [
        ("MatMul", "x kernel", "once"),
        ("Mul", "once scale", "scaled"),
        ("MatMul", "scaled kernel", "y"),
    ]
    found = check(nodes, {"kernel": normal(6, 6), "scale": normal(6)}, {"MatMul": 2, "Mul": 1})
    assert sum(each.name == "kernel" for each in found.graph.initializer) == 1


def test_what_else_reads_a_product_keeps_its_numbers():
    nodes = [("MatMul", "x kernel", "mixed"), ("Mul", "mixed scale", "scaled"), ("Sub", "scaled mixed", "y")]
    check(nodes, {"kernel": normal(6, 4), "scale": normal(4)}, {"MatMul": 1, "Mul": 1, "Sub": 1})


def test_keys_are_transposed_once_and_shapes_are_constants():
    nodes = [
        ("Shape", "x", "shape"),
        ("Slice", "shape two four", "sides"),
        ("Concat", "free sides", "flat_shape", {"axis": 0}),
        ("Reshape", "x flat_shape", "flat"),
        ("Transpose", "flat", "turned", {"perm": [0, 2, 1]}),
        ("Slice", "shape zero two", "outer"),
        ("Gather", "sides swapped", "inner"),
        ("Concat", "outer inner", "back", {"axis": 0}),
        ("Reshape", "turned back", "keys"),
        ("MatMul", "x keys", "y"),
    ]
    weights = {"zero": np.array([0]), "two": np.array([2]), "four": np.array([4]), "free": np.array([-1])}
    check(nodes, weights | {"swapped": np.array([1, 0])}, {"Transpose": 1, "MatMul": 1}, ("batch", 2, 5, 4))


def test_the_exact_gelu_is_one_pass_in_the_runtime(tmp_path):
    nodes = [
        ("Mul", "x root", "small"),
        ("Erf", "small", "erf"),
        ("Add", "erf one", "more"),
        ("Mul", "x half", "halved"),
        ("Mul", "halved more", "y"),
    ]
    weights = {"root": np.float32(0.5**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    found = check(nodes, weights, {"Div": 1, "Erf": 1, "Add": 1, "Mul": 2})
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    onnxruntime.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node] == ["Gelu"]


def test_equal_weights_are_stored_once_and_unread_ones_not_at_all():
    one = normal(6, 6)
    nodes = [("MatMul", "x a", "once"), ("MatMul", "once b", "y")]
    found = check(nodes, {"a": one, "b": one.copy(), "unread": normal(9)}, {"MatMul": 2})
    assert len(found.graph.initializer) == 1
