"""A training of `kzoo train`, from its options to its folder."""

import copy
import signal
from pathlib import Path

import keras

import kzoo
from kzoo import keras_contact
from kzoo.adaptation.distillation.with_teacher import with_teacher
from kzoo.adaptation.freezing import freeze
from kzoo.arguments import one_of
from kzoo.cli.parts import pairs_of
from kzoo.cli.progress import Watch
from kzoo.cli.terminal import console
from kzoo.data.cut_texts import CutTexts
from kzoo.data.streams.locations import is_shards
from kzoo.drawing import can_draw
from kzoo.files.words import said_by
from kzoo.losses import LogitDistillation
from kzoo.losses.spec import from_spec
from kzoo.models import SelfSupervised
from kzoo.models.intake import Intake
from kzoo.preprocessing.decoding import check_picture
from kzoo.presets.build import PARTS, parts_of
from kzoo.presets.table import is_preset, read_row
from kzoo.scale.engine import count, once, process
from kzoo.scale.memory import fitting_micro_batch
from kzoo.training import Resume
from kzoo.training.named_recipes import NAMED
from kzoo.training.recipes import augmentation_of, choose_recipe, loss_of, optimizer_of
from kzoo.training.recipes import recipe as recipe_of

VOCABULARY = 8192  # most ids of a vocabulary that a large preset learns from captions
INTERRUPTED, TERMINATED = 130, 143  # exit codes, as shells give them
EVERY = "5 min"  # beside the end of each epoch, a checkpoint
OF_RECIPE = ("batch_size", "epochs", "learning_rate", "weight_decay", "schedule", "augmentation", "word_dropout")
OF_SOURCE = ("image_key", "caption_key", "skip_broken")


class Terminated(KeyboardInterrupt):
    """SIGTERM: a machine that is taken away."""


def _terminated(number, frame):
    raise Terminated


def run(source, folder, options, log) -> int:
    """Train, or go on.

    Args:
        source: of pairs.
        folder: `TrainingFolder`; of a training that goes on it is open.
        options: dict of what the command was asked for.
        log: path of a file for the lines of the epochs, or None.

    Returns:
        The exit code: 0, or where the training was interrupted 130, and 143 where that was by SIGTERM.
    """
    (one_of(*NAMED) | None)("--recipe", options["recipe"])
    keras.utils.set_random_seed(options["seed"])
    goes_on = folder.has_begun()
    model = kzoo.from_preset(folder.last, dtype=options["dtype"]) if goes_on else _opened(options)
    read = {name: options[name] for name in OF_SOURCE}
    data = pairs_of(source, model.preprocessor, batch_size=2, seed=options["seed"], **read)
    given = {name: options[name] for name in OF_RECIPE} | {"name": options["recipe"]}
    recipe = choose_recipe(data.count, model.count_params(), options["from_scratch"], **given)
    if recipe.batch_size > data.count:
        raise ValueError(
            f"--batch-size is {recipe.batch_size}, but {source} has only {data.count} pairs; take a smaller one."
        )
    data.batch_size, data.augmentation = recipe.batch_size, augmentation_of(recipe)
    data.word_dropout = recipe.word_dropout
    _learn_vocabulary(model, data)
    held_out = (
        None
        if options["validation"] is None
        else pairs_of(
            options["validation"],
            model.preprocessor,
            batch_size=recipe.batch_size,
            shuffle=False,
            every_caption=True,
            **read,
        )
    )
    if options.get("teacher") is not None:
        data, held_out = (each and with_teacher(each, options["teacher"]) for each in (data, held_out))
    if not goes_on:
        _compile(model, recipe, recipe.epochs * len(data), options)
    resume = Resume(folder.checkpoints, every=EVERY)
    watch = Watch(folder, recipe.epochs, options["patience"], log, resume, _plan(model, recipe, data))
    if said := _fit_into_memory(model, recipe, options):
        watch.say(said)
    if not can_draw():
        watch.say("curves.png is left out: pip install matplotlib")
    if not goes_on:
        _try_first(model, data)  # before anything is left behind
        if held_out and not options["skip_broken"] and not is_shards(options["validation"]):
            _check_pictures(held_out)
        once(lambda: folder.begin(model, options))
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        _fit(model, data, held_out, recipe, len(folder.history), [watch, resume])
    except KeyboardInterrupt as asked:
        if process()[0] == 0:  # the others may be somewhere else
            watch.say(_interrupted(model, folder, source))
        return TERMINATED if isinstance(asked, Terminated) else INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        watch.close()
    folder.history, folder.best = watch.history, watch.best
    once(folder.finish)
    watch.say(f"saved the model in {folder.path}{_of_epoch(folder, recipe)}")
    return 0


def _opened(options):
    """The model to start from: with its weights unless there are none, or none are wanted."""
    name, more = options["preset"], {"image_size": options["image_size"], "dtype": options["dtype"]}
    row = read_row(name) if not Path(name).is_dir() and is_preset(name) else None
    if row is not None:
        _check_pairs(name, row.get("model"), parts_of(row))
    anew = options["recipe"] is not None and recipe_of(options["recipe"]).from_scratch
    options["from_scratch"] = options["from_scratch"] or anew or (row is not None and row["weights"] is None)
    if options["from_scratch"] and row is not None and row["tokenizer"]["kind"] != "trained_bpe":
        more["vocab_size"] = VOCABULARY
    model = kzoo.from_preset(name, load_weights=not options["from_scratch"], **more)
    _check_pairs(name, model.kind, model.towers())
    return model


