"""`kzoo export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kzoo.arguments import INNER, SHARE, whole
from kzoo.cli.options import (
    CAPTION_KEY,
    IMAGE_KEY,
    BackendOption,
    CaptionKey,
    Format,
    ImageKey,
    Model,
    Overwrite,
    taking,
)
from kzoo.cli.parts import image_files, needs_keras, pairs_of, texts_of, unpacked
from kzoo.cli.terminal import console
from kzoo.export.formats import FORMATS
from kzoo.export.manifest import FIRST_OPSET
from kzoo.files.writing import try_folder


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"


class Quantized(StrEnum):
    int8 = "int8"
    float16 = "float16"


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="Kind of graph.")] = Format.onnx,
    opset: Annotated[
        int | None, typer.Option(callback=taking(whole(FIRST_OPSET)), help="Version of ONNX's operators; default 18.")
    ] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Of weights, in ONNX or OpenVINO; float16: half.")] = None,
    quantize: Annotated[
        Quantized | None,
        typer.Option(help="int8: products in int8, as near to float32 as --min-cosine; float16: weights stored so."),
    ] = None,
    samples: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures to measure the loss on: file, folder or shards; repeat for more."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Texts to measure it on: one a line, or the captions of a table.")
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="Pairs to measure it on, and recall too: table, folder with captions, or shards.")
    ] = None,
    min_cosine: Annotated[
        float | None, typer.Option(callback=taking(INNER), help="Smallest cosine to float32; default 0.999.")
    ] = None,
    max_recall_drop: Annotated[
        float | None, typer.Option(callback=taking(SHARE), help="Most that recall may fall on --pairs; default 0.01.")
    ] = None,
    image_key: ImageKey = IMAGE_KEY,
    caption_key: CaptionKey = CAPTION_KEY,
    overwrite: Overwrite = False,
    backend: BackendOption = None,
) -> None:
    """Export a saved model as verified graphs."""
    given = {"opset": opset, "dtype": dtype and dtype.value}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FORMATS[format.value].options:
            takers = " or ".join(each for each in FORMATS if name in FORMATS[each].options)
            raise typer.BadParameter(f"--{name} is of {takers}; leave it out, or take such a --format.")
    measured = {"samples": samples, "texts": texts, "pairs": pairs}
    bounds = {"min_cosine": min_cosine, "max_recall_drop": max_recall_drop}
    bounds = {name: value for name, value in bounds.items() if value is not None}
    _check(format, quantize, measured, bounds)
    given |= bounds | ({} if quantize is None else {"quantize": quantize.value})
    asked = {"images": image_files(samples) if samples else [], "texts": texts_of(texts, caption_key) if texts else []}
    try_folder(folder, format.value, overwrite)
    needs_keras()
    import kzoo

    opened = kzoo.from_preset(model)
    if pairs is not None:
        given["samples"] = pairs_of(
            pairs, opened.preprocessor, image_key, caption_key, shuffle=False, every_caption=True
        )
    elif quantize is not None:
        given["samples"] = {"images": unpacked(asked["images"]), "texts": asked["texts"]}
    manifest = _with_classifier(opened, model).export(folder, format=format.value, overwrite=overwrite, **given)
    for name, difference in manifest["worst_difference"].items():
        console.print(f"{name}: worst difference to the model {difference:.1e} at batch 1, 2 and 5")
    if quantize is not None:
        _show(manifest["quantized"])
    console.print(f"wrote {folder}")


def _with_classifier(opened, model):
    """A model with the classifier that kzoo adapt has left beside it, which leaves with it."""
    from kzoo.adaptation import AdaptedClassifier, EmbeddingClassifier
    from kzoo.adaptation.classifiers.classifier import CLASSIFIER_FILE

    beside = Path(model) / CLASSIFIER_FILE
    if not beside.is_file():
        return opened
    console.print(f"with the classifier beside the model, {CLASSIFIER_FILE}")
    return AdaptedClassifier(opened, EmbeddingClassifier.load(beside))


def _check(format, quantize, measured, bounds):
    """Stops where options do not go together."""
    given = [name for name, value in measured.items() if value]
    if quantize is None:
        further = [*given, *bounds]
        if further:
            flag = further[0].replace("_", "-")
            raise typer.BadParameter(f"--{flag} is of a quantised export; give --quantize int8, or leave it out.")
    elif format is not Format.onnx:
        raise typer.BadParameter("--quantize is of onnx; leave it out, or take such a --format.")
    elif not given:
        raise typer.BadParameter(
            f"--quantize {quantize.value} needs pictures or texts to measure its loss on; give --samples photos/, "
            "--texts, or --pairs."
        )
    elif "pairs" in given and len(given) > 1:
        raise typer.BadParameter("--pairs has pictures and texts; leave out --samples and --texts.")


def _show(quantized):
    """A row for each graph, and what was measured of all together."""
    table = Table("graph", "level", title="beside float32, on the samples", title_justify="left")
    for heading in ("least cosine", "mean", "MB before", "after", "times as fast"):
        table.add_column(heading, justify="right")
    for name, graph in quantized["graphs"].items():
        cosine, size = graph.get("cosine", {"min": 1.0, "mean": 1.0}), graph["bytes"]
        sizes = [f"{size[each] / 1e6:.1f}" for each in ("float32", "quantized")]
        speed = f"{graph['speed']:.2f}" if "speed" in graph else ""
        table.add_row(name, graph["level"], f"{cosine['min']:.5f}", f"{cosine['mean']:.5f}", *sizes, speed)
    console.print(table)
    console.print("Speed: batches of 8, one thread, in turn.")
    for name, recall in quantized.get("recall", {}).items():
        before, after = recall["float32"], recall[quantized["to"]]
        console.print(f"{name}: {before:.3f} in float32, {after:.3f} in {quantized['to']}")
    if "equal_captions" in quantized:
        console.print(f"captions that stay the same: {quantized['equal_captions']:.0%}")
