"""The command line."""

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kzoo.data.folders import pictures_of
from kzoo.data.lines import read_lines
from kzoo.inference.caption import Writer

app = typer.Typer(
    help="Image-text models for Keras 3: train, measure, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()


class Backend(StrEnum):
    jax = "jax"
    tensorflow = "tensorflow"
    torch = "torch"


class Format(StrEnum):
    onnx = "onnx"
    tf_saved_model = "tf_saved_model"


class Layout(StrEnum):
    kzoo = "kzoo"
    transformers = "transformers"
    open_clip = "open_clip"


def _use(backend):
    """Set the backend of this process; Keras is imported after this and not before."""
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend.value


BackendOption = Annotated[
    Backend | None, typer.Option(callback=_use, help="Keras backend; default the first installed.")
]
Model = Annotated[str, typer.Argument(help="Preset, hf://owner/name, or folder of a saved model or checkpoint.")]
Embedding = Annotated[str, typer.Argument(help="The same, or the folder of an ONNX export (needs no Keras).")]
Source = Annotated[str, typer.Argument(help="csv, tsv or jsonl table, or folder of images with .txt captions.")]
BatchSize = Annotated[int, typer.Option(help="Pairs per batch.")]
ImageKey = Annotated[str, typer.Option(help="Column of image paths.")]
CaptionKey = Annotated[str, typer.Option(help="Column of captions.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Go on without unreadable rows, and list them.")]


@app.command()
def presets(family: Annotated[str | None, typer.Option(help="One family only, such as clip.")] = None):
    """List the architectures."""
    from kzoo.presets import list_presets

    rows = list_presets(family)
    table = Table()
    for heading in rows[0]:
        number = heading in ("parameters", "tokens")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading == "name")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)


@app.command()
def describe(name: Annotated[str, typer.Argument(help="Preset name.")]):
    """Print everything the table says about a preset."""
    from kzoo.presets import describe as describe_preset

    console.print(describe_preset(name), markup=False, highlight=False, soft_wrap=True)


@app.command()
def demo(
    captioner: Annotated[bool, typer.Option("--captioner", help="Name icons, instead of finding them.")] = False,
    backend: BackendOption = None,
    minutes: Annotated[float, typer.Option(help="Minutes of training.")] = 5.0,
    output: Annotated[
        Path | None, typer.Option(help="Folder for report and model; default kzoo-demo or kzoo-demo-captioner.")
    ] = None,
):
    """Train on icons from scratch and measure on held-out icons; export, and ask the export."""
    _needs_keras()
    if captioner:
        from kzoo.demo.captioner import run_captioner_demo

        run_captioner_demo(minutes, output or Path("kzoo-demo-captioner"), console)
    else:
        from kzoo.demo.run import run_demo

        run_demo(minutes, output or Path("kzoo-demo"), console)


@app.command()
def train(
    source: Source,
    output: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    preset: Annotated[str, typer.Option(help="Preset to train, folder or hf:// name to fine-tune.")] = "clip_nano",
    validation: Annotated[str | None, typer.Option(help="Source of pairs to measure after each epoch.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the source.")] = 10,
    batch_size: BatchSize = 64,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW; 1e-5 or less to fine-tune.")] = 5e-4,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of initialisation, order and captions.")] = 0,
    image_key: ImageKey = "image",
    caption_key: CaptionKey = "caption",
    skip_broken: SkipBroken = False,
    backend: BackendOption = None,
):
    """Train or fine-tune a model on pairs of your own."""
    keras = _needs_keras()
    import kzoo

    keras.utils.set_random_seed(seed)
    model = kzoo.from_preset(preset, load_weights=Path(preset).is_dir() or preset.startswith("hf://"))
    read = {"batch_size": batch_size, "image_key": image_key, "caption_key": caption_key, "skip_broken": skip_broken}
    data = kzoo.data.pairs(source, model.preprocessor, seed=seed, **read)
    if model.preprocessor.tokenizer is None:
        model.preprocessor.adapt(data.captions)
    if validation is not None:
        validation = kzoo.data.pairs(validation, model.preprocessor, shuffle=False, every_caption=True, **read)
    model.compile(kzoo.training.AdamW(learning_rate, weight_decay=weight_decay))
    model.fit(data, epochs=epochs, validation_data=validation)
    model.save_to_preset(output)
    console.print(f"saved the model in {output}")


@app.command()
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
    _needs_keras()
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


@app.command()
def embed(
    model: Embedding,
    output: Annotated[Path, typer.Option(help="npz file with image_embeddings and text_embeddings.")],
    images: Annotated[list[Path] | None, typer.Option(help="Image file or folder; repeat for more.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Text file, one text a line.")] = None,
    batch_size: BatchSize = 64,
    backend: BackendOption = None,
):
    """Embed images and texts into an npz file."""
    if not images and texts is None:
        raise ValueError("there is nothing to embed; give --images, --texts, or both.")
    opened, arrays = _open(model), {}
    if images:
        files = _image_files(images)
        arrays["image_embeddings"] = _in_steps(opened.encode_image, files, batch_size, "images")
        arrays["image_files"] = np.array([str(path) for path in files])
    if texts is not None:
        lines = [line for line in read_lines(texts) if line.strip()]
        arrays["text_embeddings"] = _in_steps(opened.encode_text, lines, batch_size, "texts")
        arrays["texts"] = np.array(lines)
    np.savez(output, **arrays)
    console.print(f"wrote {', '.join(f'{name} {array.shape}' for name, array in arrays.items())} to {output}")


