"""ONNX export from the running backend, and the runtime on what it leaves."""

import errno
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from shared_case import TESTS, compilations, tiny_model, toy_pairs

import kzoo
from kzoo.export import ExportError, onnx_graphs, runtime
from kzoo.files import disk
from kzoo.layers import SimilarityHead
from kzoo.preprocessing import Preprocessor
from kzoo.presets import read_row
from kzoo.presets.build import build

PAIRS = toy_pairs(7)
NATIVE = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "torch.onnx"}
LABELS = ["red circle", "blue square"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with every option a tower has, and its export."""
    head = SimilarityHead(scale=5.0, bias=-1.0, name="similarity")
    model = tiny_model(image_size=(16, 24), similarity=head, activation="gelu", layer_scale=0.5)
    folder = tmp_path_factory.mktemp("export") / "onnx"
    return model, folder, model.export(folder)


def test_manifest(exported):
    _, folder, manifest = exported
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert {path.name for path in folder.iterdir()} == {
        "image_encoder.onnx",
        "text_encoder.onnx",
        "tokenizer.json",
        "manifest.json",
    }
    assert manifest["graphs"]["image_encoder"]["inputs"] == [
        {"name": "images", "dtype": "uint8", "shape": ["batch", 16, 24, 3]}
    ]
    assert manifest["graphs"]["text_encoder"]["outputs"] == [
        {"name": "text_embeddings", "dtype": "float32", "shape": ["batch", 12]}
    ]
    assert max(manifest["worst_difference"].values()) < 2e-6 and manifest["verified_batches"] == [1, 2, 5]
    assert manifest["similarity"] == {"scale": pytest.approx(5.0), "bias": pytest.approx(-1.0)}


def test_graphs_name_their_batch_and_their_writer(exported):
    _, folder, manifest = exported
    for name, graph in manifest["graphs"].items():
        proto = onnx.load(folder / f"{name}.onnx")
        for value in (*proto.graph.input, *proto.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        properties = {entry.key: entry.value for entry in proto.metadata_props}
        assert properties["exporter"] == graph["exporter"] == NATIVE[keras.config.backend()]
        content = proto.SerializeToString()
        assert not [path for path in (kzoo.__file__, keras.__file__) if str(Path(path).parent).encode() in content]


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_runtime_equals_the_model(exported, rows):
    model, folder, _ = exported
    served = runtime.load(folder)
    images, texts = PAIRS["images"][:rows], PAIRS["captions"][:rows]
    np.testing.assert_allclose(served.encode_image(images), model.encode_image(images), atol=2e-6)
    np.testing.assert_allclose(served.encode_text(texts), model.encode_text(texts), atol=2e-6)
    np.testing.assert_allclose(served.similarity(images, texts), model.logits(images, texts), atol=2e-5)
    np.testing.assert_allclose(served.classify(images, LABELS), model.classify(images, LABELS), atol=2e-5)


def test_runtime_imports_no_framework(exported, tmp_path):
    model, folder, _ = exported
    Image.fromarray(PAIRS["images"][0]).save(tmp_path / "a.png")
    script = (
        "import sys\n"
        "from kzoo.export import runtime\n"
        f"model = runtime.load({str(folder)!r})\n"
        f"print(model.classify([{str(tmp_path / 'a.png')!r}], {LABELS!r}).tolist()[0])\n"
        "print([name for name in ('keras', 'jax', 'tensorflow', 'torch', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    probabilities, imported = map(json.loads, done.stdout.splitlines())
    assert imported == []
    np.testing.assert_allclose(probabilities, model.classify(PAIRS["images"][:1], LABELS)[0], atol=2e-5)


def test_half_precision_models_leave_in_float32_with_lora_merged_and_nothing_quantised(tmp_path):
    model = tiny_model(dtype="mixed_bfloat16")
    model.quantize("int8", filters="image_encoder")
    for number, block in enumerate((*model.image_encoder.blocks, *model.text_encoder.blocks)):
        block.mlp_up.enable_lora(2)
        block.mlp_up.lora_kernel_b.assign(keras.random.normal((2, 96), stddev=0.1, seed=number))
    manifest = model.export(tmp_path / "onnx")
    assert max(manifest["worst_difference"].values()) < 2e-6
    served = runtime.load(tmp_path / "onnx")
    np.testing.assert_allclose(served.encode_text(["a red circle"]), model.encode_text(["a red circle"]), atol=3e-2)
    np.testing.assert_allclose(served.encode_image(PAIRS["images"]), model.encode_image(PAIRS["images"]), atol=5e-2)


def test_an_export_is_replaced_but_nothing_else_is(exported, tmp_path):
    model, _, _ = exported
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="exists and is not an export"):
        model.export(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_above_the_bound_nothing_is_left(exported, tmp_path, monkeypatch):
    model, folder, _ = exported
    before = (folder / "manifest.json").read_text()
    monkeypatch.setattr(onnx_graphs, "export_on", lambda *arguments: "the other way")
    with pytest.raises(
        ExportError, match=r"image_encoder .*at batch 1 the output image_embeddings differs from the model"
    ):
        model.export(folder, tolerance=1e-12)
    assert (folder / "manifest.json").read_text() == before  # the earlier export is untouched
    with pytest.raises(ExportError):
        model.export(tmp_path / "new", tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_an_export_that_is_broken_off_leaves_one_that_is_whole(exported, tmp_path, monkeypatch):
    model, folder, manifest = exported
    target = tmp_path / "onnx"
    shutil.copytree(folder, target)
    (target / "notes.txt").write_text("mine")

    def write(model, place, verified, **options):
        for path in folder.glob("*.onnx"):
            shutil.copy(path, place)
        return manifest["graphs"]

    def full(*arguments):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(onnx_graphs, "write_onnx_graphs", write)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename", full)
        with pytest.raises(OSError, match="cannot be written: the disk is full; what was there is unchanged"):
            model.export(target, tolerance=1e-3)
    assert runtime.load(target).manifest == manifest
    with monkeypatch.context() as patch:
        patch.setattr("kzoo.files.writing._move", lambda folder: 1 / 0)  # killed when it was decided
        with pytest.raises(ZeroDivisionError):
            model.export(target, tolerance=1e-3)
    assert runtime.load(target).manifest["tolerance"] == 1e-3
    assert {path.name for path in target.iterdir()} == {path.name for path in folder.iterdir()} | {"notes.txt"}


@pytest.mark.once
def test_graphs_and_vocabulary_of_another_export_are_told_apart(exported, tmp_path):
    _, folder, manifest = exported
    assert manifest["fingerprints"].keys() == {"image_encoder.onnx", "text_encoder.onnx"}
    for number, name in enumerate(["text_encoder.onnx", "tokenizer.json"]):
        mixed = tmp_path / str(number)
        shutil.copytree(folder, mixed)
        if name.endswith(".onnx"):
            proto = onnx.load(mixed / name)
            proto.producer_name = "another"
            onnx.save(proto, mixed / name)
        else:
            tiny = Preprocessor(None, vocabulary={"train": 300, "context_length": 10})
            tiny.adapt(["other words alone"])
            (mixed / name).write_text(tiny.tokenizer.to_json())
        with pytest.raises(ValueError, match=f"{name} is not the .* saved with"):
            runtime.load(mixed)
        assert runtime.load(mixed, verify=False).encode_text(["red"]).shape == (1, 12)
    (mixed / "image_encoder.onnx").unlink()
    with pytest.raises(ValueError, match="lacks image_encoder.onnx"):
        runtime.load(mixed, verify=False)


def test_without_another_way_the_error_says_what_failed(exported, tmp_path, monkeypatch):
    def fail(tower, path, opset):
        raise NotImplementedError("this exporter knows no such operation")

    def missing(*arguments):
        raise ImportError("TensorFlow is not there")

    monkeypatch.setattr(onnx_graphs, "write_onnx", fail)
    monkeypatch.setattr(onnx_graphs, "export_on", missing)
    with pytest.raises(ExportError, match="could not be exported: this exporter knows no such operation"):
        exported[0].export(tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_half_the_size_with_another_opset(exported, tmp_path):
    model, folder, whole = exported
    opset = 17 if keras.config.backend() == "tensorflow" else 20  # tf2onnx knows none behind 18
    manifest = model.export(tmp_path / "half", dtype="float16", opset=opset)
    assert (manifest["dtype"], manifest["opset"], manifest["tolerance"]) == ("float16", opset, 5e-3)
    assert (whole["dtype"], whole["opset"], whole["tolerance"]) == ("float32", 18, 2e-5)
    assert 0 < max(manifest["worst_difference"].values()) < 2e-3
    for name in manifest["graphs"]:
        half, full = (onnx.load(each / f"{name}.onnx") for each in (tmp_path / "half", folder))
        assert [each.version for each in half.opset_import if not each.domain] == [opset]
        sizes = [sum(len(each.raw_data) for each in proto.graph.initializer) for proto in (half, full)]
        assert sizes[0] < 0.6 * sizes[1]
    served = runtime.load(tmp_path / "half")
    assert served.encode_text(PAIRS["captions"]).dtype == "float32"
    np.testing.assert_allclose(served.encode_text(PAIRS["captions"]), model.encode_text(PAIRS["captions"]), atol=5e-3)
    assert repr(served).startswith(f"<Runtime of {model.name}: image_encoder, text_encoder; float16, from /")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"dtype": "int8"}, "dtype 'int8' is unknown; choose one of float32, float16"),
        ({"opset": 5}, "opset is 5; give a version of ONNX's operators, 13 or later"),
        ({"opset": "18"}, "opset is '18'"),
        ({"opset": 10**6}, "opset is 1000000, but the onnx that is installed here knows versions up to"),
        ({"format": "tf_saved_model", "dtype": "float16"}, "format 'tf_saved_model' takes no dtype; leave it out, or"),
        ({"format": "tf_saved_model", "opset": 20}, "format 'tf_saved_model' takes no opset; leave it out, or"),
    ],
)
def test_dtypes_and_opsets_that_cannot_be(exported, tmp_path, arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        exported[0].export(tmp_path / "onnx", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_session_options_and_other_processes(exported, monkeypatch):
    folder = exported[1]
    monkeypatch.chdir(folder.parent)
    served = runtime.load(folder.name, threads=1, session_options={"enable_mem_pattern": False})
    options = served.sessions["text_encoder"].get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1) and not options.enable_mem_pattern
    monkeypatch.chdir("/")  # where a worker may stand
    again = pickle.loads(pickle.dumps(served))
    assert again.sessions["text_encoder"].get_session_options().intra_op_num_threads == 1
    np.testing.assert_array_equal(again.encode_text(PAIRS["captions"]), served.encode_text(PAIRS["captions"]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    served = runtime.load(folder, session_options=options)
    assert served.sessions["text_encoder"].get_session_options().intra_op_num_threads == 2
    with pytest.raises(TypeError, match="cannot be sent to another process; give load.. threads="):
        pickle.dumps(served)
    for arguments, sentence in (
        ({"threads": 0}, "threads is 0; give a whole number from 1 to 1024, or None"),
        ({"threads": "2"}, "threads is '2'"),
        ({"session_options": {"intra_threads": 2}}, "onnxruntime has no session option 'intra_threads'"),
    ):
        with pytest.raises((ValueError, TypeError), match=sentence):
            runtime.load(folder, **arguments)


@pytest.mark.once
def test_graphs_are_opened_when_they_are_used(exported, tmp_path):
    """By the first of some threads; at once without fingerprints or with options that only opening tries."""
    folder = shutil.copytree(exported[1], tmp_path / "onnx")
    served = runtime.load(folder)
    assert served.sessions.open == [] and [*served.sessions] == ["image_encoder", "text_encoder"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(served.encode_image, [PAIRS["images"][:2]] * 4))
    assert served.sessions.open == ["image_encoder"] and all(np.array_equal(each, found[0]) for each in found)
    for options in ({"verify": False}, {"providers": ["CPUExecutionProvider"]}):
        assert runtime.load(folder, **options).sessions.open == ["image_encoder", "text_encoder"]

    text = folder / "text_encoder.onnx"
    text.write_bytes(text.read_bytes())  # another export, perhaps, that lies where this one was
    with pytest.raises(ValueError, match="text_encoder.onnx is not the file that it was when this export was opened"):
        served.encode_text(["a"])
    np.testing.assert_array_equal(served.encode_image(PAIRS["images"][:2]), found[0])
    text.write_bytes(text.read_bytes()[:-1])
    with pytest.raises(ValueError, match="text_encoder.onnx is not the file that manifest.json was saved with"):
        runtime.load(folder)
    text.unlink()
    with pytest.raises(ValueError, match="lacks text_encoder.onnx"):
        runtime.load(folder)


def test_unknown_format(exported):
    with pytest.raises(
        ValueError,
        match="format 'tflite' is unknown; choose one of onnx, tf_saved_model, openvino, litert, ",
    ):
        exported[0].export("folder", format="tflite")


def test_a_model_without_a_preprocessor(tmp_path):
    model = tiny_model()
    model.preprocessor = None
    with pytest.raises(ValueError, match="the model has no preprocessor"):
        model.export(tmp_path / "onnx")


def test_runtime_refuses_what_is_no_export(exported, tmp_path):
    with pytest.raises(ValueError, match="is no export of kzoo: manifest.json cannot be read"):
        runtime.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"other": 1}')
    with pytest.raises(ValueError, match="was written by something else"):
        runtime.load(tmp_path)
    manifest = exported[2]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": "tf_saved_model"}))
    with pytest.raises(ValueError, match="open it with tf.saved_model.load"):
        runtime.load(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "tokenizer.json").write_text((exported[1] / "tokenizer.json").read_text())
    with pytest.raises(ValueError, match="lacks image_encoder.onnx; the export is incomplete"):
        runtime.load(tmp_path)


def test_runtime_reports_bad_input_as_the_model_does(exported):
    served = runtime.load(exported[1])
    with pytest.raises(ValueError, match="image 0: there is no image file nowhere.png"):
        served.encode_image(["nowhere.png"])
    with pytest.raises(ValueError, match="texts is empty"):
        served.encode_text([])


@pytest.mark.one_other("tensorflow")
def test_a_released_architecture_exports_and_verifies(tmp_path):
    """The smallest released widths, vocabulary and context of CLIP, four blocks a tower."""
    row = read_row("clip_small_patch32")
    row["image_encoder"]["depth"] = row["text_encoder"]["depth"] = 4
    manifest = build(row).export(tmp_path / "onnx")
    assert max(manifest["worst_difference"].values()) < 1e-5


@pytest.mark.parametrize("backend", ["jax"] if keras.config.backend() == "jax" else [])
def test_towers_are_compared_as_programs(backend, exported, tmp_path):
    """Not operation by operation, each of which jax would compile for each of its shapes."""
    model = tiny_model(depth=1)
    with compilations() as found:  # what jax2onnx compiles when it is imported was compiled for `exported`
        model.export(tmp_path / "onnx")
    assert len(found) < 12, found  # two towers of three sizes, and what a user asks


@pytest.mark.one_other
@pytest.mark.parametrize(
    "name",
    [
        "hf_siglip2_naflex_tiny",
        "oc_clip_rn_tiny",
        "hf_altclip_tiny",
        "oc_coca_cascade_tiny",
        "oc_mt5_tiny",
        "oc_nllb_tiny",
        "oc_convnext_mlp_tiny",
        "oc_swin_tiny",
        "oc_eva02_tiny",
        "oc_vit_relpos_tiny",
        "oc_vitamin_tiny",
        "oc_pe_core_tiny",
    ],
)
def test_towers_of_other_families_export(name, tmp_path):
    model = kzoo.from_preset(TESTS / "fixtures" / name)
    manifest = model.export(tmp_path / "onnx")
    assert max(manifest["worst_difference"].values()) < 2e-6
    pictures = toy_pairs(3, size=40)["images"]
    np.testing.assert_allclose(
        runtime.load(tmp_path / "onnx").encode_image(pictures), model.encode_image(pictures), atol=2e-6
    )
    assert {graph["exporter"] for graph in manifest["graphs"].values()} == {NATIVE[keras.config.backend()]}
