"""Archives of `torch.export`: a `.pt2` file for each graph, which torch runs, compiles and lowers without kzoo."""

from typing import Any

import keras

from kzoo.export.captions import onnx_towers
from kzoo.export.child import export_on
from kzoo.export.engine import Engine, Port, Session
from kzoo.export.manifest import describe_towers
from kzoo.export.onnx_writers import quiet_exporters, traceable
from kzoo.export.verify import exporting, run_by
from kzoo.extras import require

KINDS = ("inputs", "outputs")


def write_torch_graphs(model, folder, verified) -> dict:
    """All graphs of a model, with a batch of any size; see `kzoo.export.onnx_graphs.write_onnx_graphs`."""
    towers = onnx_towers(model)
    graphs = describe_towers(towers, "torch_export")
    with exporting("the model"):
        exporter = write_torch_archives(model, towers, folder)
    for tower in towers:
        graphs[tower.name] |= verified(tower, exporter, run_by("torch_export", folder, graphs, tower))
    return graphs


def write_torch_archives(model, towers, folder) -> str:
    """Write the files; from jax and tensorflow in a process that runs on torch.

    Returns:
        str, the exporter that wrote them.
    """
    if keras.config.backend() != "torch":
        return export_on("torch", model, folder, "torch_export")
    import torch

    batch = torch.export.Dim("batch")
    for tower in towers:
        with exporting(tower.name), quiet_exporters():
            module, sample = traceable(tower)
            shapes = (tuple({0: batch} for _ in sample),)  # of the arguments that `*inputs` takes
            program = torch.export.export(module, sample, dynamic_shapes=shapes)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # which names the files of this machine
            torch.export.save(program, folder / f"{tower.name}.pt2")
    return "torch.export"


class TorchEngine(Engine):
    """Opens the archives that were just written, to verify them; those of a stranger are opened by nothing of kzoo."""

    title = "torch.export"

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        super().__init__(folder, manifest)
        self.library = require("torch", "torch", "Verifying an archive of torch.export")

    def start(self, path, graph) -> "TorchSession":
        return TorchSession(self.library, self.library.export.load(path).module(), graph)


class TorchSession(Session):
    """One program, whose inputs and outputs come in the order of the manifest."""

    def __init__(self, library, module, graph):
        ports = ([Port(each["name"], each["dtype"], tuple(each["shape"])) for each in graph[kind]] for kind in KINDS)
        super().__init__(*ports)
        self.library, self.module = library, module

    def run_checked(self, names, inputs) -> list[Any]:
        tensors = [self.library.from_numpy(inputs[port.name].copy()) for port in self.inputs]
        with self.library.no_grad():
            found = dict(zip((port.name for port in self.outputs), self.module(*tensors)))
        return [found[name].numpy() for name in names]
