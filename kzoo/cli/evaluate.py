"""`kzoo evaluate`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.options import (
    CAPTION_KEY,
    IMAGE_KEY,
    BackendOption,
    BatchSize,
    CaptionKey,
    ImageKey,
    Model,
    SkipBroken,
    Source,
)
from kzoo.cli.parts import needs_keras, pairs_of
from kzoo.cli.terminal import console


def evaluate(
    model: Model,
    source: Source,
    batch_size: BatchSize = 64,
    image_key: ImageKey = IMAGE_KEY,
    caption_key: CaptionKey = CAPTION_KEY,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    backend: BackendOption = None,
) -> None:
    """Measure loss and recall on pairs, beside what chance would give."""
    needs_keras()
    import kzoo
    from kzoo.evaluation.results import in_order

    opened = kzoo.from_preset(model)
    read = {"batch_size": batch_size, "image_key": image_key, "caption_key": caption_key, "skip_broken": skip_broken}
    data = pairs_of(source, opened.preprocessor, shuffle=False, every_caption=True, **read)
    opened.compile()
    found = opened.evaluate(data, verbose=0)
    results = {name: float(found[name]) for name in sorted(found, key=in_order)}
    size = min(batch_size, data.count)
    chances = {name: each for name in results if (each := _chance(name, data, size)) is not None}
    if as_json:
        about = {"pairs": data.count, "images": len(data.rows), "batch_size": size, "chance": chances}
        print(json.dumps(results | about))
        return
    images = "" if len(data.rows) == data.count else f" of {len(data.rows):,} images"
    table = Table(title=f"{data.count:,} pairs{images}, in batches of {size}", title_justify="left")
    table.add_column("measure")
    for heading in ("value", "chance"):
        table.add_column(heading, justify="right")
    for name, value in results.items():
        if len(opened.objective.term_names) == 1 and name == opened.objective.term_names[0]:
            continue  # the twin of the loss
        table.add_row(name, f"{value:.4f}", f"{chances[name]:.4f}" if name in chances else "")
    console.print(table)


def _chance(name, data, batch_size):
    """What a model that knows nothing would get; None where there is no such number."""
    if name == "in_batch_accuracy":
        return 1 / batch_size
    if "_recall@" not in name:
        return None
    k = int(name.rpartition("@")[2])
    # of a text one image is right, of an image each of its texts is: in the mean as many as there are to an image
    right = data.count / len(data.rows) if name.startswith("image_to_text") else 1
    among = data.count if name.startswith("image_to_text") else len(data.rows)
    missed = 1.0
    for drawn in range(min(k, among)):
        missed *= max(0.0, 1 - right / (among - drawn))
    return 1 - missed
