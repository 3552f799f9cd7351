"""Verified graphs that run without Keras, and the runtime that runs them."""

from kzoo.lazy import lazy

_NAMES = {  # the exporter needs Keras, which the runtime must not import
    "ExportError": "kzoo.export.verify",
    "export": "kzoo.export.exporter",
    "runtime": "kzoo.export.runtime",
    "web_page": "kzoo.export.web",
}

__all__ = [*_NAMES]
__getattr__ = lazy(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
