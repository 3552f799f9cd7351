"""SIGKILL at random moments while an export or a model is written over another one; not run by `make test`.

The old one or the new one must open each time, and whoever writes next finds nothing in the way. Half of the kills come
at any moment of the writing, in forks of a process that has imported all; the others in its last milliseconds, where
the files get their places: one process writes until then, and is forked there for each.

    PYTHONPATH=tests KERAS_BACKEND=torch python tests/hostile/kills.py onnx kzoo adapter --kills 50
    PYTHONPATH=tests KERAS_BACKEND=tensorflow python tests/hostile/kills.py tf_saved_model --kills 50
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
from breaking import ended, in_fork
from shared_case import tiny_model

import kzoo
from kzoo.adaptation import AdaptedClassifier, LoRA, ZeroShot, add_adapter, load_adapter, save_adapter
from kzoo.export import runtime
from kzoo.files import writing
from kzoo.files.writing import readable, try_folder
from kzoo.layers.adapted import updates_of
from kzoo.paths import layers

OLD, NEW = 2.0, 3.0


def of_scale(scale):
    model = tiny_model(depth=1, width=8, num_heads=1, embed_dim=4, activation="quick_gelu", image_size=8)
    model.similarity.log_scale.assign(np.log(scale))
    return model


def with_classes(scale):
    return AdaptedClassifier(of_scale(scale), ZeroShot(np.eye(4), ("a", "b", "c", "d"), scale=scale))


def with_adapter(scale):
    model = of_scale(scale)
    for path in add_adapter(model, LoRA(rank=2)):
        updates_of(_at(model, path))["default"].b.assign(np.full((2, 8), scale))
    return model


def _at(model, path):
    return next(layer for each, layer, _ in layers(model) if each == path)


def of_model(folder):
    return float(kzoo.from_preset(folder).scale_and_bias()[0])


def of_export(folder):
    opened = runtime.load(folder)
    assert opened.encode_text(["a cat"]).shape == (1, 4)
    return opened.scale_and_bias()[0]


def of_classes(folder):
    opened = AdaptedClassifier.load(folder)
    assert opened.predict([np.zeros((8, 8, 3), "uint8")]).shape == (1,)
    scale = opened.encoder.scale_and_bias()[0]
    assert abs(scale - opened.classifier.scale) < 1e-3, "the classifier is of the other model"
    return scale


def of_adapter(folder):
    model = of_scale(1.0)
    path = load_adapter(model, folder)[0]
    return float(np.asarray(updates_of(_at(model, path))["default"].b)[0, 0])


def of_saved_model(folder):
    import tensorflow as tf

    graph, ones = tf.saved_model.load(str(readable(folder))), tf.constant(np.eye(4, dtype="float32"))
    return float(graph.signatures["similarity"](images=ones, texts=ones)["logits"][0, 0])


# kind of saving -> what is saved of a scale, how, how its scale is read again, and the layout
KINDS = {
    "kzoo": (of_scale, lambda model, place: model.save_to_preset(place), of_model, "kzoo"),
    "open_clip": (of_scale, lambda model, place: model.save_to_preset(place, "open_clip"), of_model, "open_clip"),
    "adapter": (with_adapter, save_adapter, of_adapter, "adapter"),
    "onnx": (of_scale, lambda model, place: model.export(place), of_export, "onnx"),
    "onnx with a classifier": (with_classes, lambda model, place: model.export(place), of_classes, "onnx"),
    "tf_saved_model": (
        of_scale,
        lambda model, place: model.export(place, "tf_saved_model"),
        of_saved_model,
        "tf_saved_model",
    ),
}


def written(kind, scale, place, reached):
    """A process that writes; `reached` is told when the model is there and the writing begins."""

    def work():
        make, save, _, _ = KINDS[kind]
        model = make(scale)
        os.write(reached[1], b".")
        save(model, place)

    child = in_fork(work)
    os.read(reached[0], 1)
    return child


def looked_at(kind, places, report):
    """What each folder holds, what is said, and what is left beside it once another writer has come."""
    _, _, read, layout = KINDS[kind]
    said, found = [], {}
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage().partition(": ")[2])
    logging.getLogger("kzoo").addHandler(handler)
    for place in places:
        before = bool(list(place.glob(".kzoo*")))
        try:
            scale = round(read(place), 3)
            try_folder(place, layout)
            again = round(read(place), 3)
            found[place.name] = scale if scale == again else f"{scale}, then {again}"
        except Exception as error:
            found[place.name] = repr(error)
        rest = [path.name for path in place.glob(".kzoo*")]
        said += ["(left over before)"] * before + [f"STILL LEFT {rest}"] * bool(rest)
    report.write_text(json.dumps({"found": found, "said": Counter(said)}))


def killed_as_it_ends(kind, places, draw, home):
    """Write once, and leave in each place what a process has left that was killed once all was written."""
    folder, decide = home / "ending", writing._decide

    def ending(*arguments):
        shutil.copytree(folder, home / "written")
        took = None
        for place in (home / "whole", *places):
            began, child = time.monotonic(), os.fork()
            if not child:
                return decide(*arguments)
            if took is not None:
                time.sleep(took * draw.random() ** 2)
                os.kill(child, signal.SIGKILL)
            ended(child)
            took = time.monotonic() - began if took is None else took
            folder.rename(place)
            shutil.copytree(home / "written", folder)
        os._exit(0)

    def work():
        make, save, _, _ = KINDS[kind]
        writing._decide = ending
        save(make(NEW), folder)

    shutil.copytree(home / "old", folder)
    assert ended(in_fork(work)) == 0


def tried(kind, kills, draw, home):
    started, reached = time.monotonic(), os.pipe()
    assert ended(written(kind, OLD, home / "old", reached)) == 0
    shutil.copytree(home / "old", home / "timed")
    child, began = written(kind, NEW, home / "timed", reached), time.monotonic()
    assert ended(child) == 0
    took, late = time.monotonic() - began, 0
    places = [home / str(number) for number in range(kills)]
    for place in places[: kills // 2]:
        shutil.copytree(home / "old", place)
        child = written(kind, NEW, place, reached)
        time.sleep(draw.uniform(0, took))
        os.kill(child, signal.SIGKILL)
        late += ended(child) != signal.SIGKILL
    killed_as_it_ends(kind, places[kills // 2 :], draw, home)
    report = home / "report.json"
    assert ended(in_fork(lambda: looked_at(kind, places, report))) == 0
    result = json.loads(report.read_text())
    found, said = list(result["found"].values()), result["said"]
    whole, last = (dict(Counter(each)) for each in (found[: kills // 2], found[kills // 2 :]))
    print(f"{kind}: written in {took:.2f} s; scales that open after {kills // 2} kills, {late} of them late: {whole}")
    print(f"{kind}: after {kills - kills // 2} kills as it ends: {last}; said: {said}")
    print(f"{kind}: {time.monotonic() - started:.0f} s", flush=True)
    return set(found) <= {OLD, NEW} and not any("STILL" in each for each in said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("kzoo").propagate = False
    if keras.config.backend() != "tensorflow":  # which does not live on in a fork once it has computed
        with tempfile.TemporaryDirectory() as home:
            for kind in options.kinds:  # what is imported late is imported
                make, save, read, _ = KINDS[kind]
                save(make(OLD), Path(home) / kind)
                read(Path(home) / kind)
    good = True
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as home:
            good &= tried(kind, options.kills, random.Random(options.seed), Path(home))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
