"""Archives of `torch.export`: a `.pt2` file for each graph, which torch runs, compiles and lowers without kzoo."""

from typing import Any

import keras

from kzoo.export.captions import onnx_towers
from kzoo.export.child import export_on
from kzoo.export.engine import Engine, Port, Session
from kzoo.export.onnx_writers import quiet_exporters
from kzoo.export.torch_tracing import leaving_out_casts, without_stacks
from kzoo.export.verify import exporting, written_together
from kzoo.extras import require

KINDS = ("inputs", "outputs")


def write_torch_graphs(model, folder, verified) -> dict:
    """All graphs of a model, with a batch of any size; see `kzoo.export.onnx_graphs.write_onnx_graphs`."""
    towers = onnx_towers(model, shared=False)
    return written_together("torch_export", model, towers, folder, write_torch_archives, verified)


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
        with exporting(tower.name), quiet_exporters(), without_stacks():
            sample = tuple(keras.ops.convert_to_tensor(array) for array in tower.example.values())
            shapes = (tuple({0: batch} for _ in sample),)  # of the arguments that `*inputs` takes
            program = torch.export.export(_module(torch, tower), sample, dynamic_shapes=shapes)
            _tidy(torch, program)
            torch.export.save(program, folder / f"{tower.name}.pt2")
    return "torch.export"


def _module(torch, tower):
    """A tower as a module of torch, which owns the weights by their paths: read from Keras' layers they would be
    constants, which nobody could train or find."""

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = torch.nn.ParameterDict({each.path: each.value for each in tower.graph.variables})

        def forward(self, *inputs):
            pairs = [(each, self.weights[each.path]) for each in tower.graph.variables]
            with leaving_out_casts(), keras.StatelessScope(state_mapping=pairs):
                return tuple(tower.graph(*inputs).values())

    return Module().eval()


def _tidy(torch, program):
    """Take from an exported program the weights that it does not read, those of the model's other towers, and the names
    of this machine's files."""
    for node in [*program.graph.nodes]:  # what is put into the scope is looked at there, also where nothing reads it
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    unread = {}
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
        if node.op == "placeholder" and not node.users:
            unread[node.name] = node
    specs = program.graph_signature.input_specs
    for spec in [each for each in specs if each.target is not None and each.arg.name in unread]:
        specs.remove(spec)
        program.graph.erase_node(unread[spec.arg.name])
    read = {spec.target for spec in specs}
    for name in [each for each in program.state_dict if each not in read]:
        del program.state_dict[name]
    program.graph_module.recompile()


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
