"""Which backend Keras runs on, and how Keras gets to know the classes of kzoo."""

import importlib.abc
import importlib.util
import json
import logging
import os
import sys
from importlib import import_module
from pathlib import Path

logger = logging.getLogger("kzoo")

BACKENDS = ("jax", "tensorflow", "torch")
REGISTERED_ROOMS = ("kzoo.models", "kzoo.losses", "kzoo.training")

# what Keras writes by itself at its first import, whatever backend it runs on
UNTOUCHED_CONFIG = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose_backend():
    """Set `KERAS_BACKEND` to the first installed of jax, tensorflow and torch, unless the user has chosen.

    A choice is the variable itself, a Keras that is already imported, or a backend in Keras' config file.
    Keras writes that file at its first import and names TensorFlow in it whatever it runs on; a file that
    says just that is no choice, else the first run and the second would differ.
    """
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules or _configured():
        return
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if installed and importlib.util.find_spec("keras"):
        os.environ["KERAS_BACKEND"] = installed[0]
        logger.info("KERAS_BACKEND is not set; using %s, the first installed of %s", installed[0], ", ".join(BACKENDS))


def _configured():
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "backend" in config and config != UNTOUCHED_CONFIG


def register_with_keras():
    """Make `keras.saving.load_model` know kzoo's classes, whichever of the two is imported first.

    Keras finds classes that were registered, and registering means importing them. Importing them here would
    import Keras, which an exported model must not; so they are imported right after Keras is. A room of kzoo
    may be what imports Keras: it does so first of all, before any of its modules is half imported.
    """
    if "keras" in sys.modules:
        _import_rooms()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_rooms():
    for room in REGISTERED_ROOMS:
        import_module(room)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds `keras` as everybody else does, and imports kzoo's rooms once it is there."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _import_rooms()

            spec.loader.exec_module = execute_and_register
        return spec


def explain_missing(error):
    """The ImportError to raise when Keras or its backend is what could not be imported."""
    if error.name in ("keras", *BACKENDS):
        return ImportError(
            f"{error.name} is not installed; kzoo needs Keras with one of jax, tensorflow and torch: "
            "pip install 'kzoo[jax]', 'kzoo[tensorflow]' or 'kzoo[torch]'."
        )
    return error
