"""Arguments and options that several commands have."""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from kzoo.arguments import COUNT, shown

IMAGE_KEY, CAPTION_KEY = "image", "caption"  # of tables, where nothing else is said


class Backend(StrEnum):
    jax = "jax"
    tensorflow = "tensorflow"
    torch = "torch"


class Format(StrEnum):
    onnx = "onnx"
    tf_saved_model = "tf_saved_model"
    openvino = "openvino"
    litert = "litert"
    torch_export = "torch_export"


class Layout(StrEnum):
    kzoo = "kzoo"
    transformers = "transformers"
    open_clip = "open_clip"


def taking(kind) -> Callable:
    """The callback of an option whose value is of a kind of `kzoo.arguments`: others end with exit code 2, before the
    command has begun."""

    def look(value):
        if value is not None and kind.wrong(value) is not None:
            raise typer.BadParameter(f"it is {shown(value)}; {kind.asked()}.")
        return value

    return look


def _use(backend):
    """Set the backend of this process; Keras is imported after this and not before."""
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend.value


BackendOption = Annotated[
    Backend | None, typer.Option(callback=_use, help="Keras backend; default the first installed.")
]
Model = Annotated[str, typer.Argument(help="Preset, hf://owner/name, or folder of a saved model or checkpoint.")]
Embedding = Annotated[str, typer.Argument(help="The same, or an export to ONNX, OpenVINO or LiteRT (needs no Keras).")]
Source = Annotated[
    str,
    typer.Argument(
        help="csv, tsv or jsonl table, folder of images with .txt captions, or shards: data-{0000..0999}.tar."
    ),
]
BatchSize = Annotated[int, typer.Option(callback=taking(COUNT), help="Rows per batch.")]
ImageKey = Annotated[str, typer.Option(help="Column of image paths; of shards, the ending or column of pictures.")]
CaptionKey = Annotated[str, typer.Option(help="Column of captions; of shards, a field of the .json, or a column.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what stands in the folder in another layout, too.")
]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Go on without unreadable rows, and list them.")]
