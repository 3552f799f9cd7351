"""Packages whose names are imported by their first use, so that importing the package is cheap.

Such a package has a `.pyi` beside its `__init__.py`, which type checkers and completion read; `make docs` writes it.
"""

from collections.abc import Callable
from importlib import import_module

from kzoo.backend import explain_missing


def lazy(package, names) -> Callable:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        names: dict from a name to the module that it is taken from; a module of the package itself stands for that
            module, `{"runtime": "kzoo.export.runtime"}`.

    Raises:
        ImportError: from the `__getattr__`: Keras or its backend is not installed.
    """

    def get(name):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(names[name])
        except ModuleNotFoundError as error:
            raise explain_missing(error) from error
        return module if names[name] == f"{package}.{name}" else getattr(module, name)

    return get
