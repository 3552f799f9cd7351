"""What tests of pages need: the folder of an export that Keras takes no part in, and packages as npm installs them."""

import base64
import json
import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kzoo.export import web_engine
from kzoo.preprocessing import ImageSteps, Preprocessor

DIM, SIDES = 6, (8, 12)
LABELS = ["red", "</script><b>blue</b>", "grün & <!-- grey", "$name ${about}", 'a"b']
SCRIPT, LOADER, ENGINE = b"/*! MIT */var ort;", b"export default 1;", bytes(range(256)) * 9
TOKENIZERS = b"export class Tokenizer {}", b"Apache"


def graph(path, name, dtype, shape, nodes, tensors, output):
    """A graph of one tower."""
    proto = helper.make_graph(
        [*nodes, helper.make_node("LpNormalization", ["raw"], [output], axis=-1, p=2)],
        path.stem,
        [helper.make_tensor_value_info(name, dtype, ["batch", *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(array, key) for key, array in tensors.items()],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)


def write_export(folder):
    """The folder of an export of two small towers, which Keras takes no part in."""
    random = np.random.default_rng(0)
    folder.mkdir()
    steps = Preprocessor(ImageSteps(SIDES), vocabulary={"train": 270, "context_length": 32})
    steps.adapt(LABELS)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "kernel"], ["raw"]),
    ]
    tensors = {"axes": np.array([1, 2]), "kernel": random.normal(size=(3, DIM)).astype("float32")}
    graph(folder / "image_encoder.onnx", "images", TensorProto.UINT8, [*SIDES, 3], nodes, tensors, "image_embeddings")
    nodes = [
        helper.make_node("Gather", ["table", "token_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "axes"], ["raw"], keepdims=0),
    ]
    tensors = {"axes": np.array([1]), "table": random.normal(size=(270, DIM)).astype("float32")}
    graph(folder / "text_encoder.onnx", "token_ids", TensorProto.INT32, [32], nodes, tensors, "text_embeddings")
    towers = {"image": ("images", "uint8", [*SIDES, 3]), "text": ("token_ids", "int32", [32])}
    manifest = {
        "kzoo": "0.1.0",
        "format": "onnx",
        "dtype": "float32",
        "preset": "toy <model>",
        "embed_dim": DIM,
        "similarity": {"scale": 20.0, "bias": -3.0},
        "graphs": {
            f"{tower}_encoder": {
                "file": f"{tower}_encoder.onnx",
                "inputs": [{"name": name, "dtype": dtype, "shape": ["batch", *shape]}],
                "outputs": [{"name": f"{tower}_embeddings", "dtype": "float32", "shape": ["batch", DIM]}],
            }
            for tower, (name, dtype, shape) in towers.items()
        },
        "preprocessor": steps.save(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_packages(folder):
    """A folder as npm has installed the packages of a page in it."""
    for package, contents in ((web_engine.ENGINE, (SCRIPT, LOADER, ENGINE)), (web_engine.TOKENIZERS, TOKENIZERS)):
        place = folder / "node_modules" / package.name
        (place / "dist").mkdir(parents=True)
        (place / "package.json").write_text(json.dumps({"name": package.name, "version": package.version}))
        for file, content in zip(package.files.values(), contents, strict=True):
            (place / file).write_bytes(content)
    return folder


def brought(folder, name):
    """The bytes that the scripts of a page hand over, in order."""
    texts = [path.read_text() for path in sorted(folder.glob(f"{name}-???.js"))]
    return b"".join(base64.b64decode(re.fullmatch(rf'piece\("{name}","(.*)"\);\n', text)[1]) for text in texts)


def told(folder):
    """What the page is told of itself, as a browser finds it between the tags."""
    text = (folder / "index.html").read_text("utf-8")
    return text, json.loads(re.search(r'<script type="application/json" id="about">(.*?)</script>', text, re.S)[1])
