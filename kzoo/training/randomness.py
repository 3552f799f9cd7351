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
from kzoo.scale.engine import of_all

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


def of_every_process(state) -> dict:
    """The state with torch's generator of each of several processes beside the first's; all of them call it."""
    if "torch" not in state:
        return state
    others = of_all(state["torch"])[1:]
    return state | {f"torch_of_{number}": each for number, each in enumerate(others, 1)}


def set_random_state(state, process=0) -> None:
    """Put the generators where they were; of what `state` does not name, nothing is changed.

    Args:
        state: of `random_state`, of the first process.
        process: which of several this is: torch's own dropout is not the same on all of them. Of one that was not there
            when the state was kept, a seed follows from the first's.
    """
    state = state | ({"torch": state[f"torch_of_{process}"]} if f"torch_of_{process}" in state else {})
    version, gauss = state["python_gauss"]
    random.setstate((version, tuple(map(int, state["python"])), gauss))
    if "numpy" in state:
        position, has_gauss, cached = state["numpy_gauss"]
        np.random.set_state((MERSENNE, state["numpy"], position, has_gauss, cached))
    if "keras" in state:
        global_seed(make=True).assign(state["keras"])
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in state and process and f"torch_of_{process}" not in state:
        torch.manual_seed(zlib.crc32(state["torch"].tobytes()) + process)
    elif torch is not None and "torch" in state:
        torch.set_rng_state(torch.from_numpy(np.array(state["torch"])))
        if "torch_cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(torch.from_numpy(np.array(state["torch_cuda"])))
