"""`kzoo.export.web_page`: a folder with a page that classifies pictures in a browser, where nothing else computes."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import kzoo
from kzoo.adaptation.adapted_classifier import AdaptedClassifier
from kzoo.adaptation.classifiers.classifier import CLASSIFIER_FILE
from kzoo.arguments import FLAG, PATH, able, instance, takes
from kzoo.export import runtime
from kzoo.export.manifest import fingerprints
from kzoo.export.web_classes import of_classifier, of_labels
from kzoo.export.web_engine import ENGINE, package_files
from kzoo.export.web_texts import GRAPH as TEXT_GRAPH
from kzoo.export.web_texts import text_parts
from kzoo.files import disk
from kzoo.files.opening import within
from kzoo.files.writing import readable, try_folder, writing
from kzoo.inference.embed import BATCH_SIZE

LAYOUT, ABOUT_FILE, SCRIPT_FILE, LICENCE_FILE = "web_page", "page.json", "onnxruntime.js", "tokenizers.LICENSE"
SOURCES = Path(__file__).parent / "page"
SCRIPTS = ("resampling.js", "decoding.js", "page.js")
TEXT_SCRIPTS = ("texts.js", "typing.js")  # where classes can be typed
PIECE = 12 * 2**20  # bytes of a piece, a multiple of 3: a browser holds the text of one at a time
LARGEST = 2**30  # bytes of all graphs, of which the memory of WebAssembly, 4 GiB, takes several times that
GRAPH = "image_encoder"
TEXT_FILES = ("tokenizers", "vocabulary", "texts")  # which are read when a class is typed
MODEL = PATH | instance(AdaptedClassifier, "an AdaptedClassifier") | able("encode_image embed_dim")
MODEL = MODEL.said("the folder of an export, such an export opened, a model of kzoo, or an AdaptedClassifier")


@takes(model=MODEL, folder=PATH, engine=PATH | None, overwrite=FLAG, text_tower=FLAG)
def web_page(
    model, folder, labels=None, templates="a photo of a {}.", engine=None, overwrite=False, text_tower=False
) -> dict:
    """Write a folder with a page, `index.html`, that classifies the pictures which are put into it.

    The page opens by a double click or from any host of files, and needs nothing but its folder: the graph of the
    image tower, the numbers of the classes and onnxruntime-web, the engine, lie in it as scripts. No server computes,
    and the page's own policy has the browser refuse to send anything. It reads pictures, resizes and crops them as
    `kzoo.preprocessing.ImageSteps` does, and its shares are those of `classify`.

    With `text_tower=True` who looks at the page may type other classes there: the graph of the text tower and its
    vocabulary are in the folder too, and are opened when they are first asked for.

    Args:
        model: folder of an export to ONNX, such an export opened by `kzoo.export.runtime.load`, or a model, which is
            exported in float32 first; for smaller pages export with `dtype="float16"` or to int8, and give that folder.
            Also an `AdaptedClassifier` of one of these.
        folder: path to write. An earlier page there is replaced.
        labels: list of class names. None takes the classifier that `kzoo.adapt` left: of an `AdaptedClassifier`, or
            beside an export.
        templates: of the labels, as in `classify`; with the text tower what the page begins with.
        engine: folder of onnxruntime-web as npm installs it, or `node_modules`. None lets npm fetch the version that is
            tested. With the text tower also of @huggingface/tokenizers, which makes ids of texts in the browser.
        overwrite: whether to write into a folder that holds something else, as in `model.export`.
        text_tower: whether classes can be typed in the page, which becomes larger by the text tower.

    Returns:
        dict: the content of `page.json`: versions, the model's name, labels, and the files with their sizes.

    Raises:
        ValueError: no labels and no classifier; a model without a picture tower, texts or a preprocessor; graphs too
            large for a browser; an export of another format; a folder without the engine; a text tower beside the
            classes of a classifier.
        NotImplementedError: a tower that takes patches or further inputs; a classifier that is not plane; with the text
            tower a vocabulary whose ids the page would not make as kzoo does.
        FileExistsError: the folder holds something else than a page.
        OSError: the folder cannot be written, or npm cannot fetch the engine.

    Example:
        >>> model.export("my_clip_onnx")
        >>> kzoo.export.web_page("my_clip_onnx", "page", labels=["cat", "dog"])["labels"]
        ['cat', 'dog']
    """
    try_folder(folder, LAYOUT, overwrite)
    if text_tower and labels is None:
        raise ValueError(
            "text_tower is True, but labels is missing: what a classifier has learned from pictures cannot be typed; "
            "give class names for the page to begin with, or leave text_tower out."
        )
    model, classifier = _parts(model, labels is None)
    if not isinstance(model, runtime.Runtime):
        with TemporaryDirectory() as place:
            model.export(place)
            return _page(runtime.load(place), classifier, folder, labels, templates, engine, overwrite, text_tower)
    return _page(model, classifier, folder, labels, templates, engine, overwrite, text_tower)


def _parts(model, adapted):
    """A model or an opened export, and a classifier where one is wanted."""
    if isinstance(model, (str, os.PathLike)):
        beside = (readable(Path(model)) / CLASSIFIER_FILE).is_file()
        model = AdaptedClassifier.load(model) if adapted and beside else runtime.load(model)
    if isinstance(model, AdaptedClassifier):
        if adapted and model.classifier is None:
            raise NotImplementedError(f"{model!r} has no one embedding of a class, so no export, and no page.")
        return model.encoder, model.classifier if adapted else None
    if adapted:
        raise ValueError("labels is missing: class names, which this model does not have.")
    return model, None


def _page(served, classifier, folder, labels, templates, engine, overwrite, text_tower):
    """Write the page of an opened export."""
    home, _, _, _, verify = served.opened_with
    manifest, steps = served.manifest, _steps(served)
    if manifest["format"] != "onnx":
        raise ValueError(
            f"{home} is an export of format {manifest['format']}, and the engine of a page runs ONNX alone; export it "
            "with format='onnx'."
        )
    graphs = {"graph": _graph(home, manifest, GRAPH)}
    if classifier is None:
        labels, templates = (list(each) if isinstance(each, Iterator) else each for each in (labels, templates))
        # in int8 what is embedded depends on what is beside it: one by one, as they are typed
        classes = of_labels(served, labels, templates, 1 if text_tower else BATCH_SIZE)
    else:
        classes = of_classifier(classifier)
    contents = {"classes": classes.numbers()}
    found = package_files(ENGINE, engine)
    contents |= {"loader": found["loader"], "engine": found["engine"]}
    about = {
        "kzoo": kzoo.__version__,
        "page": "index.html",
        "preset": manifest["preset"],
        "dtype": _precision(manifest, GRAPH),
        "engine": f"{ENGINE.name} {found['version']}",
        "labels": list(classes.names),
        "steps": steps.get_config(),
    }
    if classes.votes is not None:
        votes = classes.votes
        about["votes"] = {"labels": votes.labels.tolist(), "alpha": votes.alpha, "beta": votes.beta}
    whole = {SCRIPT_FILE: found["script"]}
    if text_tower:
        texts = text_parts(
            served, classes.names, [templates] if isinstance(templates, str) else list(templates), engine
        )
        about["texts"] = {"dtype": _precision(manifest, TEXT_GRAPH)} | texts.about
        graphs["texts"] = _graph(home, manifest, TEXT_GRAPH)
        contents |= {"vocabulary": texts.vocabulary, "tokenizers": texts.tokenizers}
        whole[LICENCE_FILE] = texts.licence
    sizes = {name: len(content) for name, content in contents.items()}
    sizes |= {name: path.stat().st_size for name, path in graphs.items()}
    _check_size(graphs, sizes)
    about["files"] = {name: {"size": each, "count": -(-each // PIECE)} for name, each in sizes.items()}
    with writing(folder, LAYOUT, overwrite) as place, fingerprints(home, manifest, verify):
        disk.write(place / "index.html", _html(about).encode())
        for name, content in whole.items():
            disk.write(place / name, content)
        for name, content in contents.items():
            _pieces(place, name, io.BytesIO(content))
        for name, path in graphs.items():
            with open(path, "rb") as file:
                _pieces(place, name, file)
        disk.write(place / ABOUT_FILE, (json.dumps(about, indent=2) + "\n").encode())
    return about


def _graph(home, manifest, name):
    """The path of a graph."""
    return within(home, manifest["graphs"][name]["file"], name)


def _check_size(graphs, sizes):
    total, names = sum(sizes[name] for name in graphs), " and ".join(path.name for path in graphs.values())
    if total > LARGEST or any(path.with_name(f"{path.name}.data").exists() for path in graphs.values()):
        raise ValueError(
            f"{names} {'have' if len(graphs) > 1 else 'has'} more than {LARGEST:,} bytes, which browsers have no room "
            "for; export it with dtype='float16' or to int8, or take a smaller model."
        )


def _steps(served):
    """The image steps of an export whose image tower a page can run."""
    graph = served.manifest["graphs"].get(GRAPH)
    name = served.manifest["preset"]
    if graph is None or served.embed_dim is None or served.preprocessor is None or served.preprocessor.images is None:
        raise ValueError(f"{name} embeds no pictures, and so cannot classify any.")
    steps = served.preprocessor.images
    wanted = ["images"], "pixels", "uint8"
    if ([each["name"] for each in graph["inputs"]], steps.kind, graph["inputs"][0]["dtype"]) != wanted:
        inputs = ", ".join(f"{each['name']} ({each['dtype']})" for each in graph["inputs"])
        raise NotImplementedError(
            f"the image tower of {name} reads {inputs}, but a page gives pictures of one size in uint8 alone."
        )
    return steps


def _precision(manifest, graph):
    """In what a tower computes: the level that a quantised export settled for, or its dtype."""
    quantized = (manifest.get("quantized") or {}).get("graphs", {})
    return quantized.get(graph, {}).get("level", manifest.get("dtype", "float32"))


def _pieces(place, name, file):
    """Scripts that hand the bytes of a file to the page."""
    for number, content in enumerate(iter(lambda: file.read(PIECE), b"")):
        text = f'piece("{name}","{base64.b64encode(content).decode()}");\n'
        disk.write(place / f"{name}-{number:03}.js", text.encode())


def _html(about):
    """The page itself, which says what it may do: run its own scripts, and connect to nothing."""
    texts = about.get("texts")
    names = SCRIPTS if texts is None else SCRIPTS + TEXT_SCRIPTS
    script = "\n".join(re.sub(r'^"use strict";\n', "", (SOURCES / name).read_text("utf-8")) for name in names)
    script = f'"use strict";\n{script}'
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    allowed = {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}' 'self' file: blob: 'wasm-unsafe-eval'",
        "style-src": "'unsafe-inline'",
        "img-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    count, megabytes = len(about["labels"]), about["files"]["graph"]["size"] / 1e6
    classes = "1 class" if count == 1 else f"{count} classes"
    if texts is None:
        part, known = "known.html", {"labels": escape(", ".join(about["labels"]))}
    else:
        part, known = "typed.html", {"labels": escape("\n".join(about["labels"]))}
        known["templates"] = escape("\n".join(texts["templates"]))
        known["megabytes"] = f"{sum(about['files'][name]['size'] for name in TEXT_FILES) / 1e6:.3g}"
        known["tokens"] = str(texts["contextLength"])
    # within a script nothing is escaped but by JSON itself, and HTML looks for tags alone
    said = json.dumps(about).replace("<", "\\u003c")
    return Template((SOURCES / "index.html").read_text("utf-8")).substitute(
        policy="; ".join(f"{name} {value}" for name, value in allowed.items()),
        name=escape(about["preset"]),
        style=(SOURCES / "style.css").read_text("utf-8"),
        what=escape(f"{about['preset']} ({about['dtype']}, {megabytes:.3g} MB)"),
        classes=classes,
        known=Template((SOURCES / part).read_text("utf-8")).substitute(known, classes=classes),
        about=said,
        script=script,
    )
