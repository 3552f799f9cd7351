"""The demo of a captioner, step by step."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

import kzoo
from kzoo.demo.baselines import baselines
from kzoo.demo.captioner_report import HEADINGS, SOURCES, write_report
from kzoo.demo.icons import Findings, begin, cut_captions_said_once, train_for
from kzoo.evaluation import caption_scores, words
from kzoo.files.single import replacing
from kzoo.files.writing import try_folder
from kzoo.preprocessing import Augmentation

PRESET = "coca_nano"
BATCH_SIZE = 64
LEARNING_RATE = 5e-3
AUGMENTATION = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), shift=1 / 16)
BEAM = {"num_beams": 4, "length_penalty": 0.0}  # names are short, and means of log p would favour long ones
CAPTIONED = 256  # icons at a time


@dataclass
class CaptionFindings(Findings):
    """Everything the report shows."""

    written: dict = field(default_factory=dict)  # key of SOURCES -> a caption for each held-out icon
    scores: dict = field(default_factory=dict)  # key of SOURCES -> name of the metric -> float
    unseen_words: int = 0  # held-out icons whose name has a word that no name of the training part has


def run_captioner_demo(minutes=5.0, output="kzoo-demo-captioner", console=None) -> Any:
    """Train `coca_nano` on icons from scratch, name held-out icons, compare with names that no decoder wrote.

    No held-out icon has the name of another icon: a name that was retrieved is never exact.

    Args:
        minutes: of training.
        output: folder for `report.html`, `metrics.json` and `model/` (opens with `kzoo.from_preset`).
        console: a `rich.console.Console`.

    Returns:
        `CaptionFindings`.
    """
    with cut_captions_said_once():
        return _run(minutes, Path(output), console or Console())


def _run(minutes, output, console):
    output.mkdir(parents=True, exist_ok=True)
    try_folder(output / "model", "kzoo")
    model, train, test, found = begin(PRESET, ("matplotlib",), CaptionFindings, console)
    model.compile(keras.optimizers.Muon(LEARNING_RATE, weight_decay=0.3, adam_weight_decay=0.0))
    # no word is dropped here as in the other demo: a caption is also what the decoder learns to write
    data = kzoo.data.pairs(train, model.preprocessor, BATCH_SIZE, augmentation=AUGMENTATION)
    train_for(minutes, model, data, LEARNING_RATE, found, console)

    known = {word for caption in train["captions"] for word in words(caption)}
    found.unseen_words = sum(not known.issuperset(words(caption)) for caption in test["captions"])
    found.written = {
        "greedy": model.caption(test["images"], batch_size=CAPTIONED),
        "beam": model.caption(test["images"], "beam", batch_size=CAPTIONED, **BEAM),
        **baselines(model, train, test),
        "truth": test["captions"],
    }
    for key, captions in found.written.items():
        found.scores[key] = caption_scores(captions, test["captions"], list(HEADINGS))
    console.print(_table(found))
    model.save_to_preset(output / "model")
    console.print(f"saved the model: kzoo.from_preset({str(output / 'model')!r})")
    _write_metrics(found, output / "metrics.json")
    report = write_report(found, output / "report.html")
    console.print(f"the report with pictures: {report}")
    return found


def _table(found):
    title = f"names of {len(found.captions)} icons that were never seen, after {found.minutes:.1f} minutes"
    table = Table("", title=title)
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right")
    for key, scores in found.scores.items():
        table.add_row(SOURCES[key][0], *(f"{scores[metric]:.3f}" for metric in HEADINGS))
    return table


def _write_metrics(found, path):
    names = ("preset", "parameters", "backend", "minutes", "trained_on", "unseen_words", "losses", "scores")
    numbers = {name: getattr(found, name) for name in names} | {"held_out": len(found.captions)}
    with replacing(path) as file:
        file.write((json.dumps(numbers, indent=2) + "\n").encode())
