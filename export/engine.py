"""What the graphs of an export run on: sessions with the calls of onnxruntime's, whatever is below. No Keras here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.arguments import shown
from kzoo.export.manifest import MANIFEST_FILE, shared_inputs
from kzoo.files.opening import check_regular, within
from kzoo.files.words import on_one_line, said_by


@dataclass(frozen=True)
class Port:
    """An input or output of a graph: its name, the name of its dtype and its shape, whose first axis is of any size."""

    name: str
    dtype: str
    shape: tuple


class Session:
    """A graph with those calls of an `onnxruntime.InferenceSession` that a runtime needs.

    Args:
        inputs, outputs: lists of `Port`.

    Attributes:
        shared: names of inputs that may have one row for those of all others.
    """

    def __init__(self, inputs, outputs):
        self.inputs, self.outputs, self.shared = inputs, outputs, ()

    def get_inputs(self) -> list[Port]:
        return self.inputs

    def get_outputs(self) -> list[Port]:
        return self.outputs

    def run(self, names, inputs) -> list:
        """The outputs called `names`, as arrays of their own.

        Args:
            names: list of strings.
            inputs: dict with an array for each input.

        Raises:
            ValueError: an array of another dtype or shape than the graph reads.
        """
        rows = None
        for port in self.inputs:
            array = inputs[port.name]
            rows = len(array) if rows is None and array.ndim else rows
            own = 1 if port.name in self.shared and array.shape[:1] == (1,) else rows
            if str(array.dtype) != port.dtype or array.shape != (own, *port.shape[1:]):
                raise ValueError(
                    f"{port.name} is {array.dtype} of shape {array.shape}, but the graph reads {port.dtype} of shape "
                    f"(batch, {', '.join(map(str, port.shape[1:]))}), with as many rows of each."
                )
        return self.run_checked(names, inputs)

    def run_checked(self, names, inputs) -> list:
        """`run` of arrays that fit."""
        raise NotImplementedError(f"{type(self).__name__} says how it runs.")

    def run_into(self, inputs, outputs) -> None:
        """As `run`, into arrays that are there.

        Args:
            inputs, outputs: dicts of arrays by name.
        """
        for array, found in zip(outputs.values(), self.run_checked([*outputs], inputs)):
            array[...] = found


class Engine:
    """Opens the graphs of one folder; what it was given is checked as it is made.

    Args:
        folder: path of the export.
        manifest: its content.
        providers, threads, session_options: as `kzoo.export.runtime.load` takes them.

    Attributes:
        title: of the library, for a sentence.
        beside: endings of files that may lie beside a graph's own, such as those of its weights.
        untried: whether options are known to be good only once a graph was opened with them.
    """

    title: str
    beside: tuple = ()
    untried = False

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        self.folder, self.manifest = folder, manifest

    def open(self, name) -> Any:
        """The session of one graph, which lies in the folder, with the inputs and outputs of the manifest.

        Raises:
            ValueError: the file is not there, elsewhere or damaged, or is the graph of another model.
        """
        return self._opened(name, self.start)

    def look(self, name) -> None:
        """As `open`, without what a library computes to run a graph quickly."""
        self._opened(name, self.peek)

    def check(self, name) -> Path:
        """The path of a graph, whose files are there.

        Raises:
            ValueError: one is not, or is no file.
        """
        path = within(self.folder, self.manifest["graphs"][name]["file"], MANIFEST_FILE)
        for each in (path, *(path.with_suffix(ending) for ending in self.beside)):
            if not each.exists():
                raise ValueError(f"{self.folder} lacks {each.name}; the export is incomplete.")
            check_regular(each)
        return path

    def start(self, path, graph) -> Any:
        """The session of the graph in a file."""
        raise NotImplementedError(f"{type(self).__name__} says how a graph is opened.")

    def peek(self, path, graph) -> Any:
        """What says the inputs and outputs of the graph in a file."""
        return self.start(path, graph)

    def run_into(self, session, inputs, outputs) -> None:
        """Run a session into arrays that are there; see `Session.run_into`."""
        session.run_into(inputs, outputs)

    def _opened(self, name, opening):
        graph, path = self.manifest["graphs"][name], self.check(name)
        try:
            opened = opening(path, graph)
        except Exception as error:  # each library has classes of its own for all that can be wrong
            raise ValueError(f"{path} cannot be opened by {self.title}, is it whole? ({said_by(error)})") from error
        for kind, ports in (("inputs", opened.get_inputs()), ("outputs", opened.get_outputs())):
            own = [each.name for each in ports]
            lacking = {each["name"] for each in graph[kind]} - {*own}
            if lacking:
                raise ValueError(
                    f"{path} has the {kind} {on_one_line(', '.join(own))}, but {MANIFEST_FILE} says "
                    f"{on_one_line(', '.join(sorted(lacking)))} of {name}; it is the graph of another model."
                )
        if isinstance(opened, Session):
            opened.shared = shared_inputs(graph)
        return opened

    def refuse(self, **given) -> None:
        """Stops at options of `kzoo.export.runtime.load` that this library has no use for.

        Raises:
            ValueError: that.
        """
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is {shown(value)}, but {self.title} takes none; leave it out.")
