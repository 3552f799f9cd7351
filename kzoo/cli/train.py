"""`kzoo train`."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kzoo.arguments import AMOUNT, COUNT, NOT_NEGATIVE, POSITIVE, SIDE, number, whole
from kzoo.cli.devices import LAUNCHED, is_first, launch, split_cpu, wants_processes
from kzoo.cli.options import CAPTION_KEY, IMAGE_KEY, BackendOption, CaptionKey, ImageKey, SkipBroken, Source, taking
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console
from kzoo.cli.training_folder import TrainingFolder
from kzoo.data.folders import metadata_of
from kzoo.files.schema import shown
from kzoo.files.single import try_file
from kzoo.files.words import said_by

GOING_ON = {"source", "output", "resume", "restart", "backend", "log", "devices"}  # of the command, not of the training
# options that a training may be resumed with: a picture may turn out broken late, another machine have less memory
ALWAYS = GOING_ON | {"skip_broken", "micro_batch_size"}


class Schedule(StrEnum):
    cosine = "cosine"
    linear = "linear"
    constant = "constant"


class Pictures(StrEnum):
    none = "none"
    shift = "shift"
    crop = "crop"


def train(
    context: typer.Context,
    source: Source,
    output: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    preset: Annotated[str, typer.Option(help="Preset to train, folder or hf:// name to fine-tune.")] = "clip_nano",
    validation: Annotated[
        str | None, typer.Option(help="Source of pairs to measure after each epoch; the best epoch is kept.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Random weights, and a vocabulary learnt from the captions.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training, without its options.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin an interrupted training anew.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="How to train, such as clip_finetune; what is said beside it goes first.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(callback=taking(COUNT), help="Passes over the source; default by its size.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(callback=taking(whole(2)), help="Pairs per batch; default by their number.")
    ] = None,
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            callback=taking(COUNT), help="Pairs that go through the towers at a time; default what fits into memory."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(callback=taking(POSITIVE), help="At its peak; default by the model's size.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(callback=taking(NOT_NEGATIVE), help="Default 0.3 from scratch, else 0.05.")
    ] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="Of the learning rate; default cosine.")] = None,
    augmentation: Annotated[
        Pictures | None, typer.Option(help="Of pictures; default shift from scratch, else crop.")
    ] = None,
    word_dropout: Annotated[
        float | None,
        typer.Option(
            callback=taking(number(least=0, most=0.9)), help="Share of words left out; default 0.3 for few pairs."
        ),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="Loss, such as SigmoidContrastive; default the preset's.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Model to learn from beside the pairs: a folder, an export, a preset, or an npz file of kzoo embed; "
            "without --loss LogitDistillation is added."
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="What to leave as it is: image, text or a pattern such as **.bias; repeat for more."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(callback=taking(SIDE), help="Side in pixels, if not the preset's.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as mixed_bfloat16; default float32.")] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            callback=taking(COUNT), help="Stop after so many epochs without a better one; needs --validation."
        ),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="File to add the lines of the epochs to.")] = None,
    seed: Annotated[int, typer.Option(callback=taking(AMOUNT), help="Of initialisation, order and captions.")] = 0,
    image_key: ImageKey = IMAGE_KEY,
    caption_key: CaptionKey = CAPTION_KEY,
    skip_broken: SkipBroken = False,
    devices: Annotated[
        int | None, typer.Option(callback=taking(COUNT), help="GPUs or TPU cores that share each batch; default one.")
    ] = None,
    backend: BackendOption = None,
) -> None:
    """Train or fine-tune a model on pairs of your own.

    What is not said is chosen by the number of pairs and the size of the model. A training that was interrupted,
    by Ctrl-C or with its machine, goes on where it was when the same command is given again.
    """
    folder = TrainingFolder(output)
    for read in (source, validation):
        _check_apart(output, read)
    options = {name: value for name, value in context.params.items() if name not in GOING_ON | {"overwrite"}}
    asked = json.loads(json.dumps({"source": str(source)} | options))
    of_training = {name: asked[name] for name in asked if name not in ALWAYS - {"source"}}
    goes_on = folder.check(resume, overwrite, restart, of_training, writes=is_first())
    if log is not None and is_first():
        try_file(log)
    options |= {"asked_source": asked["source"], "asked_from_scratch": asked["from_scratch"]}
    if goes_on:
        _check_kept(context, folder.options, folder.last)
        _check_unchanged(context, folder.options)
        options = folder.options = folder.options | {
            "skip_broken": skip_broken or folder.options["skip_broken"],
            "micro_batch_size": micro_batch_size or folder.options.get("micro_batch_size"),
        }
    if options["patience"] is not None and options["validation"] is None:
        raise typer.BadParameter("--patience waits for better numbers on held-out pairs; give them as --validation.")
    cpus = split_cpu()
    keras = needs_keras()
    if wants_processes(devices, keras.config.backend()):
        raise typer.Exit(launch(devices, cpus))
    console.quiet = not is_first()
    from kzoo.cli.training_run import run
    from kzoo.scale import start

    with start(devices or 1) if LAUNCHED not in os.environ else start():
        code = run(source, folder, options, log)
    raise typer.Exit(code)


def _check_kept(context, kept, folder):
    """What a training was asked for is read from a file: it must be what the command could have been given."""
    for parameter in context.command.params:
        name = parameter.name
        if name in ALWAYS | {"overwrite"}:
            continue
        if name not in kept:
            raise ValueError(f"the training in {folder} does not say its {name}; begin anew in another folder.")
        try:
            parameter.process_value(context, kept[name])
        except (typer.BadParameter, TypeError, ValueError) as error:
            said = said_by(getattr(error, "message", error))
            raise ValueError(f"the training in {folder} says {name}={shown(kept[name])}: {said}.") from error


def _check_apart(output, source):
    """All pictures in a folder of captions are read: curves.png would be one of them, in the next training."""
    place = source and Path(source)
    if place and place.is_dir() and metadata_of(place) is None and output.resolve().is_relative_to(place.resolve()):
        raise ValueError(
            f"--output is {output}, within {source}, of which every picture is read, curves.png of this training too; "
            "give a folder beside it."
        )


def _check_unchanged(context, before):
    """A training goes on as it began: an option that says otherwise is refused."""
    for name, value in context.params.items():
        given = context.get_parameter_source(name).name == "COMMANDLINE"
        if given and name not in ALWAYS and before.get(name) != value:
            raise ValueError(
                f"--{name.replace('_', '-')} was {before.get(name)} when this training began and stays so; leave it "
                "out, or begin anew in another folder."
            )
