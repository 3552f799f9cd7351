"""ONNX graphs in onnxruntime. No Keras here."""

from typing import Any

from kzoo.arguments import shown
from kzoo.export.engine import Engine
from kzoo.export.manifest import MANIFEST_FILE
from kzoo.extras import require
from kzoo.files import limits
from kzoo.files.opening import within

FOLDING = "optimization.constant_folding_max_output_size_in_bytes"  # of onnxruntime, for each node
LARGEST_FOLDED = 2**30  # its own default
WEIGHTS_APART = "session.use_device_allocator_for_initializers"


class OnnxEngine(Engine):
    """Sessions of onnxruntime, as they are."""

    title = "onnxruntime"

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        super().__init__(folder, manifest)
        self.library = require("onnxruntime", "runtime", "Running an exported model")
        _check_providers(self.library, providers)
        self.providers = providers or ["CPUExecutionProvider"]
        self.options = _options(self.library, threads, session_options)
        self.untried = bool(providers) or self.options is session_options
        if self.options is not session_options:  # which whoever made them has thought about
            bound_folding(self.options, folder, manifest)
            # an arena takes weights in pieces that double in size: half as much again as they have
            self.options.add_session_config_entry(WEIGHTS_APART, "1")

    def start(self, path, graph) -> Any:
        return self.library.InferenceSession(str(path), self.options, providers=self.providers)

    def peek(self, path, graph) -> Any:
        """A session that computes nothing as it opens a graph: a few nodes could fold to gigabytes."""
        options = self.library.SessionOptions()
        options.graph_optimization_level = self.library.GraphOptimizationLevel.ORT_DISABLE_ALL
        return self.library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run_into(self, session, inputs, outputs) -> None:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        session.run_with_iobinding(binding)


def _options(onnxruntime, threads, given):
    """The `onnxruntime.SessionOptions` of what `load` was given."""
    options = given if isinstance(given, onnxruntime.SessionOptions) else onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    for name, value in ({} if options is given or given is None else dict(given)).items():
        if name not in dir(options):
            raise ValueError(f"onnxruntime has no session option {name!r}; see onnxruntime.SessionOptions.")
        try:
            setattr(options, name, value)
        except (TypeError, ValueError) as error:
            held = type(getattr(options, name)).__name__
            raise ValueError(f"the session option {name} is {shown(value)}; onnxruntime has {held} there.") from error
    return options


def _check_providers(onnxruntime, providers):
    """Stops at a name that onnxruntime does not know, of which it would only print that it takes another."""
    known = {*onnxruntime.get_all_providers(), *onnxruntime.get_available_providers()}
    for each in providers or ():
        name = each if isinstance(each, str) else each[0]
        if name not in known:
            here = ", ".join(onnxruntime.get_available_providers())
            raise ValueError(f"onnxruntime knows no provider {shown(name)}; this one has {here}.")


def bound_folding(options, folder, manifest) -> None:
    """Let onnxruntime compute no constant of a graph, as it opens it, that is larger than the largest graph's file, or
    than `limits.FOLDED`: nodes that each double what the one before gives are gigabytes soon. Such a node is left for
    when the graph is run.

    Args:
        options: an `onnxruntime.SessionOptions`, which takes it once.
        folder, manifest: of the export.
    """
    paths = [within(folder, graph["file"], MANIFEST_FILE) for graph in manifest["graphs"].values()]
    sizes = [
        sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}.data")) if each.is_file())
        for path in paths
    ]
    options.add_session_config_entry(FOLDING, str(min(max([limits.FOLDED, *sizes]), LARGEST_FOLDED)))
