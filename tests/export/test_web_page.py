"""The folder of a page: what is written, and what is refused. `make browser` opens it in a browser."""

import base64
import dataclasses
import hashlib
import io
import json
import re
import shutil
import stat
import tarfile

import numpy as np
import pytest
from cli_case import run
from web_case import DIM, ENGINE, LABELS, LOADER, SCRIPT, SIDES, brought, told

from kzoo.adaptation import (
    AdaptedClassifier,
    ConceptMatrixSearch,
    GaussianDiscriminant,
    KNearestNeighbours,
    LinearProbe,
    NearestClassMean,
    TipAdapter,
    ZeroShot,
)
from kzoo.evaluation.zero_shot import softmax
from kzoo.export import runtime, web, web_engine, web_page
from kzoo.export.web_classes import of_classifier, of_labels
from kzoo.files import limits
from kzoo.preprocessing import ImageSteps, PatchSteps, images
from kzoo.preprocessing.decoding import DECODINGS

pytestmark = pytest.mark.once


def test_a_page_is_a_folder(exported, package, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "PIECE", 300)
    about = web_page(exported, tmp_path / "page", LABELS, ["a {}.", "{}"], package)
    text, said = told(tmp_path / "page")
    assert about == said == json.loads((tmp_path / "page" / "page.json").read_text()) and said["labels"] == LABELS
    assert said["steps"] == ImageSteps(SIDES).get_config() and said["engine"] == "onnxruntime-web 1.30.0"
    assert (tmp_path / "page" / "onnxruntime.js").read_bytes() == SCRIPT
    content = {"loader": LOADER, "engine": ENGINE, "graph": (exported / "image_encoder.onnx").read_bytes()}
    numbers = of_labels(runtime.load(exported), LABELS, ["a {}.", "{}"]).numbers()
    for name, expected in (content | {"classes": numbers}).items():
        assert brought(tmp_path / "page", name) == expected
        assert said["files"][name] == {"size": len(expected), "count": -(-len(expected) // 300)}
    # a browser runs the one script whose sum the policy names, and nothing that a label says
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy and "connect-src" not in policy
    assert text.count("</script>") == 2 and "<b>" not in text and "&lt;/script&gt;&lt;b&gt;blue&lt;/b&gt;" in text
    assert "toy &lt;model&gt;" in text and "$" not in re.sub(r"\$\{\w|\$name", "", text.split("<script>")[0])
    for path in (tmp_path / "page").iterdir():
        assert not [place for place in (exported, package, web.SOURCES) if str(place).encode() in path.read_bytes()]
    # a second one takes the place of the first, and leaves none of its pieces
    (tmp_path / "page" / "notes.txt").write_text("mine")
    monkeypatch.undo()
    web_page(runtime.load(exported), tmp_path / "page", ["red", "blue"], engine=package / "node_modules")
    assert [path.name for path in sorted((tmp_path / "page").glob("*"))] == [
        *("classes-000.js", "engine-000.js", "graph-000.js", "index.html", "loader-000.js", "notes.txt"),
        *("onnxruntime.js", "page.json"),
    ]


def test_the_scripts_know_every_step_that_there_is():
    """What they make of a picture only a browser can tell, but not that a step was added, or a number changed."""
    scripts = {path.name: path.read_text("utf-8") for path in web.SOURCES.glob("*.js")}
    assert set(scripts) == {*web.SCRIPTS, *web.TEXT_SCRIPTS}
    numbers = dict(re.findall(r"(\w+) = (\d+)[,;]", scripts["resampling.js"] + scripts["decoding.js"]))
    assert int(numbers["REACH"]) == images.REACH and int(numbers["LONG"]) == images.LONG
    assert int(numbers["PIXELS"]) == limits.PIXELS
    known = {"resize": {"shortest", "squash", "longest"}, "interpolation": {"bicubic", "bilinear"}}
    known |= {"decoding": {"as_shown", "as_trained"}, "crop_rounding": {"even", "floor"}}
    there = {"resize": images.RESIZES, "interpolation": images.INTERPOLATIONS, "crop_rounding": images.ROUNDINGS}
    there |= {"decoding": DECODINGS}
    assert {name: set(choices) for name, choices in there.items()} == known
    assert set(ImageSteps(8).get_config()) == {"kind", "image_size", "resize_size", *known}


def test_what_a_quantised_export_calls_itself(exported, package, tmp_path, monkeypatch):
    served = runtime.load(exported)
    monkeypatch.setitem(served.manifest, "quantized", {"to": "int8", "graphs": {"image_encoder": {"level": "int8"}}})
    assert web_page(served, tmp_path / "page", ["red"], engine=package)["dtype"] == "int8"
    assert "toy &lt;model&gt; (int8, " in told(tmp_path / "page")[0]


def test_numbers_of_labels_are_those_of_classify(exported):
    served, pictures = runtime.load(exported), np.random.default_rng(1).integers(0, 256, (5, *SIDES, 3), "uint8")
    classes = of_labels(served, LABELS, "a {}.")
    found = softmax(classes.scores(served.encode_image(pictures)))
    np.testing.assert_allclose(found, served.classify(pictures, LABELS, "a {}."), atol=1e-6)


@pytest.mark.parametrize("kind", [ZeroShot, NearestClassMean, GaussianDiscriminant, TipAdapter, LinearProbe])
def test_numbers_of_a_classifier_are_its_own(kind):
    random = np.random.default_rng(2)
    rows, texts, names = random.normal(size=(24, DIM)), random.normal(size=(3, DIM)), ("wren", "robin", "crow")
    labels = np.arange(24) % 3
    arguments = {
        ZeroShot: (texts, names),
        NearestClassMean: (rows, labels, names),
        LinearProbe: (rows, labels, names),
    }
    classifier = kind(*arguments.get(kind, (rows, labels, texts, names)))
    asked = random.normal(size=(7, DIM)).astype("float32")
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    classes = of_classifier(classifier)
    np.testing.assert_allclose(classes.scores(asked), classifier.logits(asked), rtol=1e-5, atol=1e-4)
    assert classes.names == names and (classes.votes is not None) == (kind is TipAdapter)
    rest = 24 * DIM if kind is TipAdapter else 0
    assert len(classes.numbers()) == 4 * (3 * DIM + 3 + rest)


def test_a_classifier_beside_an_export(exported, package, tmp_path):
    random = np.random.default_rng(3)
    rows, texts, labels = random.normal(size=(12, DIM)), random.normal(size=(2, DIM)), np.arange(12) % 2
    served = runtime.load(exported)
    tip = TipAdapter(rows, labels, texts, ["wren", "robin"])
    about = web_page(AdaptedClassifier(served, tip), tmp_path / "page", engine=package)
    assert about["votes"] == {"labels": labels.tolist(), "alpha": tip.alpha, "beta": tip.beta}
    assert about["labels"] == ["wren", "robin"]
    for made in (KNearestNeighbours(rows, labels, k=3), ConceptMatrixSearch(texts, rows[:5])):
        with pytest.raises(NotImplementedError, match=f"{type(made).__name__} .* has no scores of the form W e \\+ b"):
            web_page(AdaptedClassifier(served, made), tmp_path / "other", engine=package)
    assert not (tmp_path / "other").exists()


def test_a_model_is_exported_first(exported, package, tmp_path):
    class Model:
        embed_dim, encode_image = DIM, None

        def export(self, folder):
            shutil.copytree(exported, folder, dirs_exist_ok=True)

    web_page(Model(), tmp_path / "page", LABELS, engine=package)
    web_page(exported, tmp_path / "same", LABELS, engine=package)
    for path in (tmp_path / "page").iterdir():
        assert path.read_bytes() == (tmp_path / "same" / path.name).read_bytes()


def test_what_no_page_can_be_made_of(exported, package, tmp_path, monkeypatch):
    served = runtime.load(exported)

    def refused(match, model=served, error=ValueError, labels=("a", "b"), engine=package, **options):
        with pytest.raises(error, match=match):
            web_page(model, tmp_path / "page", labels, engine=engine, **options)
        assert not (tmp_path / "page").exists()

    refused("labels is missing", labels=None)
    refused("labels is missing", exported, labels=None)
    refused("labels has 'a' twice", labels=["a", "b", "a"])
    refused("needs one {}", templates="photo")
    refused("is no export of kzoo", tmp_path)
    refused("model is 3", 3, TypeError)
    refused("there is no folder .*nowhere with onnxruntime-web; .*npm install", engine=tmp_path / "nowhere")
    refused("holds no onnxruntime-web", engine=exported)
    monkeypatch.setattr(web, "LARGEST", 100)
    refused("image_encoder.onnx has more than 100 bytes, .* dtype='float16'")
    monkeypatch.undo()
    monkeypatch.setattr(served.preprocessor, "images", PatchSteps(4, 9))
    refused("image tower of toy <model> reads images", error=NotImplementedError)
    monkeypatch.setattr(served.preprocessor, "images", None)
    refused("toy <model> embeds no pictures")
    monkeypatch.undo()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(FileExistsError, match="index.html, which would be replaced"):
        web_page(served, tmp_path / "mine", ["a", "b"], engine=package)


def test_an_engine_without_a_file(package, tmp_path):
    (tmp_path / "dist").mkdir()
    for said in ({"name": "other"}, {"name": "onnxruntime-web"}, []):
        (tmp_path / "package.json").write_text(json.dumps(said))
        with pytest.raises(ValueError, match="is not that of onnxruntime-web"):
            web_engine.package_files(web_engine.ENGINE, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "1.2.0"}))
    with pytest.raises(ValueError, match="is onnxruntime-web 1.2.0, which has no dist/ort.wasm.min.js"):
        web_engine.package_files(web_engine.ENGINE, tmp_path)


