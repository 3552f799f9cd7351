"""What a format of checkpoints says of itself; each module of one ends with its `Format`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kzoo.files.schema import shown
from kzoo.weights import harmless
from kzoo.weights.fields import Fields
from kzoo.weights.tensors import ENDINGS

LISTED = 3  # fields that nobody read, in a sentence
STEPS_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class Format:
    """How a library stores a model, and how that becomes one of ours.

    Args:
        name: of the library.
        file: that declares the layout.
        key: of the declaration in it.
        value: that the key has; None for any.
        read_row: function of a config and of image steps, each as `Fields`; gives a complete row, as in a table. It is
            called by `row`, which refuses what it did not read.
        entries: function of a config and the names of the stored tensors; gives the map of one checkpoint.
        drop: patterns of tensors that no model reads.
        holds: kinds of the parts of the models that can be written, a tuple for each.
        write_config: function of a row; gives the files of its config, each by its name. None: never written.
        stem: name, without ending, of the file of weights.
        named_by_run: whether the file of weights may be called after something else, if it is the only one.
        endings: of files of weights.
        renames: function of a config; gives pairs of a pattern and what stands in its place in names of tensors.
        own_configs: names of other files that add to the config, if they are there.
        complete: function of the config and the contents of `own_configs` by name, {} for one that is not there; gives
            all as one.
        harmless: a table of `kzoo.weights.harmless`: what need not be read, because it changes no number.
        classes: of the library, whose models these are; empty for any.
        marks: path of a part of the config -> field -> what a config with that field is of; it is refused by that name.
    """

    name: str
    file: str
    key: str
    value: object
    read_row: Callable
    entries: Callable
    drop: tuple
    holds: frozenset = frozenset()
    write_config: Callable | None = None
    stem: str = "model"
    named_by_run: bool = False
    endings: tuple = ENDINGS
    renames: Callable = lambda config: ()
    own_configs: tuple = ()
    complete: Callable = lambda config, own: config
    harmless: dict = field(default_factory=dict)
    classes: tuple = ()
    marks: dict = field(default_factory=dict)

    def row(self, config, preprocessing=None, steps_file=STEPS_FILE) -> dict:
        """A complete row, as in a table of presets, of a config that was read whole.

        Args:
            config: content of `file`, completed, or its `Fields`.
            preprocessing: content of the file of image steps; None and {} for none.
            steps_file: its name.

        Raises:
            ValueError: a field is missing, says what this version cannot build, or was read by nobody and may change
                numbers.
        """
        fields = config if isinstance(config, Fields) else Fields(config, self.file)
        steps = Fields(preprocessing or {}, steps_file)
        self._check_kind(fields)
        row = self.read_row(fields, steps)
        unread = [*fields.unread(harmless.harmless(self.harmless))]
        unread += steps.unread(harmless.harmless(self.harmless), harmless.STEPS)
        if unread:
            more = f" (and {len(unread) - LISTED} more such fields)" if len(unread) > LISTED else ""
            said = "; ".join(unread[:LISTED])
            raise ValueError(f"{said}{more}, which this version cannot build and does not skip: it may change numbers.")
        return row

    def _check_kind(self, config):
        """Stops at what is no model of this format, whatever else it says."""
        for path, marks in self.marks.items():
            values = config.values
            for part in path:
                values = values.get(part) if isinstance(values, dict) else None
            for name in sorted(marks.keys() & set(values if isinstance(values, dict) else ())):
                raise ValueError(
                    f"{', '.join((config.place, *path))} says {name}={shown(values[name])}, so it is of {marks[name]}, "
                    "which this version does not read."
                )
        first, *_ = config.optional("architectures") or [None]
        if self.classes and first is not None and _without_framework(first) not in self.classes:
            raise ValueError(
                f"{config.place} says architectures={shown(config.values['architectures'])}; of model_type "
                f"{self.value!r} this version reads {' and '.join(self.classes)}."
            )
        code = config.values.get("auto_map")
        named = str(code.get("AutoModel", "")).rpartition(".")[2] if isinstance(code, dict) else ""
        if self.classes and named and named not in self.classes:
            raise ValueError(
                f"{config.place} says auto_map={shown(code)}: its model is code of its own, {named}, which is never "
                f"run; this version reads {' and '.join(self.classes)}."
            )

    def completed(self, config, read) -> dict:
        """A config with what other files of the checkpoint add to it; `read` gives the content of one by its name."""
        return self.complete(config, {name: read(name) for name in self.own_configs})

    def stem_in(self, folder) -> str:
        """Name, without ending, of the file in a folder that holds the weights."""
        names = [path.stem for path in folder.glob(f"*.{self.endings[0]}")] if self.named_by_run else []
        return names[0] if len(names) == 1 else self.stem

    @property
    def weight_file(self) -> str:
        """Pattern of the name of the file that holds the weights; its shards are found by an index."""
        return f"{'*' if self.named_by_run else self.stem}.{self.endings[0]}"


def _without_framework(name):
    """The class that `TFCLIPModel` and `FlaxCLIPModel` are of."""
    return name.removeprefix("TF").removeprefix("Flax") if isinstance(name, str) else name


def of_transformers(model_type, read_row, entries, drop, holds, write_config, **options) -> Format:
    """The format of models that transformers calls `model_type`."""
    options = {"harmless": harmless.of_transformers()} | options
    return Format(
        "transformers", "config.json", "model_type", model_type, read_row, entries, drop, holds, write_config, **options
    )
