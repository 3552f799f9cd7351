"""The formats that a model leaves in: what writes each, what it takes and what runs it. No Keras here."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from kzoo.files.layouts import EXPORTS

OPSET = 18
DEFAULTS = {"opset": OPSET, "dtype": "float32"}  # of the options that some formats take and others refuse


@dataclass(frozen=True)
class Format:
    """One format of `kzoo.export.export`.

    Attributes:
        file: of each graph, with its name put in.
        writer: `"module:function"` of what writes and verifies all graphs: a function of the model, the folder,
            `verified` and `options`, see `kzoo.export.onnx_graphs.write_onnx_graphs`.
        needs: modules that it cannot do without, each with the extra of kzoo that brings it.
        engine: `"module:class"` of what runs the graphs, see `kzoo.export.engine.Engine`; None: they are verified as
            they are, and cannot be asked as a user asks.
        options: names of `DEFAULTS` that it takes.
        opened_by: what opens the files where `kzoo.export.runtime` does not.
    """

    file: str
    writer: str
    needs: tuple
    engine: str | None = None
    options: tuple = ()
    opened_by: str | None = None

    def write(self, *arguments, **options) -> dict:
        """Call the writer."""
        return resolve_name(self.writer)(*arguments, **options)

    def run_by(self, *arguments) -> Any:
        """Make the engine."""
        return resolve_name(self.engine)(*arguments)


FORMATS = {
    "onnx": Format(
        file="{}.onnx",
        writer="kzoo.export.onnx_graphs:write_onnx_graphs",
        needs=(("onnx", "export"), ("onnxruntime", "export")),
        engine="kzoo.export.on_onnxruntime:OnnxEngine",
        options=("opset", "dtype"),
    ),
    "tf_saved_model": Format(
        file=".",
        writer="kzoo.export.saved_model:write_saved_graphs",
        needs=(("tensorflow", "tensorflow"),),
        opened_by="tf.saved_model.load",
    ),
    "openvino": Format(
        file="{}.xml",
        writer="kzoo.export.onnx_graphs:write_openvino_graphs",
        needs=(("openvino", "openvino"), ("onnx", "export")),
        engine="kzoo.export.on_openvino:OpenVinoEngine",
        options=("dtype",),
    ),
    "litert": Format(
        file="{}.tflite",
        writer="kzoo.export.litert:write_litert_graphs",
        needs=(("ai_edge_litert", "litert"),),
        engine="kzoo.export.on_litert:LiteRtEngine",
    ),
    "torch_export": Format(
        file="{}.pt2",
        writer="kzoo.export.torch_archive:write_torch_graphs",
        needs=(("torch", "torch"),),
        engine="kzoo.export.torch_archive:TorchEngine",
        opened_by="torch.export.load",  # which opens pickles too, so no file of a stranger goes to it
    ),
}
assert tuple(FORMATS) == EXPORTS  # whose files are told apart by `kzoo.files.layouts`


def options_of(format, given) -> dict:
    """Those of the options that a format takes.

    Args:
        format: a name of `FORMATS`.
        given: dict of options by their names in `DEFAULTS`; one that is not given has its default.

    Raises:
        ValueError: one that it does not take is not at its default.
    """
    for name, value in given.items():
        if name not in FORMATS[format].options and value != DEFAULTS[name]:
            takers = " or ".join(f"format={each!r}" for each, other in FORMATS.items() if name in other.options)
            raise ValueError(f"format {format!r} takes no {name}; leave it out, or take {takers}.")
    return {name: given.get(name, DEFAULTS[name]) for name in FORMATS[format].options}