def test_npm_fetches_the_engine(package, tmp_path, monkeypatch):
    """A program called npm stands for it, which packs the folder that npm would have fetched."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(package / "node_modules" / "onnxruntime-web", "package")
    (tmp_path / "archive").write_bytes(buffer.getvalue())
    digest = base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode()
    npm = tmp_path / "npm"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="npm, which would fetch it, is not installed; .* engine='node_modules"):
        web_engine.package_files(web_engine.ENGINE)
    for script, error, match in (
        (
            "echo 'npm error network is down' >&2; exit 1",
            ConnectionError,
            r"by npm \(npm error network is down\); where",
        ),
        ("exit 7", ConnectionError, r"by npm \(exit code 7\)"),
        (f'/bin/cp {tmp_path}/archive "$5/x.tgz"', OSError, "has the SHA-512 .* and is not used"),
        (f'/bin/cp {tmp_path}/archive "$5/x.tgz"', None, None),
    ):
        npm.write_text(f"#!/bin/sh\n{script}\n")
        npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
        if error is None:
            found = web_engine.package_files(dataclasses.replace(web_engine.ENGINE, sha512=digest))
            assert found == {"version": "1.30.0", "script": SCRIPT, "loader": LOADER, "engine": ENGINE}
        else:
            with pytest.raises(error, match=match):
                web_engine.package_files(web_engine.ENGINE)


def test_the_command(exported, package, tmp_path):
    options = ("--template", "a {}.", "--template", "{}", "--engine", package)
    result = run("page", exported, tmp_path / "page", "--labels", "red, blue", *options)
    assert result.exit_code == 0, result.output
    assert "index.html: 2 classes," in result.output and told(tmp_path / "page")[1]["labels"] == ["red", "blue"]
    result = run("page", exported, tmp_path / "page", "--engine", package)
    assert result.exit_code == 2 and "--labels is missing" in result.output
    result = run("page", exported, exported, "--labels", "red,blue", "--engine", package)
    assert isinstance(result.exception, FileExistsError) and (exported / "manifest.json").exists()
