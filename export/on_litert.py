"""LiteRT graphs in its interpreter. No Keras here, and no TensorFlow."""

from threading import Lock

import numpy as np

from kzoo.export.engine import Engine, Port, Session
from kzoo.extras import require


class LiteRtEngine(Engine):
    """Interpreters on the CPU."""

    title = "LiteRT"

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        super().__init__(folder, manifest)
        self.refuse(providers=providers, session_options=session_options)
        require("ai_edge_litert", "litert", "Running a LiteRT export")
        self.threads = threads

    def start(self, path, graph) -> "LiteRtSession":
        from ai_edge_litert.interpreter import Interpreter

        return LiteRtSession(Interpreter(model_path=str(path), num_threads=self.threads))


class LiteRtSession(Session):
    """One interpreter, which one thread uses at a time, as it holds the tensors of a run."""

    def __init__(self, interpreter):
        self.runner, self.lock = interpreter.get_signature_runner(), Lock()
        ports = self.runner.get_input_details(), self.runner.get_output_details()
        super().__init__(*([_port(*each) for each in details.items()] for details in ports))

    def run_checked(self, names, inputs) -> list:
        with self.lock:
            found = self.runner(**inputs)
        return [found[name] for name in names]


def _port(name, details):
    return Port(name, np.dtype(details["dtype"]).name, tuple(map(int, details["shape_signature"])))
