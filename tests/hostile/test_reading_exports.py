"""Exports of a stranger: the runtime opens graphs of their folder alone, and says in a sentence what is wrong."""

import json
import os

import numpy as np
import onnx
import pytest
from breaking import ended, in_fork
from onnx import TensorProto, helper, numpy_helper
from reading import LACKING, grown, mutations, outcome, refused, replaced

from kzoo.cli import check
from kzoo.export import checking, runtime

pytestmark = pytest.mark.once


def graph(path, external=None):
    """A tower that multiplies by a matrix of ones, which lies in a file beside it where one is named."""
    ones = numpy_helper.from_array(np.ones((4, 2), "float32"), "ones")
    if external is not None:
        ones.ClearField("raw_data")
        ones.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", "32")):
            ones.external_data.add(key=key, value=value)
    made = helper.make_graph(
        [helper.make_node("MatMul", ["audio", "ones"], ["audio_embeddings"])],
        "audio_encoder",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("audio_embeddings", TensorProto.FLOAT, ["batch", 2])],
        [ones],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    graph(folder / "audio_encoder.onnx")
    arrays = {"inputs": [{"name": "audio"}], "outputs": [{"name": "audio_embeddings"}]}
    manifest = {
        **{"kzoo": "0.1.0", "format": "onnx", "dtype": "float32", "preset": "mine", "embed_dim": 2},
        **{"similarity": {"scale": 10.0, "bias": 0.0}, "preprocessor": None},
        "graphs": {"audio_encoder": {"file": "audio_encoder.onnx", "signature": None, **arrays}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def change(folder, path, value):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(replaced(manifest, path, value)))


def embed(folder):
    return runtime.load(folder).embed_arrays("audio", {"audio": np.ones((3, 4), "float32")})


def test_a_good_export_opens(folder):
    assert np.array_equal(embed(folder), np.full((3, 2), 4.0, "float32"))
    assert checking.problems(folder) == ("onnx", [])
    check.check(folder)


FILE = ("graphs", "audio_encoder", "file")


def test_only_graphs_of_the_folder_are_opened(folder, tmp_path):
    graph(tmp_path / "elsewhere.onnx")
    for name in ("../elsewhere.onnx", str(tmp_path / "elsewhere.onnx"), "..", ".", "", "a/../../elsewhere.onnx", "x\0"):
        change(folder, FILE, name)
        assert "nothing elsewhere is opened" in refused(lambda: runtime.load(folder)), name
        assert checking.problems(folder)[1]
    (folder / "link.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    change(folder, FILE, "link.onnx")
    assert "outside of the folder" in refused(lambda: runtime.load(folder))
    (folder / "link.onnx").unlink()
    (folder / "link.onnx").symlink_to("audio_encoder.onnx")
    assert embed(folder).shape == (3, 2)
    change(folder, FILE, "missing.onnx")
    assert "lacks missing.onnx" in refused(lambda: runtime.load(folder))


def test_weights_beside_a_graph_lie_in_the_folder(folder, tmp_path):
    (tmp_path / "outside.data").write_bytes(np.full((4, 2), 7.0, "float32").tobytes())
    for name in ("../outside.data", str(tmp_path / "outside.data")):
        graph(folder / "audio_encoder.onnx", name)
        refused(lambda: runtime.load(folder))
    for place in (folder, folder / "below"):
        place.mkdir(exist_ok=True)
        name = (place / "weights").relative_to(folder).as_posix()
        graph(folder / "audio_encoder.onnx", name)
        (place / "weights").symlink_to(tmp_path / "outside.data")
        assert "outside of the folder" in refused(lambda: runtime.load(folder))
        (place / "weights").unlink()
        os.mkfifo(place / "weights")  # onnxruntime would wait for who writes into it
        assert "is a pipe, but a file is expected" in refused(lambda: runtime.load(folder))
        assert any("is a pipe" in said for said in checking.problems(folder)[1])
        (place / "weights").unlink()
        (place / "weights").write_bytes(np.full((4, 2), 2.0, "float32").tobytes())
        assert np.array_equal(embed(folder), np.full((3, 2), 8.0, "float32"))


CASES = [
    (("similarity", "scale"), float("inf"), "similarity says scale=inf"),
    (("similarity", "scale"), "10", "similarity says scale='10'"),
    (("similarity", "bias"), float("nan"), "similarity says bias=nan"),
    (("similarity",), LACKING, "lacks similarity"),
    (("embed_dim",), -1, "says embed_dim=-1"),
    (("format",), "onnxx", "says format='onnxx'"),
    (("graphs",), [], "graphs holds []"),
    (("graphs", "audio_encoder"), "audio_encoder.onnx", "audio_encoder holds"),
    (("graphs", "audio_encoder", "inputs"), {}, "says inputs={}"),
    (("graphs", "audio_encoder", "inputs"), [{"name": "sound"}], "it is the graph of another model"),
    (("graphs", "audio_encoder", "inputs"), [{"name": "a\n\x1b[2J"}], r"says a \x1b[2J of audio_encoder"),
    (("graphs", "audio_encoder", "outputs"), LACKING, "lacks outputs"),
    (("captions",), {"pad_id": 0}, "captions lacks context_length, vocab_size, start_id"),
    (("preprocessor",), {"images": 3, "tokenizer": None, "vocabulary": None}, "images holds 3"),
    (("fingerprints",), {"../../elsewhere": "0"}, "nothing elsewhere is opened"),
    (("quantized",), {"to": "int8"}, "quantized lacks graphs"),
    (("quantized",), {"to": "int8", "graphs": {"a": {"level": 3}}}, "a says level=3"),
    (("quantized",), {"to": "int8", "graphs": {"a": {"level": "int8", "speed": float("nan")}}}, "says speed=nan"),
]


@pytest.mark.parametrize("path, value, said", CASES, ids=lambda value: ".".join(value) if type(value) is tuple else "")
def test_a_wrong_field_is_named(folder, path, value, said):
    change(folder, path, value)
    assert said in refused(lambda: embed(folder))


def test_damaged_graphs(folder):
    path, random = folder / "audio_encoder.onnx", np.random.default_rng(0)
    content = path.read_bytes()
    for damaged in mutations(content, random, 60):
        path.write_bytes(damaged)
        outcome(lambda: embed(folder))
    path.write_bytes(b"")
    assert "cannot be opened by onnxruntime" in refused(lambda: runtime.load(folder))


@pytest.mark.parametrize("given, said", [
    ({"threads": 10**6}, "threads is 1000000"),
    ({"providers": ["NoProvider"]}, "onnxruntime knows no provider 'NoProvider'; this one has"),
    ({"session_options": {"intra_op_num_threads": "x"}}, "the session option intra_op_num_threads is 'x'"),
])  # fmt: skip
def test_what_onnxruntime_cannot_be_given(folder, given, said):
    assert said in refused(lambda: runtime.load(folder, **given))


def test_arrays_that_a_graph_does_not_take(folder):
    served = runtime.load(folder)
    for arrays in ({}, {"audio": np.ones((3, 5), "float32")}, {"audio": np.ones((3, 4), "int64")}, {"audio": "a"}):
        assert "audio_encoder" in refused(lambda arrays=arrays: served.embed_arrays("audio", arrays))


def test_embeddings_that_are_none(folder):
    given = numpy_helper.from_array(np.full((4, 2), np.nan, "float32"), "ones")
    model = onnx.load(folder / "audio_encoder.onnx")
    del model.graph.initializer[:]
    model.graph.initializer.append(given)
    onnx.save(model, folder / "audio_encoder.onnx")
    assert "gives embeddings that are not finite" in refused(lambda: embed(folder))
    graph(folder / "audio_encoder.onnx")
    change(folder, ("embed_dim",), 3)
    assert "gives float32 of shape (3, 2), but manifest.json says embeddings of shape (3, 3)" in refused(
        lambda: embed(folder)
    )


def test_a_graph_that_grows_as_it_is_opened(folder):
    """Some thirty nodes, of which onnxruntime would make gigabytes before anything is run."""
    model = onnx.load(folder / "audio_encoder.onnx")
    for number in range(28):
        twice = [str(number)] * 2 if number else ["ones"] * 2
        model.graph.node.append(helper.make_node("Concat", twice, [str(number + 1)], axis=0))
    model.graph.node.append(helper.make_node("ReduceMean", ["28"], ["mean"], keepdims=0))
    onnx.save(model, folder / "audio_encoder.onnx")

    def work():
        for opened in (checking.problems, runtime.load):
            assert grown(lambda opened=opened: opened(folder)) < 200 * 2**20, opened

    assert ended(in_fork(work)) == 0
