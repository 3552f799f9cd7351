"""`kzoo classify`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kzoo.adaptation.adapted_classifier import MODEL_FILE
from kzoo.adaptation.classifiers.classifier import CLASSIFIER_FILE
from kzoo.cli.options import BackendOption
from kzoo.cli.parts import image_files, open_model, unpacked
from kzoo.cli.terminal import console
from kzoo.files.writing import readable


def classify(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders; without --preset the model first.")],
    labels: Annotated[
        str | None, typer.Option(help="Class names, separated by commas; of a model of kzoo adapt its own.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset, hf://owner/name, folder of a model or of an ONNX export.")
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {}; repeat for more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
) -> None:
    """Classify images by prompts (zero-shot), or as kzoo adapt has taught."""
    if preset is None and (len(images) < 2 or images[0].is_file()):
        raise ValueError("there is no model, only images; name it: kzoo classify IMAGES --preset MODEL --labels a,b.")
    model, images = (str(images[0]), images[1:]) if preset is None else (preset, images)
    names = [label.strip() for label in (labels or "").split(",") if label.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--labels has {twice!r} twice; give each class once.")
    files = image_files(images)  # before the model, which takes longer to open
    if labels is None:
        adapted = _adapted(model, template)
        names, probabilities = adapted.classes, adapted.classify(unpacked(files))
    else:
        probabilities = open_model(model).classify(unpacked(files), names, templates=template or "a photo of a {}.")
    table = Table("image", "label", "probability")
    for path, row in zip(files, probabilities):
        if as_json:
            print(json.dumps({"image": str(path), **dict(zip(names, map(float, row)))}))
        table.add_row(str(path), names[int(row.argmax())], f"{row.max():.3f}")
    if not as_json:
        console.print(table)


def _adapted(model, template):
    """A model with the classifier beside it, which knows its classes."""
    if not any((readable(Path(model)) / each).is_file() for each in (CLASSIFIER_FILE, MODEL_FILE)):
        raise typer.BadParameter(
            "--labels is missing: class names, separated by commas, which this model does not have."
        )
    if template:
        raise typer.BadParameter("--template is for --labels; this model has its classes from kzoo adapt.")
    from kzoo.adaptation import AdaptedClassifier

    return AdaptedClassifier.load(model)
