"""The demo of a dual encoder, step by step."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import kzoo
from kzoo.demo.ask import best
from kzoo.demo.icons import Findings, begin, cut_captions_said_once, train_for
from kzoo.demo.report import write_report
from kzoo.files.writing import try_folder
from kzoo.preprocessing import Augmentation

PRESET = "clip_nano"
BATCH_SIZE = 256
LEARNING_RATE = 5e-3
AUGMENTATION = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), shift=1 / 16)
KS = (1, 5, 10)
CLASSES = ("battery", "calendar", "car", "cloud", "folder", "heart", "home", "lock", "phone", "star")
TEMPLATES = ("{}", "{} outline", "{} off")


@dataclass
class RetrievalFindings(Findings):
    """Everything the report shows."""

    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    image_embeddings: np.ndarray = None
    text_embeddings: np.ndarray = None
    class_accuracy: float = 0.0
    class_count: int = 0
    queries: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    worst_difference: dict = field(default_factory=dict)


def run_demo(minutes=5.0, output="kzoo-demo", console=None) -> Any:
    """Train `clip_nano` on icons from scratch, measure it on held-out icons, export it, ask the export.

    Args:
        minutes: of training.
        output: folder for `report.html`, `model/` (opens with `kzoo.from_preset`) and `onnx/`.
        console: a `rich.console.Console`.

    Returns:
        `RetrievalFindings`.
    """
    with cut_captions_said_once():
        return _run(minutes, Path(output), console or Console())


def _run(minutes, output, console):
    output.mkdir(parents=True, exist_ok=True)
    for name, layout in (("model", "kzoo"), ("onnx", "onnx")):
        try_folder(output / name, layout)
    model, train, test, found = begin(PRESET, ("matplotlib", "onnxruntime"), RetrievalFindings, console)
    held_out = kzoo.data.pairs(test, model.preprocessor, BATCH_SIZE, shuffle=False)
    model.compile(keras.optimizers.Muon(LEARNING_RATE, weight_decay=0.3, adam_weight_decay=0.0))
    found.before = model.evaluate(held_out, verbose=0)
    data = kzoo.data.pairs(train, model.preprocessor, BATCH_SIZE, augmentation=AUGMENTATION, word_dropout=0.2)
    train_for(minutes, model, data, LEARNING_RATE, found, console)
    found.after = model.evaluate(held_out, verbose=0)
    console.print(_table(found))

    found.image_embeddings = model.encode_image(test["images"])
    found.text_embeddings = model.encode_text(test["captions"])
    _classify(model, found, console)
    model.save_to_preset(output / "model")
    console.print(f"saved the model: kzoo.from_preset({str(output / 'model')!r})")
    _export_and_ask(model, found, output / "onnx", console)
    report = write_report(found, output / "report.html")
    console.print(f"the report with pictures: {report}")
    return found


def _table(found):
    count = len(found.captions)
    table = Table(title=f"recall on {count} icons that were never seen, after {found.minutes:.1f} minutes")
    for heading in ("", "k", "before", "after", "chance"):
        table.add_column(heading, justify="left" if not heading else "right")
    for direction, name in (("text_to_image", "caption to icon"), ("image_to_text", "icon to caption")):
        for k in KS:
            key = f"{direction}_recall@{k}"
            table.add_row(name, str(k), f"{found.before[key]:.1%}", f"{found.after[key]:.1%}", f"{k / count:.1%}")
    return table


def _classify(model, found, console):
    """Held-out icons whose caption names exactly one of ten things, classified by prompt."""
    named = [[name for name in CLASSES if name in caption.split()] for caption in found.captions]
    chosen = [index for index, names in enumerate(named) if len(names) == 1]
    truth = np.array([CLASSES.index(named[index][0]) for index in chosen])
    probabilities = model.classify(found.image_embeddings[chosen], CLASSES, templates=TEMPLATES)
    found.class_accuracy, found.class_count = float(np.mean(probabilities.argmax(axis=-1) == truth)), len(chosen)
    console.print(
        f"zero-shot by prompt, {len(CLASSES)} classes: {found.class_accuracy:.0%} of {len(chosen)} held-out icons "
        f"(chance {1 / len(CLASSES):.0%})"
    )


def _export_and_ask(model, found, folder, console):
    """Export, then put the same queries to the export in a process without Keras."""
    found.worst_difference = model.export(folder)["worst_difference"]
    worst = max(found.worst_difference.values())
    console.print(f"exported and verified at batch 1, 2 and 5: {folder} (worst difference {worst:.1e})")

    random = np.random.default_rng(0)
    found.queries = [found.captions[index] for index in random.choice(len(found.captions), 8, replace=False)]
    expected = model.encode_text(found.queries) @ found.image_embeddings.T
    with tempfile.NamedTemporaryFile(suffix=".npy") as pixels:
        np.save(pixels, found.images)
        pixels.flush()
        question = {"images": pixels.name, "queries": found.queries, "k": 5}
        command = [sys.executable, "-m", "kzoo.demo.ask", str(folder)]
        done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    difference = float(np.max(np.abs(np.array(answer["scores"]) - expected)))
    same = answer["best"] == best(expected, 5).tolist()
    if answer["forbidden"] or difference > 1e-4:
        raise RuntimeError(
            f"the export answers differently from the model: by {difference:.1e}, with {answer['forbidden']} imported."
        )
    found.answers = answer["best"]
    console.print(
        f"a process without Keras answers the same {len(found.queries)} queries with "
        f"{'the same icons' if same else 'the same scores'} (worst difference {difference:.1e})"
    )
