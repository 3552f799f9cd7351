"""The generators of random numbers that belong to a process: those of Python, numpy, Keras and torch.

Those of layers and losses are variables of theirs and go with the weights; kzoo's data draw from none of these.
"""

import random
import sys
import zlib
from typing import Any

import keras
import numpy as np

from kzoo.keras_contact import global_seed

MERSENNE = "MT19937"  # numpy's global generator, unless somebody puts another in its place


def random_state() -> dict:
    """Where the generators are: name -> array, or a list of numbers."""
    version, words, gauss = random.getstate()
    found: dict[str, Any] = {"python": np.array(words, "uint32"), "python_gauss": [version, gauss]}
    own = np.random.get_state()
    if isinstance(own, tuple) and own[0] == MERSENNE:
        found |= {"numpy": np.array(own[1], "uint32"), "numpy_gauss": [int(own[2]), int(own[3]), float(own[4])]}
    seed = global_seed()
    if seed is not None:
        found["keras"] = np.array(keras.ops.convert_to_numpy(seed))
    torch = sys.modules.get("torch")  # whose loaders draw from it, whatever the backend is
    if torch is not None:
        found["torch"] = torch.get_rng_state().numpy().copy()
        if torch.cuda.is_available():
            found["torch_cuda"] = torch.cuda.get_rng_state().numpy().copy()
    return found


def set_random_state(state, process=0) -> None:
    """Put the generators where they were; of what `state` does not name, nothing is changed.

    Args:
        state: of `random_state`, of the first process.
        process: which of several this is: torch's own dropout must not be the same on all of them, so the others get
            seeds that follow from the first's.
    """
    version, gauss = state["python_gauss"]
    random.setstate((version, tuple(map(int, state["python"])), gauss))
    if "numpy" in state:
        position, has_gauss, cached = state["numpy_gauss"]
        np.random.set_state((MERSENNE, state["numpy"], position, has_gauss, cached))
    if "keras" in state:
        global_seed(make=True).assign(state["keras"])
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in state and process:
        torch.manual_seed(zlib.crc32(state["torch"].tobytes()) + process)
    elif torch is not None and "torch" in state:
        torch.set_rng_state(torch.from_numpy(np.array(state["torch"])))
        if "torch_cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(torch.from_numpy(np.array(state["torch_cuda"])))
