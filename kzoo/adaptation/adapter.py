"""What every kind of adapter says: where it stands, and what each layer is told."""

from typing import Any, ClassVar

from kzoo.arguments import NAME, Checked
from kzoo.layers.adapted import give, is_merged, names_in, takes, weigh
from kzoo.layers.locking import lock
from kzoo.layers.matrices import refusal
from kzoo.paths import layers, parameters
from kzoo.patterns import matching

PLAIN_NAME = NAME.said("a name of letters, digits and underscores")


class Adapter(Checked):
    """Base of what `add_adapter` takes.

    A subclass sets `targets` in its constructor, and defines `config`; or `configs`, where layers are told different
    things.

    Attributes:
        kind: what it is in a layer, one of `kzoo.layers.adapted.KINDS`.
        targets: tuple of patterns.
    """

    kind: ClassVar[str]
    targets: tuple

    def begin(self, model, name="default") -> list[str]:
        """Add it to a model, lock all else, and make it the active one; see `add_adapter`."""
        check_new(model, name)
        found = self.places(model)
        configs = self.configs(model, list(found))
        self.check(found, configs)
        add(model, name, configs, self.kind)
        return list(found)

    def config(self) -> dict:
        """What a layer is told."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its layers are told; define `config`.")

    def configs(self, model, paths) -> dict[str, dict]:
        """Path of a layer -> what it is told.

        Raises:
            ValueError: something that is said of none of these layers.
        """
        return dict.fromkeys(paths, self.config())

    def stands_at(self, path) -> str | None:
        """The path of the layer that gets it where a kernel of the layer at `path` is named; None for none."""
        return path

    def check(self, found, configs) -> None:
        """Stops where a layer that has a place for it is too small: path -> layer, path -> what it is told."""

    def places(self, model) -> dict[str, Any]:
        """Path -> layer, of those of a model that get it.

        Raises:
            ValueError: targets that name nothing, or no layer that has a place for it.
        """
        chosen = matching(self.targets, parameters(model))
        owners = {id(each.owner) for each in chosen if each.path.rpartition(".")[2] == "kernel"}
        known = {path: layer for path, layer, _ in layers(model)}
        owned = [path for path, layer in known.items() if id(layer) in owners]
        wanted = {self.stands_at(path) for path in owned}
        found = [path for path in known if path in wanted and takes(known[path], self.kind, self.config())]
        if not found:
            why = next((f": {path} {refusal(known[path])}" for path in owned if refusal(known[path])), "")
            named = ", ".join(map(repr, self.targets))
            raise ValueError(
                f"the targets {named} name no layer that an adapter could be added to{why}; "
                "trainable_report(model) shows what there is."
            )
        return {path: known[path] for path in found}


def add(model, name, configs, kind="low_rank") -> None:
    """Add an adapter to layers that were looked at, lock all else, and make it the active one: path -> config."""
    while configs:  # those that are told the same at a time
        config = next(iter(configs.values()))
        give(model, name, [path for path, each in configs.items() if each == config], config, kind)
        configs = {path: each for path, each in configs.items() if each != config}
    lock(model, [each for each in parameters(model) if each.trains and each.variable.trainable])
    weigh(model, {name: 1.0})


def check_new(model, name) -> None:
    """Stops at a name that cannot be, or is there; and at adapters that are merged."""
    if not name.isidentifier():
        raise ValueError(f"name is {name!r}; give {PLAIN_NAME.wanted}.")
    if name in names_in(model):
        raise ValueError(f"the model has an adapter {name!r}; take another name, or remove_adapter(model, {name!r}).")
    check_unmerged(model)


def check_unmerged(model) -> None:
    """Stops at adapters that are merged."""
    if is_merged(model):
        raise ValueError("the adapters of the model are merged into its kernels; unmerge(model) takes them out first.")


def in_tuple(targets) -> tuple:
    """Patterns as a tuple, of one or of several."""
    return (targets,) if isinstance(targets, str) else tuple(targets)
