"""`kzoo embed`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from kzoo.cli.options import CAPTION_KEY, BackendOption, BatchSize, CaptionKey, Embedding, SkipBroken
from kzoo.cli.parts import image_files, in_steps, open_model, packed, readable_images, texts_of
from kzoo.cli.terminal import console
from kzoo.files import limits
from kzoo.files.single import replacing


def embed(
    model: Embedding,
    output: Annotated[Path, typer.Option(help="npz file with image_embeddings and text_embeddings.")],
    images: Annotated[list[Path] | None, typer.Option(help="Image file, folder or shards; repeat for more.")] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Text file, one text a line; table of captions (csv, tsv, jsonl); or shards, one a sample."),
    ] = None,
    caption_key: CaptionKey = CAPTION_KEY,
    batch_size: BatchSize = 64,
    skip_broken: SkipBroken = False,
    backend: BackendOption = None,
) -> None:
    """Embed images and texts into an npz file."""
    if not images and texts is None:
        raise ValueError("there is nothing to embed; give --images, --texts, or both.")
    output = output if output.suffix == ".npz" else output.with_name(f"{output.name}.npz")
    with replacing(output) as target:  # open before the work, whose end it is
        opened, arrays = open_model(model), {}
        if images:
            files = image_files(images)
            files = readable_images(files, opened.preprocessor.images) if skip_broken else files
            names = _strings([str(path) for path in files], "names of images")
            arrays["image_embeddings"] = in_steps(opened.encode_image, files, batch_size, "images")
            arrays["image_files"] = names
        if texts is not None:
            rows = packed(texts)
            if rows is None:
                lines = texts_of(texts, caption_key)
            else:  # the first of a sample, so that texts and pictures stand in equal rows
                lines = [rows.texts(number)[0][0] for number in range(len(rows))]
            kept = _strings(lines, "texts")
            arrays["text_embeddings"] = in_steps(opened.encode_text, lines, batch_size, "texts")
            arrays["texts"] = kept
        np.savez(target, **arrays)
    console.print(f"wrote {', '.join(f'{name} {array.shape}' for name, array in arrays.items())} to {output}")


def _strings(values, what):
    """An array of strings, in which each takes the room of the longest."""
    longest = max(map(len, values), default=0)
    size = 4 * longest * len(values)
    if size > limits.STRINGS:
        raise ValueError(
            f"{len(values):,} {what} of up to {longest:,} characters would take {size:,} bytes, more than the "
            f"{limits.STRINGS:,} of kzoo.files.limits.STRINGS; cut the longest, or embed them by themselves."
        )
    return np.array(values)
