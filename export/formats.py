"""The formats that a model leaves in: what writes each, what it takes and what runs it."""

from collections.abc import Callable
from dataclasses import dataclass

from kzoo.export.onnx_graphs import write_onnx_graphs
from kzoo.export.onnx_writers import OPSET, check_opset
from kzoo.export.saved_model import write_saved_graphs

DEFAULTS = {"opset": OPSET, "dtype": "float32"}  # of the options that some formats take and others refuse


@dataclass(frozen=True)
class Format:
    """One format of `kzoo.export.export`.

    Attributes:
        write: function of the model, the folder, a function that verifies a graph and `options`, which writes and
            verifies every graph and gives the `graphs` of the manifest.
        options: names of `DEFAULTS` that it takes.
        check: function of `options`, asked before anything is written: whether what it needs is here.
        served: whether `kzoo.export.runtime` opens it, so that the export can be asked as a user asks.
    """

    write: Callable
    options: tuple = ()
    check: Callable = lambda **options: None
    served: bool = True


FORMATS = {
    "onnx": Format(write_onnx_graphs, ("opset", "dtype"), lambda opset, dtype: check_opset(opset)),
    "tf_saved_model": Format(write_saved_graphs, served=False),
}


def options_of(format, given) -> dict:
    """Those of the options that a format takes.

    Args:
        format: a name of `FORMATS`.
        given: dict with a value for each of `DEFAULTS`.

    Raises:
        ValueError: one that it does not take is not at its default.
    """
    for name, value in given.items():
        if name not in FORMATS[format].options and value != DEFAULTS[name]:
            raise ValueError(f"format {format!r} takes no {name}; leave it out, or take format='onnx'.")
    return {name: given[name] for name in FORMATS[format].options}
