"""`kzoo evaluate`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from kzoo.cli.options import BackendOption, BatchSize, CaptionKey, ImageKey, Model, SkipBroken, Source
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console


def evaluate(
    model: Model,
    source: Source,
    batch_size: BatchSize = 64,
    image_key: ImageKey = "image",
    caption_key: CaptionKey = "caption",
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    backend: BackendOption = None,
):
    """Measure loss and recall on pairs."""
    needs_keras()
    import kzoo

    opened = kzoo.from_preset(model)
    read = {"batch_size": batch_size, "image_key": image_key, "caption_key": caption_key, "skip_broken": skip_broken}
    data = kzoo.data.pairs(source, opened.preprocessor, shuffle=False, every_caption=True, **read)
    opened.compile()
    results = {name: float(value) for name, value in opened.evaluate(data, verbose=0).items()}
    if as_json:
        print(json.dumps(results))
        return
    table = Table("measure", "value")
    for name, value in results.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