@app.command()
def classify(
    model: Embedding,
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    labels: Annotated[str, typer.Option(help="Class names, separated by commas.")],
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {}; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
):
    """Classify images by prompts (zero-shot)."""
    opened, files = _open(model), _image_files(images)
    names = [label.strip() for label in labels.split(",") if label.strip()]
    probabilities = opened.classify(files, names, templates=template or "a photo of a {}.")
    table = Table("image", "label", "probability")
    for path, row in zip(files, probabilities):
        if as_json:
            print(json.dumps({"image": str(path), **dict(zip(names, map(float, row)))}))
        table.add_row(str(path), names[int(row.argmax())], f"{row.max():.3f}")
    if not as_json:
        console.print(table)


@app.command()
def caption(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    preset: Annotated[str, typer.Option(help="Captioner: preset, hf://owner/name, folder or ONNX export.")],
    strategy: Annotated[str, typer.Option(help="greedy, sample, beam or contrastive.")] = "greedy",
    prefix: Annotated[str | None, typer.Option(help="How every caption begins.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most ids of a caption, start and end included.")] = None,
    min_length: Annotated[int, typer.Option(help="Ids before a caption may end.")] = 0,
    num_captions: Annotated[int, typer.Option(help="Captions per image, of sample and beam.")] = 1,
    num_beams: Annotated[int | None, typer.Option(help="Of beam; default 4.")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="Of beam; above 0 favours long captions.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sample; below 1 sharpens.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Of sample and contrastive: among so many ids.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Of sample: among the fewest ids that hold this mass.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of contrastive: weight of being unlike what was said.")] = None,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 makes ids that were written less likely.")] = 1.0,
    no_repeat_ngram: Annotated[int, typer.Option(help="Bans so many ids in a row from coming twice.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Of sample.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images that are captioned together.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
):
    """Write captions of images."""
    options = {
        "prefix": prefix,
        "max_length": max_length,
        "min_length": min_length,
        "num_captions": num_captions,
        "num_beams": num_beams,
        "length_penalty": length_penalty,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "alpha": alpha,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "seed": seed,
        "return_scores": True,
    }
    opened, files = _open(preset), _image_files(images)
    if not isinstance(opened, Writer):
        raise ValueError(f"{preset} writes no captions: it has no decoder; take a captioner, such as coca_base.")
    table = Table("image", "caption", "score")
    for start in track(range(0, len(files), batch_size), "captions", console=Console(stderr=True)):
        batch = files[start : start + batch_size]
        captions, scores = opened.caption(batch, strategy, batch_size=batch_size, **options)
        for path, text, score in zip(batch, captions, scores.tolist()):
            if as_json:
                keys = ("caption", "score") if num_captions == 1 else ("captions", "scores")
                print(json.dumps({"image": str(path), **dict(zip(keys, (text, score)))}, ensure_ascii=False))
            for each in zip([text], [score]) if num_captions == 1 else zip(text, score):
                table.add_row(str(path), each[0], f"{each[1]:.3f}")
    if not as_json:
        console.print(table)


@app.command()
def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="Kind of graph.")] = Format.onnx,
    backend: BackendOption = None,
):
    """Export a saved model as verified graphs."""
    _needs_keras()
    import kzoo

    manifest = kzoo.from_preset(model).export(folder, format=format.value)
    for name, difference in manifest["worst_difference"].items():
        console.print(f"{name}: worst difference to the model {difference:.1e} at batch 1, 2 and 5")
    console.print(f"wrote {folder}")


@app.command()
def convert(
    model: Annotated[str, typer.Argument(help="Preset, hf://owner/name, or folder in any layout that kzoo reads.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Layout, typer.Option(help="Layout to write.")] = Layout.kzoo,
    push: Annotated[
        str | None, typer.Option(help="owner/name on the Hugging Face Hub to push to; public if it is new.")
    ] = None,
    backend: BackendOption = None,
):
    """Write a model in the layout of kzoo, transformers or open_clip, and push it to the Hugging Face Hub."""
    _needs_keras()
    import kzoo
    from kzoo.weights import hub

    if push is not None:
        hub.check_target(push)  # before the work
    opened = kzoo.from_preset(model)
    opened.save_to_preset(folder, format=format.value)
    console.print(f"wrote {folder}")
    if push is not None:
        console.print(f"pushed {opened.push_to_hub(push, format=format.value)}", soft_wrap=True)


def _needs_keras():
    """Keras, imported now that the backend is set."""
    from kzoo.backend import explain_missing

    try:
        import keras
    except ModuleNotFoundError as error:
        raise explain_missing(error) from error
    return keras


def _open(folder):
    """A saved model, or an export in the runtime."""
    from kzoo.export.manifest import is_export

    if is_export(Path(folder)):
        from kzoo.export import runtime

        return runtime.load(folder)
    _needs_keras()
    import kzoo

    return kzoo.from_preset(folder)


def _image_files(places):
    files = []
    for place in places:
        files += pictures_of(place) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"there are no images in {', '.join(map(str, places))}.")
    return files


def _in_steps(encode, sources, batch_size, name):
    steps = range(0, len(sources), batch_size)
    rows = [encode(sources[start : start + batch_size], batch_size) for start in track(steps, name, console=console)]
    return np.concatenate(rows) if rows else encode([])


def main():
    """Entry point: bad input ends with one sentence and exit code 1, wrong usage with 2."""
    try:
        app()
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, ArithmeticError) as error:
        errors = Console(stderr=True)
        errors.print(f"kzoo: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
