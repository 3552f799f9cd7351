"""`kzoo shards`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.arguments import AMOUNT, COUNT
from kzoo.cli.options import CAPTION_KEY, IMAGE_KEY, CaptionKey, ImageKey, Overwrite, SkipBroken, taking
from kzoo.cli.terminal import console
from kzoo.data.streams.locations import is_shards


def shards(
    source: Annotated[str, typer.Argument(help="csv, tsv or jsonl table, folder of images with captions; or shards.")],
    output: Annotated[
        Path | None, typer.Argument(help="Folder to write; of shards none: their index is written.")
    ] = None,
    shard_size: Annotated[int, typer.Option(callback=taking(COUNT), help="Pairs of a shard.")] = 10_000,
    in_order: Annotated[bool, typer.Option("--in-order", help="Keep the order of the source; default mixed.")] = False,
    seed: Annotated[int, typer.Option(callback=taking(AMOUNT), help="Of the order.")] = 0,
    image_key: ImageKey = IMAGE_KEY,
    caption_key: CaptionKey = CAPTION_KEY,
    column: Annotated[list[str] | None, typer.Option(help="Further column to keep; repeat for more.")] = None,
    skip_broken: SkipBroken = False,
    overwrite: Overwrite = False,
) -> None:
    """Write pairs as tar shards for kzoo train, or the index of shards that are there."""
    from kzoo.data.streams.writing import write_index, write_shards

    if is_shards(source):
        if output is not None:
            raise ValueError(f"{source} is of shards already; leave {output} out, and their index is written.")
        console.print(f"wrote {write_index(source, skip_broken=skip_broken)}")
        return
    if output is None:
        raise typer.BadParameter("give the folder to write the shards into.", param_hint="OUTPUT")
    written = write_shards(
        source,
        output,
        shard_size=shard_size,
        shuffle=not in_order,
        seed=seed,
        skip_broken=skip_broken,
        image_key=image_key,
        caption_key=caption_key,
        columns=tuple(column or ()),
        overwrite=overwrite,
    )
    console.print(f"wrote {len(written):,} shards into {output}")
