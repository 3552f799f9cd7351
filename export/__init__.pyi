from kzoo.export import runtime
from kzoo.export.exporter import ExportError, export

__all__ = [
    "ExportError",
    "export",
    "runtime",
]
