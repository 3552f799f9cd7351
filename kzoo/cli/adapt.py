"""`kzoo adapt`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kzoo.adaptation.methods import METHODS, check_settings, method_called
from kzoo.arguments import AMOUNT, COUNT
from kzoo.cli.options import BackendOption, BatchSize, Overwrite, SkipBroken, taking
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.files.writing import try_folder


def adapt(
    photos: Annotated[Path, typer.Argument(help="Folder with a folder of pictures for each class.")],
    preset: Annotated[str, typer.Option(help="Preset, hf://owner/name, or folder of a saved model or checkpoint.")],
    output: Annotated[Path, typer.Option(help="Folder for the adapted model.")],
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "gda",
    shots: Annotated[
        int | None,
        typer.Option(callback=taking(COUNT), help="Pictures of each class to adapt with; default all but a fifth."),
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Such a folder to measure with; default the pictures that are not shown.")
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Text of a class with {}; repeat for more.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Of the method distil: preset, model, export, adapted model, or .npz of kzoo embed."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the method, such as alpha=0.5; repeat for more.")
    ] = None,
    seed: Annotated[int, typer.Option(callback=taking(AMOUNT), help="Of the pictures that are drawn.")] = 0,
    batch_size: BatchSize = 64,
    skip_broken: SkipBroken = False,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    backend: BackendOption = None,
) -> None:
    """Adapt a model to classes of your own, with a few pictures of each.

    The report compares the adapted model with the zero-shot classifier on pictures that it was not shown. What is
    written is opened by kzoo classify, without --labels, and by kzoo.adaptation.AdaptedClassifier.load.
    """
    settings = settings_of(setting or []) | ({} if teacher is None else {"teacher": teacher})
    check_settings(method, method_called(method), settings)
    _check_apart(output, photos, held_out)
    try_folder(output, "kzoo", overwrite)
    from kzoo.adaptation.examples import drawn, read_examples

    data = read_examples(photos, name="the source")  # before the model, which takes longer to open
    if not skip_broken:
        drawn(data, shots, seed, held_out is not None)
    others = None if held_out is None else read_examples(held_out, data.classes, "held_out")
    needs_keras()
    import kzoo
    from kzoo.adaptation.adapt import adapted
    from kzoo.adaptation.texts import TEMPLATE
    from kzoo.cli.adapting import Shown, Worker

    model = kzoo.from_preset(preset)
    found = adapted(
        *(model, data, method, settings, Worker(batch_size) if as_json else Shown(batch_size), data.classes),
        *(shots, seed, template or TEMPLATE, others, skip_broken),
    )
    found.model.save(output, overwrite=overwrite)
    if as_json:
        print(json.dumps(found.report.as_dict()))
        return
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in found.report.cells():
        table.add_row(*row)
    console.print(table)
    console.print(f"wrote {output}")


def settings_of(given) -> dict[str, Any]:
    """Settings from `NAME=VALUE`: a value is a number, true, false or a list as JSON has them, and else a text.

    Example:
        >>> settings_of(["alpha=0.5", "init=a photo of a"])
        {'alpha': 0.5, 'init': 'a photo of a'}
    """
    settings = {}
    for each in given:
        name, sign, value = each.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise ValueError(f"--setting is {each!r}; give NAME=VALUE, such as alpha=0.5.")
        if name in settings:
            raise ValueError(f"--setting has {name} twice; give each once.")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _check_apart(output, *sources):
    """A model in a folder of classes would be a class of it, the next time."""
    for source in sources:
        if source is not None and source.is_dir() and output.resolve().is_relative_to(source.resolve()):
            raise ValueError(
                f"--output is {output}, within {source}, whose folders are classes; give a folder beside it."
            )
