"""What a format of checkpoints says of itself; each module of one ends with its `Format`."""

from collections.abc import Callable
from dataclasses import dataclass

from kzoo.weights.tensors import ENDINGS


@dataclass(frozen=True)
class Format:
    """How a library stores a model, and how that becomes one of ours.

    Args:
        name: of the library.
        file: that declares the layout.
        key: of the declaration in it.
        value: that the key has; None for any.
        read_row: function of a config and the content of the file of image steps; gives a complete row, as in a table.
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


def of_transformers(model_type, read_row, entries, drop, holds, write_config, **options) -> Format:
    """The format of models that transformers calls `model_type`."""
    return Format(
        "transformers", "config.json", "model_type", model_type, read_row, entries, drop, holds, write_config, **options
    )
