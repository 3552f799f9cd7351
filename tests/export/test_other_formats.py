"""OpenVINO, LiteRT and torch.export: written and verified as ONNX is, opened without Keras, and without kzoo."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from shared_case import tiny_model, toy_pairs

from kzoo.cli.options import Format
from kzoo.export import ExportError, checking, on_openvino, onnx_graphs, runtime, verify, web_page
from kzoo.export.formats import FORMATS, options_of
from kzoo.files.layouts import EXPORTS

PAIRS = toy_pairs(5)
PICTURES = PAIRS["images"]
BACKENDS = {"litert": "tensorflow", "torch_export": "torch"}  # that write it, whatever the model runs on
SERVED = ("openvino", "litert")


def take_graphs_of(coca_onnx, patch):
    """Writing a graph as ONNX is to copy it from an export that is there."""
    _, onnx, manifest = coca_onnx

    def write_onnx(tower, path, opset):
        shutil.copy(onnx / path.name, path)
        return manifest["graphs"][tower.name]["exporter"]

    patch.setattr(onnx_graphs, "write_onnx", write_onnx)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("openvino", marks=pytest.mark.one_other("jax")),
        pytest.param("litert", marks=pytest.mark.one_other("tensorflow")),
        pytest.param("torch_export", marks=pytest.mark.one_other("jax")),
    ],
)
def exported(request, coca_onnx, tmp_path_factory):
    """A format, the model and its export; OpenVINO's from the graphs of ONNX that are there."""
    folder = tmp_path_factory.mktemp("export") / request.param
    with pytest.MonkeyPatch.context() as patch:
        take_graphs_of(coca_onnx, patch)
        return request.param, coca_onnx[0], folder, coca_onnx[0].export(folder, format=request.param)


def test_every_graph_is_verified_and_the_export_does_what_the_model_does(exported, tmp_path):
    format, model, folder, manifest = exported
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    graphs = ["image_encoder", "text_encoder", "caption_memory", "caption_step"]
    assert list(manifest["graphs"]) == graphs and manifest["verified_batches"] == [1, 2, 5]
    assert max(manifest["worst_difference"].values()) < 5e-6 and max(manifest["asked"].values()) < 2e-6
    files = {FORMATS[format].file.format(name) for name in graphs}
    files |= {f"{name}.bin" for name in graphs} if format == "openvino" else set()
    assert {path.name for path in folder.iterdir()} == files | {"manifest.json", "tokenizer.json"}
    assert manifest["fingerprints"].keys() == files
    if format in BACKENDS:
        elsewhere = "" if keras.config.backend() == BACKENDS[format] else f" on {BACKENDS[format]}"
        assert {graph["exporter"].endswith(elsewhere) for graph in manifest["graphs"].values()} == {True}
    assert checking.problems(folder) == (format, [])
    if format not in SERVED:
        with pytest.raises(ValueError, match="this runtime does not run; open it with torch.export.load"):
            runtime.load(folder)
        return
    served = runtime.load(folder, threads=1)
    for rows in (1, 3):
        np.testing.assert_allclose(
            served.encode_image(PICTURES[:rows]), model.encode_image(PICTURES[:rows]), rtol=0, atol=2e-6
        )
    labels = ["a red circle", "a blue square"]
    np.testing.assert_allclose(served.classify(PICTURES, labels), model.classify(PICTURES, labels), atol=2e-5)
    options = {"strategy": "beam", "num_beams": 3, "return_scores": True}
    captions, scores = served.caption(PICTURES, **options)
    expected, of_model = model.caption(PICTURES, **options)
    assert captions == expected and len(set(captions)) > 1
    np.testing.assert_allclose(scores, of_model, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="images is float32 of shape .*, but the graph reads uint8 of shape .batch, 3"):
        served.embed_arrays("image", {"images": np.zeros((2, 32, 32, 3), "float32")})
    with pytest.raises(ValueError, match=f"is an export of format {format}, and the engine of a page runs ONNX alone"):
        web_page(folder, tmp_path / "page", labels=labels)
    path = folder / FORMATS[format].file.format("text_encoder")
    shutil.copytree(folder, tmp_path / "cut")
    (tmp_path / "cut" / path.name).write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="text_encoder"):
        runtime.load(tmp_path / "cut", verify=False)
    assert checking.problems(tmp_path / "cut")[1]


