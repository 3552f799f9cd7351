"""`kzoo index`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kzoo.arguments import COUNT
from kzoo.cli.options import taking
from kzoo.cli.terminal import console
from kzoo.inference.stored import ARRAYS, read_stored
from kzoo.retrieval import BinaryIndex, ExactIndex, Index, ProductIndex
from kzoo.retrieval.product import PARTS


class Kind(StrEnum):
    exact = "exact"
    binary = "binary"
    product = "product"


class Modality(StrEnum):
    image = "image"
    text = "text"


Of = Annotated[
    Modality | None, typer.Option(help="Whose embeddings; default those of images, of texts where there are no others.")
]


def index(
    embeddings: Annotated[Path, typer.Argument(help="npz file that kzoo embed wrote.")],
    output: Annotated[Path, typer.Option(help="File to write, .safetensors.")],
    kind: Annotated[
        Kind, typer.Option(help="exact: floats as they are; binary: a bit a channel; product: --parts bytes a row.")
    ] = Kind.product,
    parts: Annotated[
        int | None, typer.Option(callback=taking(COUNT), help="Bytes of a product code; must divide the channels.")
    ] = None,
    of: Of = None,
) -> None:
    """Make an index of embeddings, which kzoo search searches."""
    if parts is not None and kind != Kind.product:
        raise ValueError(f"--parts is {parts}, which is of --kind product alone; leave it out.")
    if output.suffix != ".safetensors":
        raise ValueError(f"--output is {str(output)!r}; give a name that ends in .safetensors.")
    made = index_of(embeddings, of, kind, parts or PARTS)
    made.save(output)
    console.print(f"wrote {made!r} to {output}", highlight=False, soft_wrap=True)


def index_of(path, of, kind, parts=PARTS) -> Index:
    """An index of what `kzoo embed` wrote."""
    arrays = read_stored(path)
    modality = of or next((each for each in ARRAYS if ARRAYS[each][0] in arrays), "image")
    rows, names = ARRAYS[modality]
    if rows not in arrays:
        raise ValueError(f"{path} has no {rows}, only {', '.join(arrays)}; embed them, or choose another --of.")
    if kind == Kind.product:
        return ProductIndex(arrays[rows], arrays.get(names), parts)
    return (BinaryIndex if kind == Kind.binary else ExactIndex)(arrays[rows], arrays.get(names))
