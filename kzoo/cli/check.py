"""`kzoo check`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.cli.training_folder import MODEL, STATE, TrainingFolder
from kzoo.files.findings import Findings


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of a model in any layout that kzoo reads, of an adapter, an export or a training; or the "
            ".safetensors file of a classifier or an index."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    backend: BackendOption = None,
) -> None:
    """Look through a folder without building its model, and print everything that is wrong with it."""
    if folder.is_file() and folder.suffix == ".safetensors":
        layout, found = _of_a_file(folder)
    else:
        layout, found = _of_a_folder(folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "layout": layout, "problems": found}, indent=2))
    elif found:
        for sentence in found:
            console.print(sentence, highlight=False, soft_wrap=True)
        count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
        console.print(f"{count} in {folder}", highlight=False, soft_wrap=True)
    else:
        console.print(f"{folder}: {layout}, nothing is wrong", highlight=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)


def _of_a_file(path):
    """Class of what a classifier or an index was saved as, and what is wrong."""
    found = Findings()
    opened = found.attempt(_opened, path)
    return opened and type(opened).__name__, found


def _opened(path):
    from kzoo.adaptation import EmbeddingClassifier
    from kzoo.retrieval.index import Index, is_index

    return (Index if is_index(path) else EmbeddingClassifier).load(path)


def _of_a_folder(folder):
    """Layout, and what is wrong."""
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file, of which kzoo check reads those of classifiers and indexes alone, .safetensors; "
            "give the folder of a model, or open a .keras file with kzoo.load_model."
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give one that holds a model or an export.")
    from kzoo.export.manifest import MANIFEST_FILE
    from kzoo.weights.peft import CONFIG_FILE

    if (folder / MANIFEST_FILE).exists() and not (folder / "config.json").exists():
        from kzoo.export.checking import problems
    elif (folder / CONFIG_FILE).exists() and not (folder / "config.json").exists():
        from kzoo.weights.adapter_checking import problems
    else:
        needs_keras()
        from kzoo.presets.checking import problems
    layout, found = problems(folder)
    training = TrainingFolder(folder)
    if (training.last / STATE).is_file():  # which has a model only once an epoch is done
        found = found if (folder / MODEL).is_file() else Findings()
        layout, of_training = problems(training.last)
        of_training.attempt(training.open)
        found += of_training
    return layout, found
