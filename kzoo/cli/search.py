"""`kzoo search`."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from kzoo.arguments import COUNT
from kzoo.cli.index import Kind, Of, index_of
from kzoo.cli.options import BackendOption, Embedding, taking
from kzoo.cli.parts import image_files, open_model, unpacked
from kzoo.cli.terminal import console
from kzoo.inference.stored import SUFFIX
from kzoo.retrieval import Index


def search(
    model: Embedding,
    index: Annotated[Path, typer.Argument(help="File of kzoo index, or npz file of kzoo embed, searched exactly.")],
    text: Annotated[list[str] | None, typer.Option(help="What to search for; repeat for more.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Image file or folder to search for; repeat.")] = None,
    top: Annotated[int, typer.Option(callback=taking(COUNT), help="How many to find.")] = 5,
    of: Of = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
) -> None:
    """Find the nearest images or texts of an index."""
    if not text and not image:
        raise ValueError("there is nothing to search for; give --text, --image, or both.")
    if of is not None and index.suffix != SUFFIX:
        raise ValueError(f"--of is {of}, but {index} is an index already; leave it out.")
    searched = index_of(index, of, Kind.exact) if index.suffix == SUFFIX else Index.load(index)
    files = image_files(image) if image else []
    opened, asked = open_model(model), []
    rows = [opened.encode_text(text)] if text else []
    asked += text or []
    if files:
        rows.append(opened.encode_image(unpacked(files)))
        asked += map(str, files)
    found = searched.search(np.concatenate(rows), min(top, len(searched)))
    table = Table("query", "found", "score")
    for query, scores, places in zip(asked, found.scores, found.places):
        names = [str(place) if searched.names is None else searched.names[place] for place in places.tolist()]
        if as_json:
            print(json.dumps({"query": query, "found": names, "scores": scores.astype(float).tolist()}))
        for name, score in zip(names, scores):
            table.add_row(query, name, f"{score:.3f}")
    if not as_json:
        console.print(table)
