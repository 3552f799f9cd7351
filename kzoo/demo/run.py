"""The demo, step by step."""

import json
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import kzoo
from kzoo.data.icon_fonts import icons
from kzoo.demo.ask import best
from kzoo.demo.report import write_report
from kzoo.extras import require
from kzoo.preprocessing import Augmentation
from kzoo.training import TimeBudget

PRESET = "clip_nano"
BATCH_SIZE = 256
LEARNING_RATE = 5e-3
AUGMENTATION = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), shift=1 / 16)
KS = (1, 5, 10)
CLASSES = ("battery", "calendar", "car", "cloud", "folder", "heart", "home", "lock", "phone", "star")
TEMPLATES = ("{}", "{} outline", "{} off")


@dataclass
class Findings:
    """Everything the report shows."""

    images: np.ndarray  # of the test part, as the model sees them
    pictures: np.ndarray  # the same, as people see them
    captions: list
    parameters: int = 0
    backend: str = ""
    trained_on: int = 0
    minutes: float = 0.0
    losses: list = field(default_factory=list)
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    image_embeddings: np.ndarray = None
    text_embeddings: np.ndarray = None
    class_accuracy: float = 0.0
    class_count: int = 0
    queries: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    worst_difference: dict = field(default_factory=dict)


def run_demo(minutes=5.0, output="kzoo-demo", console=None):
    """Train `clip_nano` on icons from scratch, measure it on held-out icons, export it, ask the export.

    Args:
        minutes: of training.
        output: folder for `report.html`, `model/` (opens with `kzoo.from_preset`) and `onnx/`.
        console: a `rich.console.Console`.

    Returns:
        `Findings`.
    """
    with warnings.catch_warnings():
        # the demo says itself how many captions are cut, once and not for each time they are read
        warnings.filterwarnings("ignore", message=".* longer than the context")
        return _run(minutes, Path(output), console or Console())


def _run(minutes, output, console):
    output.mkdir(parents=True, exist_ok=True)
    for package in ("matplotlib", "onnxruntime"):  # before five minutes of training, not after
        require(package, "demo", "The demo")
    keras.utils.set_random_seed(0)

    model = kzoo.from_preset(PRESET, load_weights=False)
    size = model.image_encoder.image_size[0]
    train, test = icons("train", size), icons("test", size)
    model.preprocessor.adapt(train["captions"])
    pictures = icons("test", size=64)["images"]
    found = Findings(test["images"], pictures, test["captions"], model.count_params(), keras.config.backend())
    found.trained_on = len(train["captions"])
    console.print(
        f"[bold]{PRESET}[/] ({found.parameters:,} parameters) on {found.backend}, Python {platform.python_version()}: "
        f"{len(train['captions']):,} icons to train on, {len(test['captions'])} held out"
    )
    _, cut = model.preprocessor.tokenizer.encode(test["captions"])
    if cut:
        length = model.text_encoder.context_length
        console.print(f"{cut} captions of the held-out icons are longer than the context of {length} ids and are cut")
    held_out = kzoo.data.pairs(test, model.preprocessor, BATCH_SIZE, shuffle=False)
    found.before = _measure(model, held_out)
    _train(model, train, minutes, found, console)
    found.after = _measure(model, held_out)
    console.print(_table(found))

    found.image_embeddings = model.encode_image(test["images"])
    found.text_embeddings = model.encode_text(test["captions"])
    _classify(model, found, console)
    model.save_to_preset(output / "model")
    console.print(f"saved the model: [bold]kzoo.from_preset({str(output / 'model')!r})[/]")
    _export_and_ask(model, found, output / "onnx", console)
    report = write_report(found, output / "report.html")
    console.print(f"the report with pictures: [bold]{report}[/]")
    return found


def _measure(model, data):
    if not model.compiled:
        model.compile(keras.optimizers.Muon(LEARNING_RATE, weight_decay=0.3, adam_weight_decay=0.0))
    return model.evaluate(data, verbose=0)


def _train(model, train, minutes, found, console):
    data = kzoo.data.pairs(train, model.preprocessor, BATCH_SIZE, augmentation=AUGMENTATION, word_dropout=0.2)
    budget = TimeBudget(minutes, LEARNING_RATE)
    columns = ("[progress.description]{task.description}", BarColumn(), TimeElapsedColumn())
    columns = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    started = time.monotonic()
    with Progress(*columns, console=console) as progress:
        watch = _Watch(budget, progress, found.losses)
        model.fit(data, epochs=100_000, verbose=0, callbacks=[budget, watch])
    found.minutes = (time.monotonic() - started) / 60


class _Watch(keras.callbacks.Callback):
    """Moves the progress bar by the clock and keeps the loss of each epoch."""

    def __init__(self, budget, progress, losses):
        super().__init__()
        self.budget, self.progress, self.losses = budget, progress, losses
        self.task = progress.add_task("compiling the first step", total=1.0)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        text = f"epoch {self.epoch + 1}  loss {logs['loss']:.3f}  in-batch accuracy {logs['in_batch_accuracy']:.0%}"
        self.progress.update(self.task, completed=self.budget.spent(), description=text)

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))


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
    console.print(f"exported and verified at batch 1, 2 and 5: [bold]{folder}[/] (worst difference {worst:.1e})")

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