def _check_pairs(name, kind, towers):
    """Stops before a model that pairs do not train: one of views, or of other modalities."""
    if kind == SelfSupervised.kind or not set(towers) <= set(PARTS):
        raise ValueError(
            f"kzoo train learns from pictures with captions, but {name} is a {kind} model of {', '.join(towers)}; "
            "train it from Python, kzoo.describe says with what data."
        )


def _learn_vocabulary(model, data):
    preprocessor = model.preprocessor
    if preprocessor.tokenizer is None and "train" in preprocessor.vocabulary:
        preprocessor.adapt(data.captions)
        count = preprocessor.tokenizer.vocab_size
        console.print(f"learnt a vocabulary of {count:,} ids from the captions", highlight=False)
    preprocessor.check_vocabulary()


def _try_first(model, data):
    """Stops at a loss that this model does not feed, at pictures and columns that it cannot take, by a first batch."""
    first = copy.copy(data)
    first.cut = CutTexts(model.preprocessor)  # what is cut here is none of the epoch's
    with Intake(model, model.objective) as intake:
        batch = intake.take(first.at(0, 0))
    model.objective.check_there({*batch, *model.gives(batch), "logit_scale", "logit_bias"}, model.any_number())


def _check_pictures(data):
    """Stops at a file of held-out pictures that is none: they are read when an epoch is over, which may take days."""
    for row in data.rows:
        try:
            check_picture(row.image)
        except ValueError as error:
            raise ValueError(f"{row.place}: {error} Mend the source, or go on without it: skip_broken=True.") from error


def _compile(model, recipe, steps, options):
    for each in options["freeze"] or recipe.locked:
        try:
            freeze(model, model.tower_names.get(each, each))  # a modality, or a pattern of paths
        except ValueError as error:
            raise ValueError(f"--freeze: the model has {', '.join(model.modalities())}; {said_by(error)}.") from error
    try:
        named = options["loss"] or recipe.loss
        loss = from_spec([{"loss": named}] if named else loss_of(recipe, model.loss_spec))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"--loss is {options['loss']}: {said_by(error)}.") from error
    if options.get("teacher") is not None:
        loss = loss if options["loss"] else loss + LogitDistillation()
        if not any(name.startswith("teacher_") for name in loss.may_read(model.any_number())):
            raise ValueError(
                f"--teacher is {options['teacher']}, but --loss is {options['loss']}, which reads no teacher; take "
                "LogitDistillation, EmbeddingDistillation or leave --loss out."
            )
    more = {"layer_decay": recipe.layer_decay, "patch_dropout": recipe.patch_dropout}
    model.compile(optimizer_of(recipe, steps), loss=loss, **more)
    model.optimizer.build(model.trainable_variables)  # it is saved before the first step


def _fit_into_memory(model, recipe, options):
    """Cut the batch of a step where it is to be, or where its memory would not be enough; what is said of it."""
    size, said = options["micro_batch_size"], ""
    if size is None:
        rows = -(-recipe.batch_size // count())
        size, said = once(lambda: fitting_micro_batch(model, rows))
    keras_contact.untracked(model, "micro_batch_size", size)
    return said


def _fit(model, data, held_out, recipe, done, callbacks):
    # the best epoch and the bar are the watch's: what Keras prints by itself is wider than a terminal
    arguments = {"epochs": recipe.epochs, "initial_epoch": done, "verbose": 0, "callbacks": callbacks}
    model.fit(data, validation_data=held_out, **arguments)


def _plan(model, recipe, data):
    start = "from scratch" if recipe.from_scratch else "fine-tuned"
    start += f" by {recipe.name}" if recipe.name else ""
    return (
        f"{model.name} ({model.count_params():,} parameters, {start}) on {data.count:,} pairs: {recipe.epochs} epochs, "
        f"{len(data)} batches of {recipe.batch_size}, learning rate {recipe.learning_rate:g} "
        f"({recipe.schedule}), weight decay {recipe.weight_decay:g}, augmentation {recipe.augmentation}, word dropout "
        f"{recipe.word_dropout:g}, label smoothing {recipe.label_smoothing:g}"
    )


def _interrupted(model, folder, source):
    """Saves what there is, where no epoch is done, and says where it is and how to go on."""
    if folder.best is None:
        folder.save(model)
        kept = "as it was when it was interrupted, before an epoch was done"
    else:
        kept = f"of epoch {folder.best[0]}"
    return (
        f"interrupted: the model {kept}, is in {folder.path}; go on with the same command, or with: kzoo train "
        f"{source} --output {folder.path} --resume"
    )


def _of_epoch(folder, recipe):
    epoch, score = folder.best
    return "" if score is None else f", as it was after epoch {epoch} of {recipe.epochs}, the best on held-out pairs"