WITHOUT_KZOO = """
import json, sys
import numpy as np
folder, format = sys.argv[1:3]
inputs = {"token_ids": np.arange(30, dtype="int32").reshape(2, 15) % 7}
if format == "openvino":
    sys.modules["openvino_telemetry"] = None
    import openvino
    graph = openvino.Core().compile_model(f"{folder}/text_encoder.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = graph(inputs)["text_embeddings"]
elif format == "litert":
    from ai_edge_litert.interpreter import Interpreter
    found = Interpreter(f"{folder}/text_encoder.tflite").get_signature_runner()(**inputs)["text_embeddings"]
else:
    import torch
    program = torch.export.load(f"{folder}/text_encoder.pt2")
    (found,) = program.module()(torch.from_numpy(inputs["token_ids"]))
    calls = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(each.startswith(("aten.", "<built-in", "math.")) for each in calls), calls
    assert not any("dtype_layout" in each for each in calls), calls  # which would name a device
    names, sizes = [*program.state_dict], [each.numel() for each in program.state_dict.values()]
    assert names and not any("image_encoder" in name for name in names), names
    assert 0.9 * int(sys.argv[3]) < sum(sizes) < 1.1 * int(sys.argv[3]), (sum(sizes), names)
    found = found.detach().numpy()
print(json.dumps([found.tolist(), sorted({"kzoo", "keras", "tensorflow", "jax"} & sys.modules.keys())]))
"""


@pytest.mark.once
def test_graphs_run_without_kzoo(exported):
    format, model, folder, _ = exported
    weights = sum(int(np.prod(each.shape)) for each in model.text_encoder.weights)
    command = [sys.executable, "-c", WITHOUT_KZOO, str(folder), format, str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    found, imported = json.loads(done.stdout.splitlines()[-1])
    assert imported == []
    ids = np.arange(30, dtype="int32").reshape(2, 15) % 7
    expected = keras.ops.convert_to_numpy(model({"token_ids": ids}, outputs=("text_embeddings",))["text_embeddings"])
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.once
def test_openvino_in_half_the_size_with_its_own_options_and_no_report_to_its_maker(coca_onnx, tmp_path, monkeypatch):
    take_graphs_of(coca_onnx, monkeypatch)
    model = coca_onnx[0]
    graphs = model.export(tmp_path / "half", format="openvino", dtype="float16")["graphs"]
    assert all(graph["exporter"] == coca_onnx[2]["graphs"][name]["exporter"] for name, graph in graphs.items())
    weights = sum(np.prod(weight.shape) for weight in model.text_encoder.weights)
    assert 1.8 * weights < (tmp_path / "half" / "text_encoder.bin").stat().st_size < 2.2 * weights
    served = runtime.load(tmp_path / "half", providers=["CPU"], session_options={"NUM_STREAMS": 1})
    np.testing.assert_allclose(served.encode_text(PAIRS["captions"]), model.encode_text(PAIRS["captions"]), atol=5e-3)
    hidden = []
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "openvino_telemetry", raising=False)  # others in this process may have imported it
        patch.setattr(on_openvino, "require", lambda *of: hidden.append(sys.modules["openvino_telemetry"] is None))
        on_openvino.openvino("This test")
        assert hidden == [True] and "openvino_telemetry" not in sys.modules
    for options, kind, sentence in (
        ({"providers": ["QPU"]}, ValueError, "OpenVINO knows no device 'QPU'; this machine has CPU"),
        ({"session_options": {"NO_SUCH": 1}}, ValueError, "NO_SUCH"),
        ({"session_options": keras}, TypeError, "session_options"),
    ):
        with pytest.raises(kind, match=sentence):
            runtime.load(tmp_path / "half", **options)


@pytest.mark.once
def test_formats_are_said_once_and_take_what_they_have():
    assert [*Format] == [*FORMATS] == [*EXPORTS]
    assert options_of("openvino", {"dtype": "float16"}) == {"dtype": "float16"}
    for format, given, takers in (
        ("openvino", {"opset": 20}, "or take format='onnx'"),
        ("litert", {"dtype": "float16"}, "or take format='onnx' or format='openvino'"),
        ("torch_export", {"dtype": "float16"}, "or take format='onnx' or format='openvino'"),
    ):
        with pytest.raises(ValueError, match=f"format '{format}' takes no {next(iter(given))}; leave it out, {takers}"):
            options_of(format, given)


@pytest.mark.once
@pytest.mark.parametrize("package, extra", [("openvino", "openvino"), ("ai_edge_litert", "litert")])
def test_what_is_not_installed_is_named_with_its_extra(package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for work in (
        lambda: tiny_model(depth=1).export(tmp_path / "out", format=extra),
        lambda: FORMATS[extra].run_by(tmp_path, {}),
    ):
        with pytest.raises(
            ImportError, match=rf"needs {package}, which is not installed: pip install 'kzoo\[{extra}\]'"
        ):
            work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_what_an_exporter_stumbles_over_is_an_export_error():
    with pytest.raises(ExportError, match="image_encoder could not be exported: no such operation"):
        with verify.exporting("image_encoder"):
            raise NotImplementedError("no such operation")
    with pytest.raises(ImportError, match="torch is not there"):
        with verify.exporting("image_encoder"):
            raise ImportError("torch is not there")
