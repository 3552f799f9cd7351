"""Which backend Keras runs on."""

import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

logger = logging.getLogger("kzoo")

BACKENDS = ("jax", "tensorflow", "torch")

# what Keras writes by itself at its first import, whatever backend it runs on
UNTOUCHED_CONFIG = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose_backend() -> None:
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


def explain_missing(error) -> Exception:
    """The ImportError to raise when Keras or its backend is what could not be imported."""
    if error.name in ("keras", *BACKENDS):
        return ImportError(
            f"{error.name} is not installed; kzoo needs Keras with one of jax, tensorflow and torch: "
            "pip install 'kzoo[jax]', 'kzoo[tensorflow]' or 'kzoo[torch]'."
        )
    return error
