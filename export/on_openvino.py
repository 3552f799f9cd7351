"""Graphs of OpenVINO, on what devices it has. No Keras here."""

import sys
from contextlib import contextmanager
from threading import local
from typing import Any

from kzoo.arguments import shown
from kzoo.export.engine import Engine, Port, Session
from kzoo.extras import require

TELEMETRY = "openvino_telemetry"


def openvino(purpose) -> Any:
    """Import OpenVINO, without the package that reports each import of it to its maker.

    A local folder never opens a connection; whoever imports openvino first has decided for themselves.

    Args:
        purpose: what needs it, the start of the sentence.

    Raises:
        ImportError: it is not installed.
    """
    with _without(TELEMETRY):
        return require("openvino", "openvino", purpose)


@contextmanager
def _without(package):
    """Around an import: a package, unless it is there already, cannot be found."""
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None
    try:
        yield
    finally:
        if hidden:
            del sys.modules[package]


class OpenVinoEngine(Engine):
    """Compiled graphs, which compute in float32 unless they are told otherwise: by itself OpenVINO takes bfloat16 where
    a processor is quicker with it, which are not the numbers that were verified."""

    title = "OpenVINO"
    beside = (".bin",)

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        super().__init__(folder, manifest)
        self.core = openvino("Running an OpenVINO export").Core()
        here = self.core.available_devices
        for each in providers or ():
            if each not in here:
                raise ValueError(f"OpenVINO knows no device {shown(each)}; this machine has {', '.join(here)}.")
        self.device = f"AUTO:{','.join(providers)}" if len(providers or ()) > 1 else (providers or ["CPU"])[0]
        self.properties = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self.properties["INFERENCE_NUM_THREADS"] = threads
        if session_options is not None and not isinstance(session_options, dict):
            raise TypeError(f"session_options is {shown(session_options)}; of OpenVINO, give a dict of its properties.")
        self.properties |= session_options or {}
        self.untried = bool(providers or session_options)

    def start(self, path, graph) -> "OpenVinoSession":
        model = self.core.read_model(path)
        return OpenVinoSession(model, self.core.compile_model(model, self.device, self.properties))

    def peek(self, path, graph) -> Session:
        model = self.core.read_model(path)
        return Session(*_ports(model))


class OpenVinoSession(Session):
    """One compiled graph, with a request of its own for each thread."""

    def __init__(self, model, compiled):
        super().__init__(*_ports(model))  # a compiled one has names of nodes that it left out, too
        self.compiled, self.requests = compiled, local()

    def _request(self, kind):
        """The request of this thread for one way of running: tensors that one way sets stay set in the other's."""
        if not hasattr(self.requests, kind):
            setattr(self.requests, kind, self.compiled.create_infer_request())
        return getattr(self.requests, kind)

    def run_checked(self, names, inputs) -> list:
        found = self._request("plain").infer(inputs, share_inputs=True)
        return [found[name] for name in names]

    def run_into(self, inputs, outputs) -> None:
        from openvino import Tensor

        request = self._request("bound")
        for name, array in {**inputs, **outputs}.items():
            request.set_tensor(name, Tensor(array, shared_memory=True))
        request.infer()


def _ports(model):
    """Inputs and outputs of a graph as it was read."""
    return ([_port(each) for each in ports] for ports in (model.inputs, model.outputs))


def _port(port):
    sizes = [-1 if size.is_dynamic else size.get_length() for size in port.partial_shape]
    return Port(port.any_name, port.element_type.to_dtype().name, tuple(sizes))
