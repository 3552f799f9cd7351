from kzoo.export import runtime
from kzoo.export.exporter import export
from kzoo.export.verify import ExportError
from kzoo.export.web import web_page

__all__ = [
    "ExportError",
    "export",
    "runtime",
    "web_page",
]
