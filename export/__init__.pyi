from kzoo.export import runtime
from kzoo.export.exporter import export
from kzoo.export.verify import ExportError

__all__ = [
    "ExportError",
    "export",
    "runtime",
]
