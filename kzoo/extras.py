"""Optional libraries, imported where they are used."""

from importlib import import_module
from typing import Any


def require(module, extra, purpose) -> Any:
    """Import an optional library, or stop with the extra that installs it.

    Args:
        module: name to import, such as `"onnxruntime"`.
        extra: the extra of kzoo that brings it, such as `"export"`.
        purpose: what needs it, the start of the sentence.

    Returns:
        The imported module.

    Raises:
        ImportError: the library is not installed.

    Example:
        >>> require("onnxruntime", "export", "Running an exported model")
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the library is there, something it needs is not: its own message says more
        package = module.split(".")[0]
        raise ImportError(f"{purpose} needs {package}, which is not installed: pip install 'kzoo[{extra}]'.") from error
