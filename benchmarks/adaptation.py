"""Methods of `kzoo.adapt` beside each other: accuracy by pictures of each class, what is trained, time and memory.

    KERAS_BACKEND=torch python benchmarks/adaptation.py adaptation      # all of it
    KERAS_BACKEND=torch python benchmarks/adaptation.py adaptation 5    # goes on for 5 minutes, then shows

The ten most frequent first words of icons (`file-lock`, `file-outline`, ...) are the classes of one task. 40 icons of
each are kept for that; `clip_nano` is trained on all others for 1,000 steps, with their names and with "a photo of a
..." around them. The ten digits of scikit-learn, 8 by 8 pixels, which the model has never seen, are the other task.
Nothing is said to `kzoo.adapt` but the method: what is measured are its defaults. What was measured lies in
`cells.json` in the folder, from which the tables and two pictures are made; pictures that are measured with are 24 of
each class, the same throughout. It takes an hour and a half, in as many pieces as may be. Needs `kzoo[demo]` and
scikit-learn.
"""

import itertools
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

SHOTS, SEEDS, HELD, KEPT, WORDS = (1, 2, 4, 8, 16), (0, 1, 2), 24, 40, 10
TEACHER, TEMPLATE = "tip_adapter", "a photo of a {}."
STEPS, BATCH, LEARNING_RATE = 1000, 256, 5e-3  # of the model itself
DRAWN = ("zero_shot", "gda", "tip_adapter", "linear_probe", "coop", "vpt", "lora", "full", "flyp")
CLAIMS = (  # paper, what it says, (the better, the other, at which shots)
    ("GDA", "above zero-shot, and above Tip-Adapter with 4 pictures and more", ("gda", "tip_adapter", (4, 8, 16))),
    ("Tip-Adapter", "above zero-shot with any number", ("tip_adapter", "zero_shot", SHOTS)),
    ("CLIP", "a linear probe of one picture is below zero-shot", ("zero_shot", "linear_probe", (1,))),
    ("CoOp", "above zero-shot with 2 pictures and more", ("coop", "zero_shot", (2, 4, 8, 16))),
    ("CoOp", "above a linear probe with few pictures", ("coop", "linear_probe", (1, 2, 4))),
    ("VPT", "above zero-shot with many pictures", ("vpt", "zero_shot", (8, 16))),
    ("MaPLe", "both towers above the texts alone", ("maple", "coop", SHOTS)),
    ("CLIP-LoRA", "above prompts", ("lora", "coop", SHOTS)),
    ("BitFit", "near full fine-tuning with few pictures: not more than 3 points below", ("bitfit", "full", (1, 2, 4))),
    ("FLYP", "above fine-tuning by cross-entropy", ("flyp", "full", SHOTS)),
)
NEAR = {"BitFit": 0.03}


def icon_task():
    """Pictures to train the model on, and the task of icons: `(source, (pictures, labels, classes))`."""
    from kzoo.data import icons

    found = icons("all", 32)
    first = [name.split()[0] for name in found["captions"]]
    words = [word for word, _ in Counter(first).most_common(WORDS)]
    order = np.random.default_rng(0).permutation(len(first))
    kept = {word: [place for place in order if first[place] == word][:KEPT] for word in words}
    others = sorted({*range(len(first))}.difference(*kept.values()))
    names = [found["captions"][place] for place in others]
    captions = [[name, TEMPLATE.format(name)] for name in names]
    source = {"images": found["images"][others], "captions": captions}
    places = [place for word in words for place in kept[word]]
    return source, (found["images"][places], np.repeat(np.arange(len(words)), KEPT), words)


def digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = 255 - (found.images * 255 / 16).astype("uint8")  # black on white, as icons are
    images = np.repeat(np.kron(pixels, np.ones((1, 4, 4), "uint8"))[..., None], 3, axis=-1)
    return images, found.target, ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def model_in(folder, source):
    """The model, trained where it is not there yet."""
    import keras

    import kzoo
    from kzoo.demo.run import AUGMENTATION

    if (folder / "model" / "config.json").exists():
        return kzoo.from_preset(folder / "model")
    keras.utils.set_random_seed(0)
    model = kzoo.from_preset("clip_nano", load_weights=False)
    model.preprocessor.adapt([text for own in source["captions"] for text in own])
    rate = keras.optimizers.schedules.CosineDecay(0.0, STEPS, warmup_target=LEARNING_RATE, warmup_steps=STEPS // 20)
    model.compile(keras.optimizers.Muon(rate, weight_decay=0.3, adam_weight_decay=0.0))
    data = kzoo.data.pairs(source, model.preprocessor, BATCH, augmentation=AUGMENTATION)
    model.fit(data, epochs=STEPS // len(data) + 1, verbose=0)
    model.save_to_preset(folder / "model")
    return kzoo.from_preset(folder / "model")


def split(task):
    """A task as what is drawn from and what is measured with: 24 pictures of each class."""
    images, labels, classes = task
    order = np.random.default_rng(0).permutation(len(labels))
    held = np.concatenate([order[labels[order] == place][:HELD] for place in range(len(classes))])
    shown = np.setdiff1d(order, held)
    return (images[shown], labels[shown]), (images[held], labels[held]), classes


def measured(model, task, method, shots, seed):
    import kzoo

    shown, held, classes = task
    own, options = {}, {"classes": classes, "shots": shots, "seed": seed, "held_out": held}
    if method == "gda" and shots == 1:  # of one picture there is no covariance
        return None
    if method == "distil":  # its teacher is what is best without training, of the same pictures
        own["teacher"] = kzoo.adapt(model, shown, TEACHER, **options).model
    return kzoo.adapt(model, shown, method, **options, **own).report.as_dict()


class Cells:
    """What was measured so far, in a file.

    Args:
        path: of it.
        until: when no further one is begun, by the clock of `time.monotonic`.
    """

    def __init__(self, path, until):
        self.path, self.until = path, until
        self.found = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key, make):
        """The numbers of a cell, measured where they are not there; None where there is no time left, or no such
        training."""
        if key not in self.found:
            if time.monotonic() > self.until:
                return None
            self.found[key] = make()
            self.path.write_text(json.dumps(self.found, indent=0))
        return self.found[key]


def main():
    from kzoo.adaptation.methods import METHODS

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "adaptation")
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else np.inf
    folder.mkdir(parents=True, exist_ok=True)
    source, icons = icon_task()
    tasks = {name: split(task) for name, task in (("icons", icons), ("digits", digits()))}
    model = model_in(folder, source)
    cells = Cells(folder / "cells.json", time.monotonic() + 60.0 * minutes)
    for seed, name, shots, method in itertools.product(SEEDS, tasks, SHOTS, METHODS):
        key = f"{name} {method} {shots} {seed}"
        cells.get(key, lambda n=name, m=method, s=shots, d=seed: measured(model, tasks[n], m, s, d))
    for name in tasks:
        show(cells, name, METHODS, folder)


def show(cells, name, methods, folder):
    """The table of a task as Markdown, its picture, and what of the claims was seen."""
    from kzoo.drawing import can_draw, draw_lines

    found = {}
    for method, shots in itertools.product(methods, SHOTS):
        own = [cells.found.get(f"{name} {method} {shots} {seed}") for seed in SEEDS]
        own = [each for each in own if each is not None]
        if own:
            found[method, shots] = own
    print(f"\n{name}\n")
    print(f"| method | trained | seconds | memory | {' | '.join(map(str, SHOTS))} |")
    print(f"|---|--:|--:|--:|{'--:|' * len(SHOTS)}")
    for method in methods:
        own = [each for shots in SHOTS for each in found.get((method, shots), ())]
        if not own:
            continue
        seconds, memory = (np.median([each[key] or 0 for each in own]) for key in ("seconds", "memory"))
        said = " | ".join(in_words(found.get((method, shots), ())) for shots in SHOTS)
        print(f"| `{method}` | {own[-1]['trained']:,} | {seconds:.1f} | {memory / 1e6:.0f} MB | {said} |")
    counts = Counter(len(each) for each in found.values())
    print(f"\nseeds of a cell: {', '.join(f'{count} of {number} cells' for count, number in sorted(counts.items()))}\n")
    for paper, said, (better, other, at) in CLAIMS:
        pairs = [(mean(found, better, shots), mean(found, other, shots)) for shots in at]
        if any(None in pair for pair in pairs):
            continue
        gaps = [first - second for first, second in pairs]
        right = sum(gap > -NEAR.get(paper, 0.0) for gap in gaps)
        points = ", ".join(f"{100 * gap:+.1f}" for gap in gaps)
        print(f"- {paper}: {said}: seen at {right} of {len(at)} ({points} points at {', '.join(map(str, at))})")
    drawn = [method for method in DRAWN if all((method, shots) in found for shots in SHOTS)]
    if drawn and can_draw():
        rows = [{"shots": shots} | {method: mean(found, method, shots) for method in drawn} for shots in SHOTS]
        draw_lines(rows, "shots", "accuracy", folder / f"{name}.png")
        print(f"\ndrawn: {folder / f'{name}.png'}")


def in_words(own):
    """Mean and standard deviation of the accuracies of a cell, in percent."""
    accuracy = [100 * each["after"] for each in own]
    if not accuracy:
        return ""
    return f"{np.mean(accuracy):.1f}" + (f" ± {np.std(accuracy, ddof=1):.1f}" if len(accuracy) > 1 else "")


def mean(found, method, shots):
    own = found.get((method, shots))
    return None if own is None else float(np.mean([each["after"] for each in own]))


if __name__ == "__main__":
    main()
